"""The energy of a picture: prepare the targets once, then a weighted sum of terms.

    targets = prepare(network, content, styles, weights, shape=..., program=...)
    value, terms = total(network, image, targets, program=...)

Network, pictures and targets are arguments that jit traces; `program` is static and hashable,
to be named in ``static_argnames``.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxmrf.core import pyramid
from jaxmrf.core.config import Shape
from jaxmrf.core.features import Network
from jaxmrf.core.losses import style_losses
from jaxmrf.core.losses.exemplars import Anchor, Exemplars, Guides, margin, within_margin
from jaxmrf.core.losses.terms import content_term, total_variation
from jaxmrf.core.numerics import TINY
from jaxmrf.core.settings import Program, TermWeights

WRAP = 64
"""Pixels that a tileable picture is continued by on each side before the network sees it:
a multiple of every pooling's step, and more than relu4_2 sees around a position."""


class Region(NamedTuple):
    """The part of the picture that may change.

    Attributes:
      mask: 1 where it may, 0 where it stays.
      original: what stays.
    """

    mask: Float[Array, "h w 1"]
    original: Float[Array, "h w 3"]


class Factors(NamedTuple):
    """Factors of the terms of the energy: weights with the normalization.

    Attributes:
      content: of the content term.
      style: of each style loss.
      tv: of the total variation.
    """

    content: Float[Array, ""]
    style: dict[str, Float[Array, ""]]
    tv: Float[Array, ""]


class Targets(NamedTuple):
    """Targets of one pyramid level, which its picture is compared with.

    Attributes:
      content: content features [h, w, C], None for un-guided synthesis.
      style: targets of each style loss.
      factors: what the terms are multiplied by.
      region: where the picture may change; None: everywhere.
    """

    content: Float[Array, "h w c"] | None
    style: dict[str, Any]
    factors: Factors
    region: Region | None = None


def prepare(
    network: Network,
    content: Float[Array, "h w 3"] | None,
    styles: Sequence[Float[Array, "_ _ 3"]],
    weights: TermWeights,
    *,
    shape: Shape,
    program: Program,
    blend: Float[Array, " styles"] | None = None,
    guides: Guides | None = None,
    region: Region | None = None,
) -> Targets:
    """Returns the targets of one pyramid level; the weights have gradients, the rest has none.

    Args:
      network: the network.
      content: content picture, sRGB in 0 to 1; None for un-guided synthesis.
      styles: the style pictures and their rotated and scaled copies, sRGB in 0 to 1.
      weights: of the terms at this level.
      shape: height and width of the picture that will be synthesized.
      program: settings of the compiled program.
      blend: weight of each of `styles`, the largest one; None: all the same.
      guides: what is where; None: anything goes anywhere.
      region: where the picture may change; None: everywhere.

    Raises:
      ValueError: if a patch does not fit into the features of a style copy.
      KeyError: if the network has no such layer.
      ConfigError: if there is no such style loss or matcher.
    """
    target = anchor = None
    if content is None:
        image = jax.ShapeDtypeStruct((*shape, 3), styles[0].dtype)
        layers = _shapes(network, image, program)
    else:
        layers = lax.stop_gradient(_activations(network, content, program))
        target = within_margin(layers[program.content_layer], program)
        matched = {name: layers[name] for name in program.patches.layers if name in layers}
        colors = {name: pyramid.small(content, layer.shape[:2]) for name, layer in matched.items()}
        anchor = Anchor(matched, colors, _scalar(weights.anchor), _scalar(weights.content_share))
    exemplars = Exemplars(
        maps=tuple(network(style) for style in styles),
        pictures=tuple(styles),
        sizes={name: layer.shape[:2] for name, layer in layers.items()},
        blend=blend,
        guides=guides,
        anchor=anchor,
    )
    chosen = style_losses.chosen(program)
    factors = Factors(
        content=_scalar(weights.content * _content_factor(target, program)),
        style={name: _scalar(weights.style[name]) for name in chosen},
        tv=_scalar(weights.tv * _tv_factor(shape, program)),
    )
    style = {name: loss.prepare(exemplars, program) for name, loss in chosen.items()}
    return Targets(target, lax.stop_gradient(style), factors, region)


def total(
    network: Network,
    image: Float[Array, "h w 3"],
    targets: Targets,
    state: dict[str, Any] | None = None,
    *,
    program: Program,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Returns the energy of `image` and its weighted terms by name.

    Args:
      network: the network.
      image: sRGB picture, values around 0 to 1 (not clipped).
      targets: of this pyramid level, from `prepare`.
      state: of the style losses, such as matches; None finds it in here.
      program: settings of the compiled program.

    Returns:
      The sum, and the terms: ``content`` (not in un-guided synthesis), ``tv``, and one for
      each style loss by its name. Matches have no gradient.
    """
    image = _within(image, targets.region)
    activations = _activations(network, image, program)
    if state is None:
        state = _refreshed(lax.stop_gradient(activations), targets, None, program)
    return _weighted_sum(image, activations, targets, state, program)


def total_and_state(
    network: Network,
    image: Float[Array, "h w 3"],
    targets: Targets,
    state: dict[str, Any],
    refresh: Bool[Array, ""],
    *,
    program: Program,
) -> tuple[Float[Array, ""], tuple[dict[str, Float[Array, ""]], dict[str, Any]]]:
    """Returns energy and terms as `total`, with the state of an earlier call unless `refresh`.

    Args:
      network: the network.
      image: sRGB picture.
      targets: of this pyramid level, from `prepare`.
      state: what an earlier call returned, or `init_state`.
      refresh: whether to find the state, such as matches, anew.
      program: settings of the compiled program.

    Returns:
      The sum, and the terms with the state for the next call.
    """
    image = _within(image, targets.region)
    activations = _activations(network, image, program)
    fixed = lax.stop_gradient(activations)  # here, or both branches are differentiated, too
    state = lax.cond(
        refresh,
        lambda: _refreshed(fixed, targets, state, program),
        lambda: state,
    )
    value, terms = _weighted_sum(image, activations, targets, state, program)
    return value, (terms, state)


def init_state(
    network: Network,
    image: Float[Array, "h w 3"],
    targets: Targets,
    *,
    program: Program,
) -> dict[str, Any]:
    """Returns a state of the right shapes for a first call that refreshes it.

    Args:
      network: the network.
      image: a picture of the level's size; only its shape matters.
      targets: of this pyramid level, from `prepare`.
      program: settings of the compiled program.
    """
    layers = _shapes(network, image, program)
    return {
        name: loss.init(layers, targets.style[name], program)
        for name, loss in style_losses.chosen(program).items()
    }


def activations(
    network: Network,
    image: Float[Array, "h w 3"],
    targets: Targets,
    *,
    program: Program,
) -> Mapping[str, Float[Array, "_ _ _"]]:
    """Returns the layers of `image` as its style losses see them.

    What is outside the region is the original, and the layers of a tileable picture go on
    by the margin (see `exemplars.margin`).
    """
    return _activations(network, _within(image, targets.region), program)


def _shapes(network: Network, image: Any, program: Program) -> Mapping[str, jax.ShapeDtypeStruct]:
    return jax.eval_shape(functools.partial(_activations, program=program), network, image)


def _activations(network: Network, image: Array, program: Program) -> Mapping[str, Array]:
    """Returns the layers that are used; those of a tileable picture go on by the margin."""
    used = dict.fromkeys((*style_losses.layers(program), program.content_layer))
    if not program.tileable:
        layers = network(image)
        return {name: layers[name] for name in used if name in layers}
    wrapped = jnp.pad(image, ((WRAP, WRAP), (WRAP, WRAP), (0, 0)), mode="wrap")
    layers, used_layers = network(wrapped), {}
    for name in used:
        step = round(wrapped.shape[0] / layers[name].shape[0])
        around = margin(program)
        rows, columns = (
            slice(WRAP // step - around, (WRAP + side) // step + around) for side in image.shape[:2]
        )
        used_layers[name] = layers[name][rows, columns]
    return used_layers


def _within(image: Array, region: Region | None) -> Array:
    if region is None:
        return image
    return jnp.where(region.mask > 0, image, region.original)


def _refreshed(
    fixed: Mapping[str, Array], targets: Targets, state: Any, program: Program
) -> dict[str, Any]:
    refreshed = {
        name: loss.refresh(
            fixed, targets.style[name], None if state is None else state[name], program
        )
        for name, loss in style_losses.chosen(program).items()
    }
    return lax.stop_gradient(refreshed)


def _weighted_sum(
    image: Array,
    activations: Mapping[str, Array],
    targets: Targets,
    state: dict[str, Any],
    program: Program,
) -> tuple[Array, dict[str, Array]]:
    factors = targets.factors
    terms = {
        name: factors.style[name]
        * loss.value(activations, targets.style[name], state[name], program)
        for name, loss in style_losses.chosen(program).items()
    }
    terms["tv"] = factors.tv * total_variation(image, around=program.tileable)
    if targets.content is not None:
        terms["content"] = factors.content * content_term(
            within_margin(activations[program.content_layer], program), targets.content
        )
    return jnp.asarray(sum(terms.values())), terms


def _scalar(value: Array | float) -> Array:
    return jnp.asarray(value, jnp.float32)


def _content_factor(target: Array | None, program: Program) -> Array | float:
    if target is None or program.normalization == "sum":
        return 1.0
    if program.normalization == "authors":
        return 1.0 / target.size  # mylib/content.lua: nn.MSECriterion
    return 1.0 / jnp.maximum(jnp.sum(jnp.square(target)), TINY)


def _tv_factor(shape: Shape, program: Program) -> float:
    if program.normalization == "sum":
        return program.pixel_scale**2
    if program.normalization == "authors":
        return 0.5 * program.pixel_scale**2  # mylib/tv.lua: the gradient is the difference itself
    return program.pixel_scale**2 / (shape[0] * shape[1])
