"""The energy of a picture: prepare the targets once, match, then a weighted sum.

    targets = prepare(params, content, styles, weights, shape=..., features=..., config=...)
    matches = match(image, params, targets, features=..., config=...)
    value, terms = energy(image, params, targets, matches, features=..., config=...)

Arrays, parameters and targets are arguments that jit traces; `features` and `config`
are static and hashable, to be named in ``static_argnames``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from jaxmrf import losses, matching, patches
from jaxmrf.config import Config
from jaxmrf.matching import Match, StylePatches

EXACT_PAIRS = 2**27
"""Up to this many pairs of positions ``matching="fast"`` compares all of them too."""


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


class Assembled(NamedTuple):
    """The style features of a layer, put together at the matches.

    Attributes:
      blended: mean of what the matches put at each position.
      mean_square: mean of the squared length of what the matches put there.
    """

    blended: Float[Array, "h w c"]
    mean_square: Float[Array, "h w"]


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
    image = jax.ShapeDtypeStruct((*shape, 3), styles[0].dtype)
    layers = jax.eval_shape(features, params, image)
    sizes = {name: layers[name].shape[:2] for name in config.layers}
    style = {}
    for name in config.layers:
        maps = tuple(found[name] for found in style_maps)
        pairs = math.prod(sizes[name]) * sum(math.prod(found.shape[:2]) for found in maps)
        indexed = config.matching == "fast" and pairs > EXACT_PAIRS
        style[name] = matching.collect(
            maps, config.patch_size, config.style_stride, indexed=indexed
        )
    target = None if content is None else features(params, content)[config.content_layer]
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
    return _weighted_sum(
        image, activations, targets, _assemble(matches, activations, targets, config), config
    )


def energy_and_memory(
    image: Float[Array, "h w 3"],
    params: PyTree,
    targets: Targets,
    memory: dict[str, Assembled],
    renew: Bool[Array, ""],
    *,
    features: Features,
    config: Config,
) -> tuple[Float[Array, ""], tuple[dict[str, Float[Array, ""]], dict[str, Assembled]]]:
    """Returns what `energy` does, with the matches of an earlier call unless `renew`.

    Args:
      image: sRGB picture.
      params: parameters of the network.
      targets: of this pyramid level, from `prepare`.
      memory: what an earlier call returned, or `no_memory`.
      renew: whether to find the matches anew.
      features: the network.
      config: settings.

    Returns:
      The sum, and the terms with the memory for the next call.
    """
    activations = features(params, image)
    fixed = lax.stop_gradient({name: activations[name] for name in config.layers})
    memory = lax.cond(
        renew,
        lambda: _assemble(_match(fixed, targets, config), fixed, targets, config),
        lambda: memory,
    )
    value, terms = _weighted_sum(image, activations, targets, memory, config)
    return value, (terms, memory)


def no_memory(
    image: Float[Array, "h w 3"], params: PyTree, *, features: Features, config: Config
) -> dict[str, Assembled]:
    """Returns a memory of the right shapes for a first call that renews it."""
    layers = jax.eval_shape(features, params, image)
    found = {name: layers[name] for name in config.layers}
    return {
        name: Assembled(
            jnp.zeros(layer.shape, layer.dtype), jnp.zeros(layer.shape[:2], layer.dtype)
        )
        for name, layer in found.items()
    }


def agreement(
    image: Float[Array, "h w 3"],
    params: PyTree,
    targets: Targets,
    *,
    features: Features,
    config: Config,
    sample: int = 256,
) -> dict[str, Float[Array, ""]]:
    """Returns for each style layer the share of matches that are the nearest of all."""
    activations = features(params, image)
    return {
        name: matching.agreement(activations[name], style, config.patch_size, sample)
        for name, style in targets.style.items()
    }


def _match(activations: Mapping[str, Array], targets: Targets, config: Config) -> dict[str, Match]:
    return {
        name: matching.nearest(
            lax.stop_gradient(activations[name]), style, config.patch_size, config.stride
        )
        for name, style in targets.style.items()
    }


def _assemble(
    matches: dict[str, Match], activations: Mapping[str, Array], targets: Targets, config: Config
) -> dict[str, Assembled]:
    assembled = {}
    for name, style in targets.style.items():
        squares = jnp.sum(jnp.square(style.sheet), axis=-1, keepdims=True)
        blended, mean_square = (
            patches.reassemble(
                sheet,
                matches[name].position,
                activations[name].shape[:2],
                config.patch_size,
                config.stride,
            )
            for sheet in (style.sheet, squares)
        )
        assembled[name] = Assembled(blended, mean_square[..., 0])
    return lax.stop_gradient(assembled)


def _weighted_sum(
    image: Array,
    activations: Mapping[str, Array],
    targets: Targets,
    assembled: dict[str, Assembled],
    config: Config,
) -> tuple[Array, dict[str, Array]]:
    factors = targets.factors
    mrf_terms = [
        factors.mrf[name] * _mrf(activations[name], assembled[name], config)
        for name in config.layers
    ]
    terms = {"mrf": sum(mrf_terms), "tv": factors.tv * losses.total_variation(image)}
    if targets.content is not None:
        terms["content"] = factors.content * losses.content(
            activations[config.content_layer], targets.content
        )
    return sum(terms.values()), terms


def _mrf(features: Array, assembled: Assembled, config: Config) -> Array:
    """Returns the MRF term of one layer, unweighted."""
    counts = patches.overlap_counts(*features.shape[:2], config.patch_size, config.stride)
    weight = np.minimum(counts, 1.0) if config.overlap == "mean" else counts
    return losses.mrf(features, *assembled, jnp.asarray(weight, features.dtype))


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
    return 1.0 / jnp.maximum(style.mean_square * shape[0] * shape[1], matching.TINY)


def _tv_factor(shape: tuple[int, int], config: Config) -> float:
    if config.normalization == "sum":
        return config.pixel_scale**2
    if config.normalization == "authors":
        return 0.5 * config.pixel_scale**2  # mylib/tv.lua: the gradient is the difference itself
    return config.pixel_scale**2 / (shape[0] * shape[1])
