"""The nearest style patch by normalized cross-correlation (paper, equation 3).

`collect` lists the patches of all style copies once per level; `nearest` finds for
every patch of a feature map the style patch with the highest cosine. `exact` compares
all pairs. `fast` ranks the style patches by a projection on their leading principal
directions and compares the best candidates exactly.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxmrf import patches
from jaxmrf.config import Matching

PROJECTION_SIZE = 128
"""Principal directions that `fast` ranks by; the agreement is in docs/performance.md."""

CANDIDATES = 8
"""Style patches that `fast` compares exactly for every patch."""

CANDIDATE_GROUPS = 32
"""`fast` takes the candidates from the winners of this many groups of style patches."""

CHUNK_BYTES = 16 * 2**20
"""Scores and patches of the picture held at a time; the matches do not depend on it."""

BLOCK_BYTES = 256 * 2**20
"""Style patches that `exact` holds at a time; the matches do not depend on it."""

SAMPLE = 4096
"""Style patches that the principal directions are found from."""

TINY = 1e-12


class StylePatches(NamedTuple):
    """All patches of one style layer, over all copies of the style.

    Attributes:
      pixels: feature positions of all copies, one below the other, [n, C].
      origin: row of `pixels` with the first position of each patch, int32 [m].
      width: width of the feature map that the patch lies in, int32 [m].
      inverse_norm: one over the Euclidean norm of each patch, [m].
      projection: principal directions as a convolution kernel, [k, k, C, d].
      projected: unit patches in these directions, [m, d].
    """

    pixels: Float[Array, "n c"]
    origin: Int[Array, " m"]
    width: Int[Array, " m"]
    inverse_norm: Float[Array, " m"]
    projection: Float[Array, "k k c d"]
    projected: Float[Array, "m d"]


class Match(NamedTuple):
    """The nearest style patch of every patch of a grid.

    Attributes:
      index: index of the style patch, int32 [rows, columns].
      score: its cosine with the patch, between 0 and 1 for ReLU features.
    """

    index: Int[Array, "rows columns"]
    score: Float[Array, "rows columns"]


def collect(maps: tuple[Float[Array, "_ _ c"], ...], patch_size: int, stride: int) -> StylePatches:
    """Lists the patches of the feature maps of all style copies.

    Raises:
      ValueError: if no patch fits into one of the maps.
    """
    origins, widths, first_row = [], [], 0
    for height, width, _ in (style_map.shape for style_map in maps):
        rows = patches.positions(height, patch_size, stride)
        columns = patches.positions(width, patch_size, stride)
        origins.append((first_row + rows[:, None] * width + columns[None, :]).ravel())
        widths.append(np.full(origins[-1].shape, width))
        first_row += height * width
    channels = maps[0].shape[-1]
    pixels = jnp.concatenate([style_map.reshape(-1, channels) for style_map in maps])
    origin = jnp.asarray(np.concatenate(origins), jnp.int32)
    width = jnp.asarray(np.concatenate(widths), jnp.int32)

    squares = jnp.sum(jnp.square(pixels), axis=-1, keepdims=True)
    norm = jnp.sqrt(_gather_style(squares, origin, width, patch_size).sum(axis=1))
    inverse_norm = 1.0 / jnp.maximum(norm, TINY)

    # Principal directions of a sample, evenly spread, are those of all patches nearly.
    sample = np.linspace(0, len(origin) - 1, min(len(origin), SAMPLE)).astype(np.int32)
    flat = _gather_style(pixels, origin[sample], width[sample], patch_size)
    basis = _principal_directions(flat * inverse_norm[sample][:, None])
    projection = basis.reshape(patch_size, patch_size, channels, -1)
    projected = [
        _project(style_map, projection)[
            patches.positions(style_map.shape[0], patch_size, stride)[:, None],
            patches.positions(style_map.shape[1], patch_size, stride)[None, :],
        ].reshape(-1, basis.shape[1])
        for style_map in maps
    ]
    return StylePatches(
        pixels,
        origin,
        width,
        inverse_norm,
        projection,
        jnp.concatenate(projected) * inverse_norm[:, None],
    )


def nearest(
    features: Float[Array, "h w c"], style: StylePatches, stride: int, method: Matching
) -> Match:
    """Returns the nearest style patch of every patch of `features`.

    Patches of norm zero match style patch 0 with score 0. Ties go to the lower index.
    """
    patch_size = style.projection.shape[0]
    rows = patches.positions(features.shape[0], patch_size, stride)
    columns = patches.positions(features.shape[1], patch_size, stride)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    if method == "exact":
        index, score = _nearest_exact(features, style, grid, patch_size)
    else:
        index, score = _nearest_fast(features, style, grid, patch_size)
    shape = (len(rows), len(columns))
    return Match(index.reshape(shape), score.reshape(shape))


def _nearest_exact(
    features: Array, style: StylePatches, grid: np.ndarray, patch_size: int
) -> tuple[Array, Array]:
    """Compares all pairs, a block of style patches at a time; the first of equals wins."""
    flat_size = patch_size**2 * features.shape[-1]
    count = style.origin.shape[0]
    block = min(count, max(1, BLOCK_BYTES // (4 * flat_size)))
    starts = np.minimum(np.arange(0, count, block), count - block)

    def one_block(start: Array) -> tuple[Array, Array]:
        origin = lax.dynamic_slice_in_dim(style.origin, start, block)
        width = lax.dynamic_slice_in_dim(style.width, start, block)
        scale = lax.dynamic_slice_in_dim(style.inverse_norm, start, block)
        unit = _gather_style(style.pixels, origin, width, patch_size) * scale[:, None]

        def one_patch(corner: Array) -> tuple[Array, Array]:
            patch = _gather_one(features, corner, patch_size)
            scores = _dot(unit, patch)
            best = jnp.argmax(scores)
            return start + best.astype(jnp.int32), _cosine(scores[best], patch)

        return _in_chunks(one_patch, grid, row_floats=flat_size + block)

    index, score = lax.map(one_block, jnp.asarray(starts, jnp.int32))
    best = jnp.argmax(score, axis=0)[None]
    return jnp.take_along_axis(index, best, 0)[0], jnp.take_along_axis(score, best, 0)[0]


def _nearest_fast(
    features: Array, style: StylePatches, grid: np.ndarray, patch_size: int
) -> tuple[Array, Array]:
    projected = _project(features, style.projection)
    count = style.origin.shape[0]
    groups = min(CANDIDATE_GROUPS, count)
    directions = jnp.pad(style.projected, ((0, -count % groups), (0, 0)))
    rank = jnp.arange(directions.shape[0] // groups, dtype=jnp.int32)
    mask = np.int32((1 << int(rank.shape[0] - 1).bit_length()) - 1)

    def one_patch(corner: Array) -> tuple[Array, Array]:
        # Group j are the style patches j, j + groups, j + 2 groups, ... Scores of ReLU
        # features are not negative, so as integers their bits keep their order; the low
        # bits make room for the rank, since XLA's argmax is much slower than its max.
        rough = jnp.maximum(_dot(directions, projected[corner[0], corner[1]]), 0.0)
        bits = lax.bitcast_convert_type(rough.astype(jnp.float32), jnp.int32)
        best = ((bits.reshape(-1, groups) & ~mask) | (mask - rank)[:, None]).max(axis=0)
        winner = (mask - (best & mask)) * groups + jnp.arange(groups, dtype=jnp.int32)
        _, leading = lax.top_k(best, min(CANDIDATES, groups))
        candidate = jnp.minimum(jnp.sort(winner[leading]), count - 1)

        patch = _gather_one(features, corner, patch_size)
        flat = _gather_style(
            style.pixels, style.origin[candidate], style.width[candidate], patch_size
        )
        scores = _dot(flat, patch) * style.inverse_norm[candidate]
        best = jnp.argmax(scores)
        return candidate[best].astype(jnp.int32), _cosine(scores[best], patch)

    patch_floats = (1 + CANDIDATES) * patch_size**2 * features.shape[-1]
    return _in_chunks(one_patch, grid, row_floats=patch_floats + count)


def _project(features: Array, projection: Array) -> Array:
    """Returns the projected patches at all positions, by one convolution."""
    return lax.conv_general_dilated(
        features[None],
        projection,
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )[0]


def _in_chunks(function, grid: np.ndarray, row_floats: int) -> tuple[Array, Array]:
    """Maps `function` over the rows of `grid`, in chunks of about `CHUNK_BYTES`."""
    chunk = max(1, CHUNK_BYTES // (4 * row_floats))
    return lax.map(function, jnp.asarray(grid), batch_size=chunk)


def _gather_one(features: Array, corner: Array, patch_size: int) -> Array:
    return patches.gather(features, corner[:1], corner[1:], patch_size)[0]


def _gather_style(pixels: Array, origin: Array, width: Array, patch_size: int) -> Array:
    """Returns the style patches with the given origins, flattened, [m, k·k·C]."""
    offsets = jnp.arange(patch_size)
    rows = (
        origin[:, None, None]
        + offsets[None, :, None] * width[:, None, None]
        + offsets[None, None, :]
    )
    return pixels[rows].reshape(origin.shape[0], -1)


def _principal_directions(unit: Float[Array, "m d"]) -> Float[Array, "d e"]:
    """Returns leading principal directions of the rows, by subspace iteration.

    Halko, Martinsson & Tropp 2011, algorithm 4.4, with three iterations.
    """
    size = min(PROJECTION_SIZE, *unit.shape)
    start = jax.random.normal(jax.random.key(0), (unit.shape[1], size), unit.dtype)
    basis = jnp.linalg.qr(start)[0]
    for _ in range(3):
        basis = jnp.linalg.qr(_dot(unit.T, _dot(unit, basis)))[0]
    return basis


def _dot(a: Array, b: Array) -> Array:
    return jnp.dot(a, b, precision=lax.Precision.HIGHEST)


def _cosine(score: Array, patch: Float[Array, " d"]) -> Array:
    return score / jnp.maximum(jnp.linalg.norm(patch), TINY)
