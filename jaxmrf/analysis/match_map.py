"""What a finished picture took from its styles: the match of each position, by layer."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxmrf.core import color, energy, pyramid
from jaxmrf.core.config import Config, Shape
from jaxmrf.core.features import Network
from jaxmrf.core.losses import mrf
from jaxmrf.core.losses.exemplars import Guides, margin
from jaxmrf.core.matching import patches
from jaxmrf.core.matching.style_patches import Match
from jaxmrf.core.pyramid import at_size
from jaxmrf.core.run.inputs import LevelPictures, level_pictures, make_pictures
from jaxmrf.core.run.plan import make_plan
from jaxmrf.core.run.step import prepare_level
from jaxmrf.core.settings import CopySettings, PatchSettings, Program, resolve

PROBE = 1024
"""Side of the picture that tells how many pixels a position of a layer stands for: a
multiple of every pooling's step."""


class Copy(NamedTuple):
    """A rotated and scaled copy of a style.

    Attributes:
      style: which style, from 0.
      degrees: how it is rotated, counter-clockwise.
      ratio: how it is scaled.
    """

    style: int
    degrees: float
    ratio: float


class MatchMap(NamedTuple):
    """The matches of the positions of one layer.

    A position belongs to several patches; here it goes with the one whose center is nearest.

    Attributes:
      step: pixels of the picture, in height and width, that a position stands for.
      copy: which of `copies` the match is in.
      place: where in its style the position's feature came from: (row, column) in 0 to 1,
        rotation and scale undone.
      score: of the match, see `style_patches.StylePatches`; a cosine for most settings.
      assembled: the style's pixels at the matches in place of the picture's, the mean where
        patches overlap; smaller than the picture by what the layer does not cover.
    """

    step: int
    copy: Int[np.ndarray, "h w"]
    place: Float[np.ndarray, "h w 2"]
    score: Float[np.ndarray, "h w"]
    assembled: Float[np.ndarray, "height width 3"]


def copies(count: int, config: Config) -> list[Copy]:
    """Returns the copies of `count` styles, in the order of `pyramid.style_copies`."""
    turns = range(-config.rotations, config.rotations + 1)
    powers = range(-config.scales, config.scales + 1)
    return [
        Copy(style, turn * config.rotation_step, config.scale_step**power)
        for style in range(count)
        for turn in turns
        for power in powers
    ]


def match_maps(
    network: Network,
    picture: Float[Array, "h w 3"],
    content: Float[Array, "_ _ 3"] | None,
    styles: Sequence[Float[Array, "_ _ 3"]],
    config: Config,
    *,
    guides: Guides | None = None,
    mask: Float[Array, "_ _"] | None = None,
) -> dict[str, MatchMap]:
    """Matches a finished picture against its styles, as at the finest level of its run.

    Uses of earlier iterations, which `Config.variety` speaks against, are not known here.

    Args:
      network: the network.
      picture: the finished picture, sRGB in 0 to 1.
      content: what it was made from, of any size; None: un-guided synthesis.
      styles: style pictures of any size, sRGB in 0 to 1.
      config: the settings that made it.
      guides: what is where, in the picture and in each style.
      mask: where the picture could change.

    Returns:
      A map for each of `config.layers`.

    Raises:
      ConfigError: if a setting cannot be used with these pictures.
    """
    style_shapes = [style.shape[:2] for style in styles]
    settings = resolve(config, network, has_content=content is not None)
    program = settings.program
    plan = make_plan(picture.shape[:2], style_shapes, network, settings)
    pictures = make_pictures(content, styles, settings.config, guides=guides, mask=mask)
    # The content is needed for colors and the region only, its features are not.
    finest = level_pictures(pictures, plan, len(plan.shapes) - 1, settings)._replace(content=None)
    if config.color == "keep":
        picture = color.luminance(picture)
    matches = _match(network, picture, finest, program=program)
    drawn = [
        copy
        for style, shape in zip(styles, plan.style_shapes[-1], strict=True)
        for copy in _drawn(at_size(style, shape), settings=settings.copies)
    ]
    probed, of_picture, *of_copies = (
        network.shapes(shape)
        for shape in ((PROBE, PROBE), picture.shape[:2], *(copy.shape[:2] for copy in drawn))
    )
    return {
        name: _map(
            jax.device_get(match),
            drawn,
            [layers[name].shape[:2] for layers in (of_picture, *of_copies)],
            round(PROBE / probed[name].shape[0]),
            picture.shape[:2],
            program,
        )
        for name, match in matches.items()
    }


@functools.partial(jax.jit, static_argnames="program")
def _match(
    network: Network, picture: Array, pictures: LevelPictures, *, program: Program
) -> dict[str, Match]:
    targets = prepare_level(network, pictures, shape=picture.shape[:2], program=program)
    activations = energy.activations(network, picture, targets, program=program)
    return mrf.match(activations, targets.style["mrf"], program)


@functools.partial(jax.jit, static_argnames="settings")
def _drawn(style: Float[Array, "h w 3"], *, settings: CopySettings) -> list[Float[Array, "_ _ 5"]]:
    """Returns for each copy its pixels and, in two more channels, their place in the style."""
    rows, columns = ((jnp.arange(side) + 0.5) / side for side in style.shape[:2])
    place = jnp.stack(jnp.meshgrid(rows, columns, indexing="ij"), axis=-1)
    return pyramid.style_copies(jnp.concatenate([style, place], axis=-1), settings)


def _map(
    match: Match,
    drawn: Sequence[Float[Array, "_ _ 5"]],
    layer_shapes: Sequence[Shape],
    step: int,
    shape: Shape,
    program: Program,
) -> MatchMap:
    """Returns the map of one layer.

    Args:
      match: of the layer.
      drawn: from `_drawn`.
      layer_shapes: (height, width) of the layer, of the picture and of each copy.
      step: pixels that a position stands for.
      shape: (height, width) of the picture.
      program: settings of the compiled program.
    """
    around = margin(program)
    (height, width), *copy_shapes = layer_shapes
    height, width = height + 2 * around, width + 2 * around
    sheet_columns = max(columns for _, columns in copy_shapes)
    sheet = np.asarray(_pixel_sheet(drawn, tuple(copy_shapes), step, sheet_columns))

    vertical, down = _central(height, program.patches)
    horizontal, across = _central(width, program.patches)
    grid = np.ix_(vertical, horizontal)
    row, column = np.divmod(match.position[grid], sheet_columns)
    row, column = row + down[:, None], column + across[None, :]
    first_rows = np.cumsum([0, *(rows for rows, _ in copy_shapes)])
    copy = np.searchsorted(first_rows, row, side="right") - 1
    cells = sheet[..., 3:].reshape(-1, step, sheet_columns, step, 2)
    place = cells.mean(axis=(1, 3))[row, column]

    row, column = np.divmod(match.position, sheet_columns)
    assembled = _reassemble(
        sheet[..., :3],
        (row * sheet_columns * step + column) * step,
        shape=(height * step, width * step),
        patch_size=program.patches.patch_size * step,
        stride=program.patches.stride * step,
    )
    inside = slice(around, height - around), slice(around, width - around)
    pixels = tuple(
        slice(around * step, min((length - around) * step, around * step + side))
        for length, side in zip((height, width), shape, strict=True)
    )
    return MatchMap(
        step,
        copy[inside].astype(np.int32),
        place[inside],
        np.asarray(match.score[grid][inside]),
        np.asarray(assembled[pixels]),
    )


def _central(length: int, settings: PatchSettings) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each position the patch whose center is nearest, and its place in there."""
    starts = patches.positions(length, settings.patch_size, settings.stride)
    offsets = np.arange(length)[:, None] - starts[None, :]
    patch = np.abs(offsets - (settings.patch_size - 1) / 2).argmin(axis=1)
    offset = np.take_along_axis(offsets, patch[:, None], axis=1)[:, 0]
    return patch, np.clip(offset, 0, settings.patch_size - 1)


_reassemble = jax.jit(patches.reassemble, static_argnames=("shape", "patch_size", "stride"))


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _pixel_sheet(
    pictures: Sequence[Array], layer_shapes: tuple[tuple[int, int], ...], step: int, columns: int
) -> Float[Array, "_ _ c"]:
    """Returns pictures one below the other, as `matching` lays out the layers of the copies.

    Layers that round odd sides up have cells beyond the picture; its border fills them.
    """
    sized = []
    for picture, (height, width) in zip(pictures, layer_shapes, strict=True):
        below, right = (
            max(0, count * step - side)
            for count, side in zip((height, width), picture.shape[:2], strict=True)
        )
        whole = jnp.pad(picture, ((0, below), (0, right), (0, 0)), mode="edge")
        cells = whole[: height * step, : width * step]
        sized.append(jnp.pad(cells, ((0, 0), (0, (columns - width) * step), (0, 0))))
    return jnp.concatenate(sized)


def shares(matches: MatchMap, count: int) -> Float[np.ndarray, " count"]:
    """Returns the share of positions that took from each of `count` copies."""
    return np.bincount(matches.copy.ravel(), minlength=count) / matches.copy.size
