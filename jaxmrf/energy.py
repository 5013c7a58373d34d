"""The energy of a picture: prepare the targets once, match, then a weighted sum.

    targets = prepare(params, content, styles, weights, shape=..., features=..., config=...)
    matches = match(image, params, targets, features=..., config=...)
    value, terms = energy(image, params, targets, matches, features=..., config=...)

Arrays, parameters and targets are arguments that jit traces; `features` and `config`
are static and hashable, to be named in ``static_argnames``.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxmrf import losses, matching, patches
from jaxmrf.config import Config
from jaxmrf.matching import Match, StylePatches


@runtime_checkable
class Features(Protocol):
    """A network: hashable, maps parameters and an [H, W, 3] picture to named layers."""

    def __call__(
        self, params: PyTree, image: Float[Array, "h w 3"]
    ) -> Mapping[str, Float[Array, "_ _ _"]]:
        """Returns the activations [h, w, C] by layer name."""


class Weights(NamedTuple):
    """Weights of the three terms; traced, so that they do not cost a compilation."""

    content: Float[Array, ""] | float
    style: Float[Array, ""] | float
    tv: Float[Array, ""] | float


class Factors(NamedTuple):
    """What the three terms are multiplied by: weights with the normalization."""

    content: Float[Array, ""]
    mrf: dict[str, Float[Array, ""]]
    tv: Float[Array, ""]


class Targets(NamedTuple):
    """What the picture of one pyramid level is compared with.

    Attributes:
      content: content features [h, w, C], None for un-guided synthesis.
      style: patches of each style layer.
      factors: of the terms.
    """

    content: Float[Array, "h w c"] | None
    style: dict[str, StylePatches]
    factors: Factors


def prepare(
    params: PyTree,
    content: Float[Array, "h w 3"] | None,
    styles: Sequence[Float[Array, "_ _ 3"]],
    weights: Weights,
    *,
    shape: tuple[int, int],
    features: Features,
    config: Config,
) -> Targets:
    """Returns the targets of one pyramid level.

    Args:
      params: parameters of the network.
      content: content picture, sRGB in 0 to 1; None for un-guided synthesis.
      styles: the style picture and its rotated and scaled copies, sRGB in 0 to 1.
      weights: of the terms at this level.
      shape: height and width of the picture that will be synthesized.
      features: the network.
      config: settings.

    Raises:
      ValueError: if a patch does not fit into the features of a style copy.
      KeyError: if the network has no such layer.
    """
    style_maps = [features(params, style) for style in styles]
    style = {
        name: matching.collect(
            tuple(maps[name] for maps in style_maps), config.patch_size, config.style_stride
        )
        for name in config.layers
    }
    target = None if content is None else features(params, content)[config.content_layer]
    image = jax.ShapeDtypeStruct((*shape, 3), styles[0].dtype)
    layers = jax.eval_shape(features, params, image)
    sizes = {name: layers[name].shape[:2] for name in config.layers}
    factors = Factors(
        content=jnp.asarray(weights.content * _content_factor(target, config), jnp.float32),
        mrf={
            name: jnp.asarray(
                weights.style * _mrf_factor(style[name], sizes[name], config), jnp.float32
            )
            for name in config.layers
        },
        tv=jnp.asarray(weights.tv * _tv_factor(shape, config), jnp.float32),
    )
    return lax.stop_gradient(Targets(target, style, factors))


def match(
    image: Float[Array, "h w 3"],
    params: PyTree,
    targets: Targets,
    *,
    features: Features,
    config: Config,
) -> dict[str, Match]:
    """Returns the nearest style patches of `image` for each style layer, no gradient."""
    return _match(features(params, image), targets, config)


def energy(
    image: Float[Array, "h w 3"],
    params: PyTree,
    targets: Targets,
    matches: dict[str, Match] | None = None,
    *,
    features: Features,
    config: Config,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Returns the energy of `image` and its weighted terms by name.

    Args:
      image: sRGB picture, values around 0 to 1 (not clipped).
      params: parameters of the network.
      targets: of this pyramid level, from `prepare`.
      matches: nearest style patches; None finds them in here.
      features: the network.
      config: settings.

    Returns:
      The sum, and the terms ``content`` (not in un-guided synthesis), ``mrf`` and
      ``tv``. With the matches fixed the gradient of the MRF term is what the authors'
      code writes by hand (mylib/mrf.lua); the matches themselves have no gradient.
    """
    activations = features(params, image)
    if matches is None:
        matches = _match(activations, targets, config)
    factors = targets.factors
    mrf_terms = [
        factors.mrf[name] * _mrf(activations[name], targets.style[name], matches[name], config)
        for name in config.layers
    ]
    terms = {"mrf": sum(mrf_terms), "tv": factors.tv * losses.total_variation(image)}
    if targets.content is not None:
        terms["content"] = factors.content * losses.content(
            activations[config.content_layer], targets.content
        )
    return sum(terms.values()), terms


def _match(activations: Mapping[str, Array], targets: Targets, config: Config) -> dict[str, Match]:
    return {
        name: matching.nearest(
            lax.stop_gradient(activations[name]), style, config.stride, config.matching
        )
        for name, style in targets.style.items()
    }


def _mrf(features: Array, style: StylePatches, match: Match, config: Config) -> Array:
    """Returns the MRF term of one layer, unweighted."""
    shape = features.shape[:2]
    placed = jnp.concatenate(
        [style.pixels, jnp.sum(jnp.square(style.pixels), axis=-1, keepdims=True)], axis=-1
    )
    blended = patches.reassemble(
        placed,
        style.origin[match.index],
        style.width[match.index],
        shape,
        config.patch_size,
        config.stride,
    )
    blended = lax.stop_gradient(blended)
    counts = patches.overlap_counts(*shape, config.patch_size, config.stride)
    weight = np.minimum(counts, 1.0) if config.overlap == "mean" else counts
    return losses.mrf(
        features, blended[..., :-1], blended[..., -1], jnp.asarray(weight, features.dtype)
    )


def _content_factor(target: Array | None, config: Config) -> Array | float:
    if target is None or config.normalization == "sum":
        return 1.0
    if config.normalization == "authors":
        return 1.0 / target.size  # mylib/content.lua: nn.MSECriterion
    return 1.0 / jnp.maximum(jnp.sum(jnp.square(target)), matching.TINY)


def _mrf_factor(style: StylePatches, shape: tuple[int, int], config: Config) -> Array | float:
    if config.normalization == "sum":
        return 1.0
    if config.normalization == "authors":
        return 0.5  # mylib/mrf.lua: the gradient is the difference itself
    energy_of_style = jnp.mean(jnp.sum(jnp.square(style.pixels), axis=-1))
    return 1.0 / jnp.maximum(energy_of_style * shape[0] * shape[1], matching.TINY)


def _tv_factor(shape: tuple[int, int], config: Config) -> float:
    if config.normalization == "sum":
        return config.pixel_scale**2
    if config.normalization == "authors":
        return 0.5 * config.pixel_scale**2  # mylib/tv.lua: the gradient is the difference itself
    return config.pixel_scale**2 / (shape[0] * shape[1])
