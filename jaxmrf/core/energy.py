"""The energy of a picture: prepare the targets once, then a weighted sum of terms.

    targets = prepare(params, content, styles, weights, shape=..., features=..., config=...)
    value, terms = energy(image, params, targets, features=..., config=...)

Arrays, parameters and targets are arguments that jit traces; `features` and `config`
are static and hashable, to be named in ``static_argnames``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from jaxmrf.core import pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.features import Features
from jaxmrf.core.losses import style_losses
from jaxmrf.core.losses.exemplars import Anchor, Exemplars, Guides, margin, within_margin
from jaxmrf.core.losses.terms import content_term, total_variation
from jaxmrf.core.numerics import TINY

WRAP = 64
"""Pixels that a tileable picture is continued by on each side before the network sees it:
a multiple of every pooling's step, and more than relu4_2 sees around a position."""


class Weights(NamedTuple):
    """Weights of the terms and of the content in the matching; traced: they cost no compilation.

    Attributes:
      content: of the content term.
      style: of each style loss.
      tv: of the total variation.
      anchor: share of the content in what is matched, 0 to 1.
      content_share: share of the content in what is put together from the matches, 0 to 1.
    """

    content: Float[Array, ""] | float
    style: dict[str, Float[Array, ""] | float]
    tv: Float[Array, ""] | float
    anchor: Float[Array, ""] | float = 0.0
    content_share: Float[Array, ""] | float = 0.0


class Region(NamedTuple):
    """The part of the picture that may change.

    Attributes:
      mask: 1 where it may, 0 where it stays.
      original: what stays.
    """

    mask: Float[Array, "h w 1"]
    original: Float[Array, "h w 3"]


class Targets(NamedTuple):
    """What the picture of one pyramid level is compared with.

    Attributes:
      content: content features [h, w, C], None for un-guided synthesis.
      style: targets of each style loss.
      factors: what the terms are multiplied by: weights with the normalization.
      region: where the picture may change; None: everywhere.
    """

    content: Float[Array, "h w c"] | None
    style: dict[str, Any]
    factors: Weights
    region: Region | None = None


def prepare(
    params: PyTree,
    content: Float[Array, "h w 3"] | None,
    styles: Sequence[Float[Array, "_ _ 3"]],
    weights: Weights,
    *,
    shape: tuple[int, int],
    features: Features,
    config: Config,
    blend: Float[Array, " styles"] | None = None,
    guides: Guides | None = None,
    region: Region | None = None,
) -> Targets:
    """Returns the targets of one pyramid level; the weights have gradients, the rest has none.

    Args:
      params: parameters of the network.
      content: content picture, sRGB in 0 to 1; None for un-guided synthesis.
      styles: the style pictures and their rotated and scaled copies, sRGB in 0 to 1.
      weights: of the terms at this level.
      shape: height and width of the picture that will be synthesized.
      features: the network.
      config: settings.
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
        layers = _shapes(params, image, features, config)
    else:
        layers = lax.stop_gradient(_activations(params, content, features, config))
        target = within_margin(layers[config.content_layer], config)
        matched = {name: layers[name] for name in config.layers if name in layers}
        colors = {name: pyramid.small(content, layer.shape[:2]) for name, layer in matched.items()}
        anchor = Anchor(matched, colors, _scalar(weights.anchor), _scalar(weights.content_share))
    exemplars = Exemplars(
        maps=tuple(features(params, style) for style in styles),
        pictures=tuple(styles),
        sizes={name: layer.shape[:2] for name, layer in layers.items()},
        blend=blend,
        guides=guides,
        anchor=anchor,
    )
    chosen = style_losses.chosen(config)
    factors = Weights(
        content=_scalar(weights.content * _content_factor(target, config)),
        style={name: _scalar(weights.style[name]) for name in chosen},
        tv=_scalar(weights.tv * _tv_factor(shape, config)),
        anchor=_scalar(weights.anchor),
        content_share=_scalar(weights.content_share),
    )
    style = {name: loss.prepare(exemplars, config) for name, loss in chosen.items()}
    return Targets(target, lax.stop_gradient(style), factors, region)


def total(
    image: Float[Array, "h w 3"],
    params: PyTree,
    targets: Targets,
    memory: dict[str, Any] | None = None,
    *,
    features: Features,
    config: Config,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Returns the energy of `image` and its weighted terms by name.

    Args:
      image: sRGB picture, values around 0 to 1 (not clipped).
      params: parameters of the network.
      targets: of this pyramid level, from `prepare`.
      memory: of the style losses, such as matches; None finds it in here.
      features: the network.
      config: settings.

    Returns:
      The sum, and the terms: ``content`` (not in un-guided synthesis), ``tv``, and one for
      each style loss by its name. Matches have no gradient.
    """
    image = _within(image, targets.region)
    activations = _activations(params, image, features, config)
    if memory is None:
        memory = _remember(activations, targets, None, config)
    return _weighted_sum(image, activations, targets, memory, config)


def energy_and_memory(
    image: Float[Array, "h w 3"],
    params: PyTree,
    targets: Targets,
    memory: dict[str, Any],
    renew: Bool[Array, ""],
    *,
    features: Features,
    config: Config,
) -> tuple[Float[Array, ""], tuple[dict[str, Float[Array, ""]], dict[str, Any]]]:
    """Returns what `total` does, with the memory of an earlier call unless `renew`.

    Args:
      image: sRGB picture.
      params: parameters of the network.
      targets: of this pyramid level, from `prepare`.
      memory: what an earlier call returned, or `no_memory`.
      renew: whether to find the memory, such as matches, anew.
      features: the network.
      config: settings.

    Returns:
      The sum, and the terms with the memory for the next call.
    """
    image = _within(image, targets.region)
    activations = _activations(params, image, features, config)
    memory = lax.cond(
        renew,
        lambda: _remember(activations, targets, memory, config),
        lambda: memory,
    )
    value, terms = _weighted_sum(image, activations, targets, memory, config)
    return value, (terms, memory)


def no_memory(
    image: Float[Array, "h w 3"],
    params: PyTree,
    targets: Targets,
    *,
    features: Features,
    config: Config,
) -> dict[str, Any]:
    """Returns a memory of the right shapes for a first call that renews it.

    Args:
      image: a picture of the level's size; only its shape matters.
      params: parameters of the network.
      targets: of this pyramid level, from `prepare`.
      features: the network.
      config: settings.
    """
    layers = _shapes(params, image, features, config)
    return {
        name: loss.blank(layers, targets.style[name], config)
        for name, loss in style_losses.chosen(config).items()
    }


def activations(
    image: Float[Array, "h w 3"],
    params: PyTree,
    targets: Targets,
    *,
    features: Features,
    config: Config,
) -> Mapping[str, Float[Array, "_ _ _"]]:
    """Returns the layers of `image` as its style losses see them.

    What is outside the region is the original, and the layers of a tileable picture go on
    by the margin (see `exemplars.margin`).
    """
    return _activations(params, _within(image, targets.region), features, config)


def _shapes(
    params: PyTree, image: Any, features: Features, config: Config
) -> Mapping[str, jax.ShapeDtypeStruct]:
    return jax.eval_shape(lambda *args: _activations(*args, features, config), params, image)


def _activations(
    params: PyTree, image: Array, features: Features, config: Config
) -> Mapping[str, Array]:
    """Returns the layers that are used; those of a tileable picture go on by the margin."""
    used = dict.fromkeys((*style_losses.layers(config), config.content_layer))
    if not config.tileable:
        layers = features(params, image)
        return {name: layers[name] for name in used if name in layers}
    wrapped = jnp.pad(image, ((WRAP, WRAP), (WRAP, WRAP), (0, 0)), mode="wrap")
    layers, found = features(params, wrapped), {}
    for name in used:
        step = round(wrapped.shape[0] / layers[name].shape[0])
        around = margin(config)
        rows, columns = (
            slice(WRAP // step - around, (WRAP + side) // step + around) for side in image.shape[:2]
        )
        found[name] = layers[name][rows, columns]
    return found


def _within(image: Array, region: Region | None) -> Array:
    if region is None:
        return image
    return jnp.where(region.mask > 0, image, region.original)


def _remember(
    activations: Mapping[str, Array], targets: Targets, memory: Any, config: Config
) -> dict[str, Any]:
    fixed = lax.stop_gradient(activations)
    found = {
        name: loss.remember(
            fixed, targets.style[name], None if memory is None else memory[name], config
        )
        for name, loss in style_losses.chosen(config).items()
    }
    return lax.stop_gradient(found)


def _weighted_sum(
    image: Array,
    activations: Mapping[str, Array],
    targets: Targets,
    memory: dict[str, Any],
    config: Config,
) -> tuple[Array, dict[str, Array]]:
    factors = targets.factors
    terms = {
        name: factors.style[name]
        * loss.value(activations, targets.style[name], memory[name], config)
        for name, loss in style_losses.chosen(config).items()
    }
    terms["tv"] = factors.tv * total_variation(image, around=config.tileable)
    if targets.content is not None:
        terms["content"] = factors.content * content_term(
            within_margin(activations[config.content_layer], config), targets.content
        )
    return sum(terms.values()), terms


def _scalar(value: Array | float) -> Array:
    return jnp.asarray(value, jnp.float32)


def _content_factor(target: Array | None, config: Config) -> Array | float:
    if target is None or config.normalization == "sum":
        return 1.0
    if config.normalization == "authors":
        return 1.0 / target.size  # mylib/content.lua: nn.MSECriterion
    return 1.0 / jnp.maximum(jnp.sum(jnp.square(target)), TINY)


def _tv_factor(shape: tuple[int, int], config: Config) -> float:
    if config.normalization == "sum":
        return config.pixel_scale**2
    if config.normalization == "authors":
        return 0.5 * config.pixel_scale**2  # mylib/tv.lua: the gradient is the difference itself
    return config.pixel_scale**2 / (shape[0] * shape[1])
