"""The MRF style loss: every patch is pulled to its nearest style patch (paper, section 3)."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxmrf.core import color, numerics, pyramid
from jaxmrf.core.config import Shape
from jaxmrf.core.losses import terms
from jaxmrf.core.losses.exemplars import Anchor, Exemplars, labels_at, margin
from jaxmrf.core.matching import matchers, nearest, patches, style_patches, windows
from jaxmrf.core.matching.style_patches import Match, StylePatches
from jaxmrf.core.settings import Program

BLEND_STRENGTH = 0.1
"""What a style with e times the weight of another gains in its scores."""

REUSE_STRENGTH = 0.1
"""What a patch loses in its score, at variety 1, where it was used e - 1 times."""

REUSE_KEPT = 0.5
"""Share of the earlier uses that still counts when the matches are refreshed; without it
all users of a patch would leave it and come back together."""


LONGEST_STRETCH = 2.0
"""Patches that contradict each other have a mean near zero: it is not made longer than this."""


NEARLY_FLAT = 1e-3
"""Variance of colors that are hardly stretched."""


class Target(NamedTuple):
    """Targets of the MRF loss of one pyramid level.

    Attributes:
      patches: style patches by layer.
      scale: what the term of a layer is multiplied by.
      colors: of the positions of the style patches' sheet by layer, sRGB in 0 to 1.
      palette: of the colors of the styles.
      labels: of the positions of the picture by layer; empty without guides.
      anchor: the content; None: un-guided synthesis.
    """

    patches: dict[str, StylePatches]
    scale: dict[str, Float[Array, ""]]
    colors: dict[str, Float[Array, "_ _ 3"]]
    palette: color.Palette
    labels: dict[str, Int[Array, "_ _"]]
    anchor: Anchor | None = None


class Assembled(NamedTuple):
    """The style features at the matches, which those of a layer are pulled to.

    Attributes:
      blended: mean of what the matches put at each position, see `assemble`.
      mean_square: mean of the squared length of what they put there.
      uses: how often each style patch was taken lately; None where it does not matter.
    """

    blended: Float[Array, "h w c"]
    mean_square: Float[Array, "h w"]
    uses: Float[Array, "rows columns"] | None = None


def layers(program: Program) -> tuple[str, ...]:
    """Returns the layers whose patches are matched."""
    return program.patches.layers


def prepare(exemplars: Exemplars, program: Program) -> Target:
    """Lists the patches of the styles and makes the matcher's index of them.

    Args:
      exemplars: the styles, and the sizes of the picture's activations.
      program: settings of the compiled program.

    Raises:
      ValueError: if a patch does not fit into the features of a style copy.
      ConfigError: if there is no such matcher.
    """
    matcher = matchers.chosen(program.patches)
    target = Target(
        {}, {}, {}, color.palette(exemplars.pictures, exemplars.blend), {}, exemplars.anchor
    )
    bias = None if exemplars.blend is None else BLEND_STRENGTH * jnp.log(exemplars.blend)
    guides = exemplars.guides
    for name in program.patches.layers:
        maps = tuple(activations[name] for activations in exemplars.maps)
        shape = exemplars.sizes[name]
        labels = None
        if guides is not None:
            target.labels[name] = _picture_labels(guides.picture, shape, program)
            labels = tuple(
                labels_at(guide, features.shape[:2])
                for guide, features in zip(guides.styles, maps, strict=True)
            )
        style = style_patches.collect(
            maps,
            program.patches.patch_size,
            program.patches.style_stride,
            border=program.patches.style_border,
            metric=program.patches.metric,
            bias=bias,
            labels=labels,
        )
        sizes = [features.shape[:2] for features in maps]
        starts = style_patches.starts(
            sizes,
            program.patches.patch_size,
            program.patches.style_stride,
            program.patches.style_border,
        )
        like = None if exemplars.anchor is None else exemplars.anchor.features[name]
        index = matcher.index(style, starts, shape, program.patches, like=like)
        style = style._replace(index=index)
        target.patches[name] = style
        small = (
            pyramid.small(*picture_and_size)
            for picture_and_size in zip(exemplars.pictures, sizes, strict=True)
        )
        target.colors[name] = windows.stacked(tuple(small))
        target.scale[name] = jnp.asarray(_scale(style, shape, program), jnp.float32)
    return target


def match(activations: Mapping[str, Array], target: Target, program: Program) -> dict[str, Match]:
    """Returns the nearest style patches by layer; they have no gradient.

    Args:
      activations: of the picture by layer, [h, w, C] each.
      target: from `prepare`.
      program: settings of the compiled program.
    """
    return {name: _match(name, activations[name], target, None, program) for name in target.patches}


def refresh(
    activations: Mapping[str, Array],
    target: Target,
    state: dict[str, Assembled] | None,
    program: Program,
) -> dict[str, Assembled]:
    """Returns the style features put together at newly found matches, by layer.

    Args:
      activations: of the picture by layer, [h, w, C] each.
      target: from `prepare`.
      state: of the last call; None at first.
      program: settings of the compiled program.
    """
    refreshed = {}
    for name, style in target.patches.items():
        uses = None
        if program.patches.variety:
            uses = jnp.zeros_like(style.scale) if state is None else state[name].uses
        matches = _match(name, activations[name], target, uses, program)
        assembled = assemble(matches, style, activations[name].shape[:2], program)
        refreshed[name] = _with_content(assembled, name, target.anchor)
        if uses is not None:
            new = jnp.zeros(uses.size, uses.dtype).at[matches.position.ravel()].add(1.0)
            uses = REUSE_KEPT * uses + (1.0 - REUSE_KEPT) * new.reshape(uses.shape)
            refreshed[name] = refreshed[name]._replace(uses=uses)
    return refreshed


def assemble(matches: Match, style: StylePatches, shape: Shape, program: Program) -> Assembled:
    """Returns the style features of one layer, put together at given matches.

    A mean of vectors is shorter than they are, and short features are pale pixels: with
    the overlap ``rms`` everything that the matches put at a position is stretched so that
    its mean is as long as the root mean square of it, `LONGEST_STRETCH` times at most.

    Args:
      matches: of every patch of the picture.
      style: the style patches of the layer.
      shape: (height, width) of the picture's activations.
      program: settings of the compiled program.
    """
    squares = jnp.sum(jnp.square(style.sheet), axis=-1, keepdims=True)
    blended, mean_square = (
        patches.reassemble(
            sheet, matches.position, shape, program.patches.patch_size, program.patches.stride
        )
        for sheet in (style.sheet, squares)
    )
    if program.patches.overlap == "rms":
        length = jnp.sum(jnp.square(blended), axis=-1, keepdims=True)
        square = jnp.minimum(mean_square / jnp.maximum(length, numerics.TINY), LONGEST_STRETCH**2)
        blended, mean_square = blended * jnp.sqrt(square), mean_square * square
    return Assembled(blended, mean_square[..., 0])


class Painted(NamedTuple):
    """Features and colors of one layer, which a decoder paints from.

    Attributes:
      features: put together at the matches, see `assemble`.
      colors: of the painting there, sRGB in 0 to 1.
    """

    features: Float[Array, "h w c"]
    colors: Float[Array, "h w 3"]


def painted(
    activations: Mapping[str, Array], target: Target, program: Program
) -> dict[str, Painted]:
    """Returns features and colors put together at newly found matches, by layer.

    The content has its share of both (see `exemplars.Anchor`). A mean of colors is paler
    than they are: their distribution is brought to that of the styles.

    Args:
      activations: of the picture by layer, [h, w, C] each.
      target: from `prepare`.
      program: settings of the compiled program.
    """
    painted_layers = {}
    for name, matches in match(activations, target, program).items():
        shape = activations[name].shape[:2]
        assembled = assemble(matches, target.patches[name], shape, program)
        colors = patches.reassemble(
            target.colors[name],
            matches.position,
            shape,
            program.patches.patch_size,
            program.patches.stride,
        )
        if target.anchor is not None:
            share = target.anchor.share
            colors = (1.0 - share) * colors + share * target.anchor.colors[name]
        colors = color.with_palette(colors, target.palette, floor=NEARLY_FLAT)
        colors = jnp.clip(colors, 0.0, 1.0)
        assembled = _with_content(assembled, name, target.anchor)
        painted_layers[name] = Painted(assembled.blended, colors)
    return painted_layers


def init(
    layers: Mapping[str, jax.ShapeDtypeStruct], target: Target, program: Program
) -> dict[str, Assembled]:
    """Returns a state of the right shapes, of no use but to be refreshed."""
    return {
        name: Assembled(
            jnp.zeros(layers[name].shape, layers[name].dtype),
            jnp.zeros(layers[name].shape[:2], layers[name].dtype),
            jnp.zeros(style.scale.shape, style.scale.dtype) if program.patches.variety else None,
        )
        for name, style in target.patches.items()
    }


def value(
    activations: Mapping[str, Array],
    target: Target,
    state: dict[str, Assembled],
    program: Program,
) -> Float[Array, ""]:
    """Returns the MRF term, summed over layers, unweighted.

    With the matches fixed its gradient is what the authors' code writes by hand
    (mylib/mrf.lua).

    Args:
      activations: of the picture by layer, [h, w, C] each.
      target: from `prepare`.
      state: from `refresh`.
      program: settings of the compiled program.
    """
    terms_of_layers = (
        scale * _one_layer(activations[name], state[name], program)
        for name, scale in target.scale.items()
    )
    return jnp.asarray(sum(terms_of_layers))


def agreement(
    activations: Mapping[str, Array], target: Target, program: Program, sample: int = 256
) -> dict[str, Float[Array, ""]]:
    """Returns for each layer the share of matches that are the nearest of all, 0 to 1.

    Measured on `sample` patches by their likeness alone, see `matching.agreement`.
    """
    matches = match(activations, target, program)
    return {
        name: nearest.agreement(
            _anchored(name, activations[name], target.anchor),
            style,
            matches[name],
            program.patches.patch_size,
            program.patches.stride,
            sample,
        )
        for name, style in target.patches.items()
    }


def compares_all(target: Target, program: Program) -> bool:
    """Returns whether the matches are the nearest of all because all pairs are compared."""
    if matchers.chosen(program.patches).nearest is not nearest.match:
        return False
    return all(style.index is None for style in target.patches.values())


def _match(
    name: str, activations: Array, target: Target, uses: Array | None, program: Program
) -> Match:
    return matchers.chosen(program.patches).nearest(
        lax.stop_gradient(_anchored(name, activations, target.anchor)),
        target.patches[name],
        program.patches.patch_size,
        program.patches.stride,
        labels=target.labels.get(name),
        label_weight=program.patches.guide_weight,
        precision=program.patches.score_precision,
        tile_bytes=program.patches.tile_bytes,
        penalty=None
        if uses is None
        else program.patches.variety * REUSE_STRENGTH * jnp.log1p(uses),
    )


def _anchored(name: str, activations: Array, anchor: Anchor | None) -> Array:
    """Returns the features to match: (1 − a) F(x) + a F(content), so that matches stay in place."""
    if anchor is None:
        return activations
    return (1.0 - anchor.weight) * activations + anchor.weight * anchor.features[name]


def _with_content(assembled: Assembled, name: str, anchor: Anchor | None) -> Assembled:
    """Returns (1 − c) t + c F(content) in the place of every t that the matches put there."""
    if anchor is None:
        return assembled
    spread = assembled.mean_square - jnp.sum(jnp.square(assembled.blended), axis=-1)
    blended = (1.0 - anchor.share) * assembled.blended + anchor.share * anchor.features[name]
    spread = (1.0 - anchor.share) ** 2 * spread
    return Assembled(blended, spread + jnp.sum(jnp.square(blended), axis=-1))


def _one_layer(features: Array, assembled: Assembled, program: Program) -> Array:
    height, width, _ = features.shape
    counts = patches.overlap_counts(
        height, width, program.patches.patch_size, program.patches.stride
    )
    weight = counts if program.patches.overlap == "sum" else np.minimum(counts, 1.0)
    around = margin(program)
    weight = np.pad(weight[around : -around or None, around : -around or None], around)
    blended, mean_square, _ = assembled
    return terms.mrf(features, blended, mean_square, jnp.asarray(weight, features.dtype))


def _scale(style: StylePatches, shape: Shape, program: Program) -> Array | float:
    if program.normalization == "sum":
        return 1.0
    if program.normalization == "authors":
        return 0.5  # mylib/mrf.lua: the gradient is the difference itself
    positions = math.prod(side - 2 * margin(program) for side in shape)
    return 1.0 / jnp.maximum(style.mean_square * positions, numerics.TINY)


def _picture_labels(
    labels: Float[Array | np.ndarray, "_ _ labels"], shape: Shape, program: Program
) -> Int[Array, "h w"]:
    """Returns the labels of the positions of a layer, wrapped around as its activations."""
    around = margin(program)
    inside = labels_at(labels, tuple(side - 2 * around for side in shape))
    return jnp.pad(inside, around, mode="wrap")
