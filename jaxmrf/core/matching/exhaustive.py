"""The nearest style patches of all, by the products of pixels and not of patches."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxmrf.core.config import Shape
from jaxmrf.core.matching.style_patches import StylePatches
from jaxmrf.core.matching.windows import SCORE_BLOCK
from jaxmrf.core.numerics import dot


class Leading(NamedTuple):
    """The best style patches of every patch.

    Attributes:
      position: where they start, from the best on.
      score: of each, times what scores are divided by in the end.
      rest: the highest score of all others; infinity, not known, where the best alone is asked for.
    """

    position: Int[Array, "... n"]
    score: Float[Array, "... n"]
    rest: Float[Array, "..."]


def nearest_of_all(
    features: Float[Array, "h w c"],
    style: StylePatches,
    unit: Float[Array, "h w"],
    same: tuple[Int[Array, "h w"], float] | None,
    patch_size: int,
    tile_bytes: int,
    *,
    product: Callable[[Array, Array], Array] = dot,
    count: int = 1,
) -> Leading:
    """Returns the best style patches at every position, their scores times `unit`.

    The score of two patches is the sum of the products of their pixels, and neighboring
    patches share pixels: each pair of pixels is multiplied once, and the products are
    summed along diagonals. Both maps are flattened, so that a step to another row is a
    step by the width; sums that run over a border belong to no patch.

    Args:
      features: feature map of the picture.
      style: from `collect`.
      unit: what scores are divided by in the end.
      same: labels of the patches, and what the same label adds to a score.
      patch_size: side of a patch.
      tile_bytes: products of pixels that are held at a time; nothing else depends on it.
      product: of two matrices, as float32.
      count: style patches for each position.
    """
    (height, width, _), (style_rows, columns, _) = features.shape, style.sheet.shape
    step, style_step = _tile_rows((height, width), (style_rows, columns), patch_size, tile_bytes)
    flat = _flat_rows(features, step, patch_size)
    sheet = _flat_rows(style.sheet, style_step, patch_size)
    spoken = (style.scale, style.offset, style.bias, style.labels)
    spoken = jax.tree.map(lambda values: _tiles(values, style_step, SCORE_BLOCK), spoken)
    labels, label_weight = (None, 0.0) if same is None else same
    of_picture = jax.tree.map(lambda values: _tiles(values, step), (unit, labels))

    def one_tile(tile: Array) -> Leading:
        pixels = _pixels_of_tile(flat, tile * step * width, step * width, width, patch_size)
        unit, labels = jax.tree.map(lambda values: values[tile, :, None], of_picture)

        def one_style_tile(style_tile: Array) -> Leading:
            first = style_tile * style_step * columns
            of_style = jax.tree.map(lambda values: values[style_tile], spoken)
            size = (step * width, of_style[0].size)
            style_pixels = _pixels_of_tile(sheet, first, size[1], columns, patch_size)
            products = product(pixels, style_pixels.T)

            def scores(sums: Array, column: Array | slice) -> Array:
                of_columns = jax.tree.map(lambda values: values[column], of_style)
                return _scores(sums, of_columns, unit, labels, label_weight)

            leading = _best_of_tile(products, scores, size, (width, columns), patch_size, count)
            return leading._replace(position=first + leading.position)

        tiles = jnp.arange(len(spoken[0]), dtype=jnp.int32)
        return _best_of_tiles(lax.map(one_style_tile, tiles), count)

    tiles = jnp.arange(-(-height // step), dtype=jnp.int32)
    return jax.tree.map(
        lambda values: values.reshape(-1, width, *values.shape[2:])[:height],
        lax.map(one_tile, tiles),
    )


def _best_of_tile(
    products: Float[Array, "_ _"],
    scores: Callable[[Array, Array | slice], Array],
    size: tuple[int, int],
    widths: tuple[int, int],
    patch_size: int,
    count: int,
) -> Leading:
    """Returns the best style patches, by their column, for each patch of a tile.

    Only the largest score of each block is written down; those of the best blocks are computed
    once more, which takes less than to write and read all of them.

    Args:
      products: of the pixels of picture and style.
      scores: (sums of products, columns that they are of) → scores.
      size: numbers of patches m of the picture and n of the style.
      widths: of picture and style.
      patch_size: side of a patch.
      count: style patches for each patch, and blocks that they are looked for in.
    """

    def everywhere(i: int, j: int) -> Array:
        return products[i : i + size[0], j : j + size[1]]

    whole = scores(_patch_sums(everywhere, widths, patch_size), slice(None))
    largest = whole.reshape(size[0], -1, SCORE_BLOCK).max(axis=-1)
    blocks = _largest(largest, count)
    row = jnp.arange(size[0], dtype=jnp.int32)[:, None]
    column = blocks.position[..., None] * SCORE_BLOCK + jnp.arange(SCORE_BLOCK, dtype=jnp.int32)
    column = column.reshape(size[0], -1)

    def in_blocks(i: int, j: int) -> Array:
        place = products.at[row + i, column + j]
        return place.get(mode="promise_in_bounds", wrap_negative_indices=False)

    inside = _largest(scores(_patch_sums(in_blocks, widths, patch_size), column), count)
    return Leading(
        jnp.take_along_axis(column, inside.position, axis=1),
        inside.score,
        jnp.maximum(inside.rest, blocks.rest),
    )


def _largest(values: Float[Array, "m n"], count: int) -> Leading:
    """Returns the largest values of each row and their columns; the first of equals wins."""
    if count == 1:  # XLA finds one much faster
        column = jnp.argmax(values, axis=1).astype(jnp.int32)[:, None]
        unknown = jnp.full(len(values), jnp.inf)
        return Leading(column, jnp.take_along_axis(values, column, axis=1), unknown)
    count = min(count, values.shape[1])
    score, column = lax.top_k(values, min(count + 1, values.shape[1]))
    rest = score[:, count:].max(axis=1, initial=-jnp.inf)
    return Leading(column[:, :count], score[:, :count], rest)


def _scores(
    sums: Array,
    spoken: tuple[Array, Array | None, Array | None, Array | None],
    unit: Float[Array, "m 1"],
    labels: Int[Array, "m 1"] | None,
    label_weight: float,
) -> Array:
    """Returns scores times `unit`, minus infinity where no style patch starts.

    Args:
      sums: of products of patches, [m, n].
      spoken: scale, offset, bias and labels of the style patches (`StylePatches`), each [n]
        or [m, n].
      unit: what scores are divided by in the end.
      labels: of the patches of the picture.
      label_weight: what the same label adds.
    """
    scale, offset, bias, style_labels = spoken
    scores = scale * sums
    if offset is not None:
        scores += offset
    if bias is not None:
        scores += unit * bias
    if style_labels is not None and labels is not None:
        scores += jnp.where(labels == style_labels, label_weight * unit, 0.0)
    return jnp.where(scale < 0, -jnp.inf, scores)


def _tiles(values: Array, step: int, multiple: int = 1) -> Array:
    """Returns values in tiles of `step` rows, flattened: [tiles, n], n a multiple.

    What is missing is filled with minus one: no patch starts there (`StylePatches.scale`).
    """
    padded = jnp.pad(values, ((0, -values.shape[0] % step), (0, 0)), constant_values=-1)
    flat = padded.reshape(-1, step * values.shape[1])
    return jnp.pad(flat, ((0, 0), (0, -flat.shape[1] % multiple)), constant_values=-1)


def _tile_rows(
    shape: Shape, style_shape: Shape, patch_size: int, tile_bytes: int
) -> tuple[int, int]:
    """Returns rows of picture and style in a tile of about so many bytes of products."""
    (height, width), (style_rows, columns) = shape, style_shape
    pairs = max(1, tile_bytes // (4 * width * columns))
    step = min(height, max(1, math.isqrt(pairs) - patch_size + 1))
    style_step = min(style_rows, max(1, pairs // (step + patch_size - 1) - patch_size + 1))
    # Tiles of equal size leave the least at the end to be padded.
    return -(-height // -(-height // step)), -(-style_rows // -(-style_rows // style_step))


def _flat_rows(values: Float[Array, "h w c"], step: int, patch_size: int) -> Float[Array, "n c"]:
    """Returns all positions, padded to whole tiles and what their last patches need."""
    height, _, channels = values.shape
    rows = -height % step + patch_size - 1
    flat = jnp.pad(values, ((0, rows), (0, 0), (0, 0))).reshape(-1, channels)
    return jnp.pad(flat, ((0, patch_size - 1 + SCORE_BLOCK), (0, 0)))


def _pixels_of_tile(flat: Array, first: Array, size: int, width: int, patch_size: int) -> Array:
    """Returns the pixels of the `size` patches that start at `first` and behind it."""
    return lax.dynamic_slice_in_dim(flat, first, size + (patch_size - 1) * (width + 1))


def _patch_sums(
    products: Callable[[int, int], Array], widths: tuple[int, int], patch_size: int
) -> Array:
    """Returns the sums over the pixels of patches of the products of their pixels.

    Args:
      products: how far to go on in picture and style → those products of all patches.
      widths: of picture and style.
      patch_size: side of a patch.
    """
    width, columns = widths
    rows = (
        sum(products(i * width + j, i * columns + j) for j in range(patch_size))
        for i in range(patch_size)
    )
    return jnp.asarray(sum(rows))


def _best_of_tiles(leading: Leading, count: int) -> Leading:
    """Returns the best over tiles, the first axis; the first of equals wins."""
    position, score = (
        jnp.moveaxis(values, 0, 1).reshape(values.shape[1], -1) for values in leading[:2]
    )
    best = _largest(score, count)
    return Leading(
        jnp.take_along_axis(position, best.position, axis=1),
        best.score,
        jnp.maximum(best.rest, leading.rest.max(axis=0)),
    )
