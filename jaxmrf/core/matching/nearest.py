"""The nearest style patch by normalized cross-correlation (paper, equation 3).

`collect` lists the patches of all style copies once per level; `match` finds for
every patch of a feature map the style patch with the highest score: its cosine, or less
its squared distance, and what speaks for or against a style patch beside likeness. It
compares all pairs, or, where an index was made, only those of the clusters that look best.
Both are used through `matchers`, where others can be registered.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxmrf.core.config import Metric
from jaxmrf.core.matching import patches

CHUNK_BYTES = 32 * 2**20
"""Products held at a time; the matches do not depend on it."""

SCORE_BLOCK = 32
"""The best score is looked for in blocks of this many: XLA's argmax is much slower
than its max, so the block with the highest maximum is found first."""

PROJECTION_SIZE = 128
"""Principal directions that the clusters are compared in."""

CLUSTER_SIZE = 256
"""Style patches of a cluster, at most."""

PROBES = 8
"""Clusters that every patch is compared with; the agreement is in docs/performance.md."""

CANDIDATES = 4
"""Style patches, each the best of a cluster, that are compared exactly."""

MEMBER_BLOCK = 64
"""Patches that are compared with one cluster in one matrix product."""

SAMPLE = 4096
"""Style patches that the principal directions are found from."""

ROUNDING = 1e-5
"""Scores that differ by less than this, relatively, count as equal."""

TINY = 1e-12


class Index(NamedTuple):
    """Style patches in clusters of equal size (an inverted file, Jégou et al. 2011).

    Attributes:
      projection: principal directions as a convolution kernel, [k, k, C, d].
      centers: mean of the unit patches of each cluster in these directions, [n, d].
      members: positions of the patches of each cluster, int32 [n, size]; some twice.
      vectors: the unit patches in these directions, [n, size, d].
    """

    projection: Float[Array, "k k c d"]
    centers: Float[Array, "n d"]
    members: Int[Array, "n size"]
    vectors: Float[Array, "n size d"]


class StylePatches(NamedTuple):
    """All patches of one style layer, over all copies of the style.

    The score of patch p with style patch s is ``scale · p·s + offset``, divided by ‖p‖ for
    the cosine and by ‖p‖² for the distance, and then ``bias`` is added.

    Attributes:
      sheet: feature maps of all copies one below the other, zeros on their right.
      scale: one over the norm of the patch that starts at a position of the sheet, or one
        for the distance; minus one where none starts.
      offset: minus half the squared norm, for the distance; None for the cosine.
      bias: what speaks for a copy; None: nothing does.
      labels: of the centers of the patches; None without guides.
      mean_square: mean squared length of a feature vector.
      index: what a matcher prepared, see `matchers.Matcher`; for `match` an `Index`, or
        None: all pairs are compared.
    """

    sheet: Float[Array, "rows columns c"]
    scale: Float[Array, "rows columns"]
    offset: Float[Array, "rows columns"] | None
    bias: Float[Array, "rows columns"] | None
    labels: Int[Array, "rows columns"] | None
    mean_square: Float[Array, ""]
    index: Any = None


class Match(NamedTuple):
    """The nearest style patch of every patch of a grid.

    Attributes:
      position: where the style patch starts: row · columns + column of the sheet.
      score: see `StylePatches`; a cosine is between 0 and 1 for ReLU features.
    """

    position: Int[Array, "rows columns"]
    score: Float[Array, "rows columns"]


def collect(
    maps: tuple[Float[Array, "_ _ c"], ...],
    patch_size: int,
    stride: int,
    *,
    border: int = 0,
    metric: Metric = "cosine",
    bias: Float[Array, " maps"] | None = None,
    labels: tuple[Int[Array, "_ _"], ...] | None = None,
) -> StylePatches:
    """Lists the patches of the feature maps of all style copies.

    Args:
      maps: feature maps of the style copies.
      patch_size: side of a patch.
      stride: distance of neighboring patches.
      border: so many outermost patches on each side are left out, see `starts`.
      metric: what patches are compared by.
      bias: what speaks for the patches of each map.
      labels: of the positions of each map.

    Raises:
      ValueError: if no patch fits into one of the maps.
    """
    sheet = stacked(maps)
    starts = _start_mask([found.shape[:2] for found in maps], patch_size, stride, border)
    squares = jnp.sum(jnp.square(sheet), axis=-1)
    square_norm = _window_sums(squares, patch_size)
    if metric == "cosine":
        scale, offset = 1.0 / jnp.maximum(jnp.sqrt(square_norm), TINY), None
    else:
        scale, offset = jnp.ones_like(square_norm), -0.5 * square_norm
    scale = jnp.where(starts, scale, -1.0)
    if bias is not None:
        bias = stacked(
            tuple(
                jnp.broadcast_to(one, (*found.shape[:2], 1))
                for one, found in zip(bias, maps, strict=True)
            )
        )[..., 0]
    if labels is not None:
        labels = _centers(stacked(tuple(found[..., None] for found in labels))[..., 0], patch_size)
    count = sum(found.shape[0] * found.shape[1] for found in maps)
    return StylePatches(sheet, scale, offset, bias, labels, jnp.sum(squares) / count)


def starts(
    shapes: Sequence[tuple[int, int]], patch_size: int, stride: int, border: int = 0
) -> np.ndarray:
    """Returns the flat positions of the sheet where patches start, int [n], see `collect`.

    Patches at the border of a picture have seen the zeros beside it: they are like those at
    the border of any other picture, whatever is painted there, and can be left out.

    Args:
      shapes: (height, width) of the maps.
      patch_size: side of a patch.
      stride: distance of neighboring patches.
      border: so many outermost patches on each side are left out, where twice as many remain.

    Raises:
      ValueError: if no patch fits into one of the maps.
    """
    return np.flatnonzero(_start_mask(shapes, patch_size, stride, border))


def match(
    features: Float[Array, "h w c"],
    style: StylePatches,
    patch_size: int,
    stride: int,
    *,
    labels: Int[Array, "h w"] | None = None,
    label_weight: float = 1.0,
    penalty: Float[Array, "rows columns"] | None = None,
) -> Match:
    """Returns the nearest style patch of every patch of `features`.

    Patches of norm zero have score 0. Ties go to the first of those compared.

    Args:
      features: feature map of the picture.
      style: from `collect`; with an index `labels` and `penalty` have no effect.
      patch_size: side of a patch.
      stride: distance of neighboring patches.
      labels: of the positions; for a style that has labels.
      label_weight: what the same label at the center of two patches adds to their score;
        from one on, patches of ReLU features never cross labels.
      penalty: what speaks against each style patch.
    """
    rows = patches.positions(features.shape[0], patch_size, stride)
    columns = patches.positions(features.shape[1], patch_size, stride)
    unit = _window_sums(jnp.sum(jnp.square(features), axis=-1), patch_size)
    unit = jnp.sqrt(unit) if style.offset is None else unit
    if style.index is None:
        bias = style.bias
        if penalty is not None:
            bias = -penalty if bias is None else bias - penalty
        same = None
        if labels is not None:
            same = (_centers(labels, patch_size), label_weight)
        position, score = _nearest_of_all(
            features, style._replace(bias=bias), unit, same, patch_size
        )
        position, score = (found[rows][:, columns] for found in (position, score))
    else:
        grid = (rows[:, None] * features.shape[1] + columns).ravel()
        position, score = _nearest_of_clusters(features, style, style.index, grid, patch_size)
        shape = (len(rows), len(columns))
        position, score = position.reshape(shape), score.reshape(shape)
    return Match(position, score / jnp.maximum(unit[rows][:, columns], TINY))


def agreement(
    features: Float[Array, "h w c"],
    style: StylePatches,
    match: Match,
    patch_size: int,
    stride: int,
    sample: int,
) -> Float[Array, ""]:
    """Returns the share of matches that are the nearest of all by likeness alone, 0 to 1.

    Args:
      features: feature map of the picture.
      style: from `collect`.
      match: what a matcher found for them.
      patch_size: side of a patch.
      stride: distance of neighboring patches.
      sample: the share is measured on this many patches, evenly spread.
    """
    rows, columns = (patches.positions(side, patch_size, stride) for side in features.shape[:2])
    grid = (rows[:, None] * features.shape[1] + columns).ravel()
    picked = np.linspace(0, len(grid) - 1, min(len(grid), sample)).astype(int)
    kernel = _gather(features, jnp.asarray(grid[picked]), patch_size).T
    shape = (patch_size, patch_size, features.shape[-1], len(picked))
    scores = _project(style.sheet, kernel.reshape(shape)) * style.scale[..., None]
    if style.offset is not None:
        scores += style.offset[..., None]
    scores = jnp.where(style.scale[..., None] < 0, -jnp.inf, scores).reshape(-1, len(picked))
    found = scores[match.position.ravel()[picked], jnp.arange(len(picked))]
    best = scores.max(axis=0)
    return jnp.mean((found >= best - ROUNDING * jnp.abs(best)).astype(jnp.float32))


def _start_mask(
    shapes: Sequence[tuple[int, int]], patch_size: int, stride: int, border: int
) -> np.ndarray:
    """Returns where in the sheet a patch starts, bool [rows, columns]."""
    mask = np.zeros((sum(height for height, _ in shapes), max(w for _, w in shapes)), bool)
    first_row = 0
    for height, width in shapes:
        rows, columns = (patches.positions(side, patch_size, stride) for side in (height, width))
        rows, columns = (
            found[border : len(found) - border] if len(found) >= 4 * border else found
            for found in (rows, columns)
        )
        mask[np.ix_(first_row + rows, columns)] = True
        first_row += height
    return mask


def _window_sums(values: Float[Array, "h w"], size: int) -> Float[Array, "h w"]:
    """Returns the sum of the window that starts at each position, cut off at the border."""
    after = ((0, size - 1), (0, size - 1))
    return lax.reduce_window(values, 0.0, lax.add, (size, size), (1, 1), after)


def stacked(maps: tuple[Array, ...]) -> Array:
    """Returns maps one below the other, zeros on the right of the narrower ones."""
    columns = max(found.shape[1] for found in maps)
    return jnp.concatenate(
        [jnp.pad(found, ((0, 0), (0, columns - found.shape[1]), (0, 0))) for found in maps]
    )


def _centers(values: Array, patch_size: int) -> Array:
    """Returns at the start of each patch the value at its center."""
    after = (patch_size - 1) // 2
    return jnp.pad(values[after:, after:], ((0, after), (0, after)))


def _nearest_of_all(
    features: Float[Array, "h w c"],
    style: StylePatches,
    unit: Float[Array, "h w"],
    same: tuple[Int[Array, "h w"], float] | None,
    patch_size: int,
) -> tuple[Int[Array, "h w"], Float[Array, "h w"]]:
    """Returns the best position at every position and its score times `unit`.

    The score of two patches is the sum of the products of their pixels, and neighboring
    patches share pixels: each pair of pixels is multiplied once, and the products are
    summed along diagonals. Both maps are flattened, so that a step to another row is a
    step by the width; sums that run over a border belong to no patch.
    """
    (height, width, _), (style_rows, columns, _) = features.shape, style.sheet.shape
    step, style_step = _tile_rows(height, width, style_rows, columns, patch_size)
    flat = _flat_rows(features, step, patch_size)
    sheet = _flat_rows(style.sheet, style_step, patch_size)
    spoken = (style.scale, style.offset, style.bias, style.labels)
    spoken = jax.tree.map(lambda values: _tiles(values, style_step, SCORE_BLOCK), spoken)
    labels, label_weight = (None, 0.0) if same is None else same
    of_picture = jax.tree.map(lambda values: _tiles(values, step), (unit, labels))

    def one_tile(tile: Array) -> tuple[Array, Array]:
        pixels = _pixels_of_tile(flat, tile * step * width, step * width, width, patch_size)
        unit, labels = jax.tree.map(lambda values: values[tile, :, None], of_picture)

        def one_style_tile(style_tile: Array) -> tuple[Array, Array]:
            first = style_tile * style_step * columns
            of_style = jax.tree.map(lambda values: values[style_tile], spoken)
            size = (step * width, of_style[0].size)
            style_pixels = _pixels_of_tile(sheet, first, size[1], columns, patch_size)
            products = _dot(pixels, style_pixels.T)

            def scores(sums: Array, column: Array | slice) -> Array:
                there = jax.tree.map(lambda values: values[column], of_style)
                return _scores(sums, there, unit, labels, label_weight)

            column, score = _best_of_tile(products, scores, size, (width, columns), patch_size)
            return first + column, score

        tiles = jnp.arange(len(spoken[0]), dtype=jnp.int32)
        return _best(*lax.map(one_style_tile, tiles))

    tiles = -(-height // step)
    position, score = lax.map(one_tile, jnp.arange(tiles, dtype=jnp.int32))
    return position.reshape(-1, width)[:height], score.reshape(-1, width)[:height]


def _best_of_tile(
    products: Float[Array, "_ _"],
    scores: Callable[[Array, Array | slice], Array],
    size: tuple[int, int],
    widths: tuple[int, int],
    patch_size: int,
) -> tuple[Int[Array, " m"], Float[Array, " m"]]:
    """Returns the best style patch, by its column, for each patch of a tile, and its score.

    Only the largest score of each block is written down; those of the best block are computed
    once more, which takes less than to write and read all of them.

    Args:
      products: of the pixels of picture and style.
      scores: (sums of products, columns that they are of) → scores.
      size: numbers of patches m of the picture and n of the style.
      widths: of picture and style.
      patch_size: side of a patch.
    """

    def everywhere(i: int, j: int) -> Array:
        return products[i : i + size[0], j : j + size[1]]

    whole = scores(_patch_sums(everywhere, widths, patch_size), slice(None))
    largest = whole.reshape(size[0], -1, SCORE_BLOCK).max(axis=-1)
    block = jnp.argmax(largest, axis=-1).astype(jnp.int32)[:, None]
    row = jnp.arange(size[0], dtype=jnp.int32)[:, None]
    column = block * SCORE_BLOCK + jnp.arange(SCORE_BLOCK, dtype=jnp.int32)

    def in_block(i: int, j: int) -> Array:
        return products.at[row + i, column + j].get(mode="promise_in_bounds")

    inside = scores(_patch_sums(in_block, widths, patch_size), column)
    best = jnp.argmax(inside, axis=-1)[:, None]
    return tuple(jnp.take_along_axis(found, best, axis=1)[:, 0] for found in (column, inside))


def _scores(
    sums: Array,
    spoken: tuple[Array | None, ...],
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
    found = scale * sums
    if offset is not None:
        found += offset
    if bias is not None:
        found += unit * bias
    if style_labels is not None and labels is not None:
        found += jnp.where(labels == style_labels, label_weight * unit, 0.0)
    return jnp.where(scale < 0, -jnp.inf, found)


def _tiles(values: Array, step: int, multiple: int = 1) -> Array:
    """Returns values in tiles of `step` rows, flattened: [tiles, n], n a multiple.

    What is missing is filled with minus one: no patch starts there (`StylePatches.scale`).
    """
    padded = jnp.pad(values, ((0, -values.shape[0] % step), (0, 0)), constant_values=-1)
    flat = padded.reshape(-1, step * values.shape[1])
    return jnp.pad(flat, ((0, 0), (0, -flat.shape[1] % multiple)), constant_values=-1)


def _tile_rows(
    height: int, width: int, style_rows: int, columns: int, patch_size: int
) -> tuple[int, int]:
    """Returns rows of picture and style in a tile of about `CHUNK_BYTES` of products."""
    pairs = max(1, CHUNK_BYTES // (4 * width * columns))
    step = min(height, max(1, math.isqrt(pairs) - patch_size + 1))
    style_step = min(style_rows, max(1, pairs // (step + patch_size - 1) - patch_size + 1))
    # Tiles of equal size leave the least at the end to be padded.
    return tuple(
        -(-rows // -(-rows // size)) for rows, size in ((height, step), (style_rows, style_step))
    )


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
    return sum(
        sum(products(i * width + j, i * columns + j) for j in range(patch_size))
        for i in range(patch_size)
    )


def _argmax(scores: Float[Array, "m n"]) -> tuple[Int[Array, " m"], Float[Array, " m"]]:
    """Returns index and value of the first largest score of each row."""
    count = scores.shape[1]
    missing = ((0, 0), (0, -count % SCORE_BLOCK))
    blocks = jnp.pad(scores, missing, constant_values=-jnp.inf)
    # Without the barrier XLA computes the scores anew for each of their uses.
    blocks = lax.optimization_barrier(blocks.reshape(scores.shape[0], -1, SCORE_BLOCK))
    largest = blocks.max(axis=-1)
    block = jnp.argmax(largest, axis=-1).astype(jnp.int32)
    inside = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
    index = block * SCORE_BLOCK + jnp.argmax(inside, axis=-1).astype(jnp.int32)
    return index, largest.max(axis=-1)


def _best(index: Int[Array, "tiles m"], score: Float[Array, "tiles m"]) -> tuple[Array, Array]:
    """Returns the best over tiles; the first of equals wins."""
    tile = jnp.argmax(score, axis=0)[None]
    return tuple(jnp.take_along_axis(found, tile, axis=0)[0] for found in (index, score))


def make_index(style: StylePatches, starts: np.ndarray, patch_size: int) -> Index:
    """Sorts the patches into clusters, for an approximate search by the cosine alone.

    Args:
      style: from `collect`.
      starts: flat positions where the patches start, int [n], see `starts`.
      patch_size: side of a patch.
    """
    sheet, scale = style.sheet, style.scale.ravel()[starts]
    # Principal directions of a sample, evenly spread, are those of all patches nearly.
    sample = np.linspace(0, len(starts) - 1, min(len(starts), SAMPLE)).astype(np.int32)
    flat = _gather(sheet, jnp.asarray(starts[sample]), patch_size) * scale[sample][:, None]
    basis = _principal_directions(flat, PROJECTION_SIZE)
    projection = basis.reshape(patch_size, patch_size, sheet.shape[-1], -1)
    unit = _project(sheet, projection).reshape(-1, basis.shape[1])[starts] * scale[:, None]
    cluster = _halve(unit)
    return Index(
        projection,
        unit[cluster].mean(axis=1),
        jnp.asarray(starts, jnp.int32)[cluster],
        unit[cluster],
    )


def _halve(unit: Float[Array, "m d"]) -> Int[Array, "n size"]:
    """Halves the rows across their main direction again and again; returns row numbers.

    Some rows are repeated, so that all clusters have the same size.
    """
    depth = max(0, math.ceil(math.log2(len(unit) / CLUSTER_SIZE)))
    size = -(-len(unit) // 2**depth)
    cluster = (jnp.arange(size * 2**depth, dtype=jnp.int32) % len(unit))[None]
    for _ in range(depth):
        found = unit[cluster]
        found = found - found.mean(axis=1, keepdims=True)
        direction = jnp.ones((found.shape[0], 1, found.shape[2]), found.dtype)
        for _ in range(4):
            along = jnp.sum(found * direction, axis=2, keepdims=True)
            direction = jnp.sum(found * along, axis=1, keepdims=True)
            direction /= jnp.maximum(jnp.linalg.norm(direction, axis=2, keepdims=True), TINY)
        order = jnp.argsort(jnp.sum(found * direction, axis=2), axis=1)
        cluster = jnp.take_along_axis(cluster, order, axis=1)
        cluster = cluster.reshape(2 * cluster.shape[0], -1)
    return cluster


def _nearest_of_clusters(
    features: Array, style: StylePatches, index: Index, grid: np.ndarray, patch_size: int
) -> tuple[Array, Array]:
    """Returns the best of the best-looking clusters, at the flat positions `grid`."""
    projected = _project(features, index.projection)
    projected = projected.reshape(-1, projected.shape[-1])[grid]
    probes = min(PROBES, len(index.centers))

    def leading(row: Array) -> Array:
        return lax.top_k(_dot(index.centers, row), probes)[1].astype(jnp.int32)

    chunk = max(1, CHUNK_BYTES // (4 * len(index.centers)))
    cluster = lax.map(leading, projected, batch_size=chunk)
    member, rough = lax.map(lambda column: _best_member(projected, column, index), cluster.T)
    _, order = lax.top_k(rough.T, min(CANDIDATES, probes))
    candidate = jnp.sort(jnp.take_along_axis(member.T, order, axis=1), axis=1)

    def compare(patch_and_candidates: tuple[Array, Array]) -> tuple[Array, Array]:
        corner, positions = patch_and_candidates
        patch = _gather(features, corner[None], patch_size)[0]
        scores = _dot(_gather(style.sheet, positions, patch_size), patch)
        scores = scores * style.scale.ravel()[positions]
        best = jnp.argmax(scores)
        return positions[best], scores[best]

    patch_bytes = 4 * patch_size**2 * features.shape[-1]
    chunk = max(1, CHUNK_BYTES // (patch_bytes * (1 + CANDIDATES)))
    return lax.map(compare, (jnp.asarray(grid, jnp.int32), candidate), batch_size=chunk)


def _best_member(
    projected: Float[Array, "m d"], cluster: Int[Array, " m"], index: Index
) -> tuple[Int[Array, " m"], Float[Array, " m"]]:
    """Returns the best member of one cluster per patch: its position and rough score.

    Patches of the same cluster are brought together in blocks, the last block of each
    cluster with idle rows, so that every block is one matrix product with one cluster.
    """
    count, clusters = len(projected), len(index.centers)
    order = jnp.argsort(cluster).astype(jnp.int32)
    sorted_cluster = cluster[order]
    size = jnp.bincount(cluster, length=clusters)
    block_end = jnp.cumsum(-(-size // MEMBER_BLOCK))
    first_slot = (block_end + size // -MEMBER_BLOCK) * MEMBER_BLOCK
    rank = jnp.arange(count) - (jnp.cumsum(size) - size)[sorted_cluster]
    slot = (first_slot[sorted_cluster] + rank).astype(jnp.int32)
    blocks = count // MEMBER_BLOCK + clusters  # at most: one is not full in each cluster
    patch_of_slot = jnp.zeros(blocks * MEMBER_BLOCK, jnp.int32).at[slot].set(order)
    cluster_of_block = jnp.searchsorted(block_end, jnp.arange(blocks), side="right")
    cluster_of_block = jnp.minimum(cluster_of_block, clusters - 1)

    def one_block(block: tuple[Array, Array]) -> tuple[Array, Array]:
        rows, which = block
        scores = _dot(projected[rows], index.vectors[which].T)
        best, score = _argmax(scores)
        return index.members[which][best], score

    rows = patch_of_slot.reshape(blocks, MEMBER_BLOCK)
    member, score = lax.map(one_block, (rows, cluster_of_block), batch_size=8)
    place = jnp.zeros(count, jnp.int32).at[order].set(slot)
    return member.ravel()[place], score.ravel()[place]


def _project(features: Array, projection: Array) -> Array:
    """Returns the projected patch that starts at each position, by one convolution.

    Zeros stand for what lies beyond the last row and column.
    """
    after = projection.shape[0] - 1
    return lax.conv_general_dilated(
        features[None],
        projection,
        window_strides=(1, 1),
        padding=((0, after), (0, after)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )[0]


def _gather(values: Float[Array, "h w c"], starts: Int[Array, " m"], size: int) -> Array:
    """Returns the patches that start at flat positions, flattened, [m, k·k·C]."""
    offsets = np.arange(size)
    inside = (offsets[:, None] * values.shape[1] + offsets).ravel()
    flat = values.reshape(-1, values.shape[-1])
    return flat[starts[:, None] + inside].reshape(starts.shape[0], -1)


def _principal_directions(rows: Float[Array, "m d"], count: int) -> Float[Array, "d e"]:
    """Returns leading principal directions of the rows, by subspace iteration.

    Halko, Martinsson & Tropp 2011, algorithm 4.4, with three iterations.
    """
    size = min(count, *rows.shape)
    start = jax.random.normal(jax.random.key(0), (rows.shape[1], size), rows.dtype)
    basis = jnp.linalg.qr(start)[0]
    for _ in range(3):
        basis = jnp.linalg.qr(_dot(rows.T, _dot(rows, basis)))[0]
    return basis


def _dot(a: Array, b: Array) -> Array:
    return jnp.dot(a, b, precision=lax.Precision.HIGHEST)
