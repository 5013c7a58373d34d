"""The nearest style patch of the clusters that look best: an inverted file."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxmrf.core.matching import windows
from jaxmrf.core.matching.style_patches import StylePatches
from jaxmrf.core.matching.windows import SCORE_BLOCK, gather, project
from jaxmrf.core.numerics import TINY, dot

PROJECTION_SIZE = 128
"""Principal directions that the clusters are compared in."""

CLUSTER_SIZE = 256
"""Style patches of a cluster, at most."""

PROBES = 8
"""Clusters that every patch is compared with; the agreement is in docs/experiments.md."""

CANDIDATES = 4
"""Style patches, each the best of a cluster, that are compared exactly."""

MEMBER_BLOCK = 64
"""Patches that are compared with one cluster in one matrix product."""

SAMPLE = 4096
"""Style patches that the principal directions are found from."""


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
    flat = gather(sheet, jnp.asarray(starts[sample]), patch_size) * scale[sample][:, None]
    basis = _principal_directions(flat, PROJECTION_SIZE)
    projection = basis.reshape(patch_size, patch_size, sheet.shape[-1], -1)
    unit = project(sheet, projection).reshape(-1, basis.shape[1])[starts] * scale[:, None]
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
        rows = unit[cluster]
        rows = rows - rows.mean(axis=1, keepdims=True)
        direction = jnp.ones((rows.shape[0], 1, rows.shape[2]), rows.dtype)
        for _ in range(4):
            along = jnp.sum(rows * direction, axis=2, keepdims=True)
            direction = jnp.sum(rows * along, axis=1, keepdims=True)
            direction /= jnp.maximum(jnp.linalg.norm(direction, axis=2, keepdims=True), TINY)
        order = jnp.argsort(jnp.sum(rows * direction, axis=2), axis=1)
        cluster = jnp.take_along_axis(cluster, order, axis=1)
        cluster = cluster.reshape(2 * cluster.shape[0], -1)
    return cluster


def nearest_of_clusters(
    features: Array, style: StylePatches, index: Index, grid: np.ndarray, patch_size: int
) -> tuple[Array, Array]:
    """Returns the best of the best-looking clusters, at the flat positions `grid`."""
    projected = project(features, index.projection)
    projected = projected.reshape(-1, projected.shape[-1])[grid]
    probes = min(PROBES, len(index.centers))

    def leading(row: Array) -> Array:
        return lax.top_k(dot(index.centers, row), probes)[1].astype(jnp.int32)

    chunk = max(1, windows.CHUNK_BYTES // (4 * len(index.centers)))
    cluster = lax.map(leading, projected, batch_size=chunk)
    member, rough = lax.map(lambda column: _best_member(projected, column, index), cluster.T)
    _, order = lax.top_k(rough.T, min(CANDIDATES, probes))
    candidate = jnp.sort(jnp.take_along_axis(member.T, order, axis=1), axis=1)

    def compare(patch_and_candidates: tuple[Array, Array]) -> tuple[Array, Array]:
        corner, positions = patch_and_candidates
        patch = gather(features, corner[None], patch_size)[0]
        scores = dot(gather(style.sheet, positions, patch_size), patch)
        scores = scores * style.scale.ravel()[positions]
        best = jnp.argmax(scores)
        return positions[best], scores[best]

    patch_bytes = 4 * patch_size**2 * features.shape[-1]
    chunk = max(1, windows.CHUNK_BYTES // (patch_bytes * (1 + CANDIDATES)))
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
        scores = dot(projected[rows], index.vectors[which].T)
        best, score = _argmax(scores)
        return index.members[which][best], score

    rows = patch_of_slot.reshape(blocks, MEMBER_BLOCK)
    member, score = lax.map(one_block, (rows, cluster_of_block), batch_size=8)
    place = jnp.zeros(count, jnp.int32).at[order].set(slot)
    return member.ravel()[place], score.ravel()[place]


def _principal_directions(rows: Float[Array, "m d"], count: int) -> Float[Array, "d e"]:
    """Returns leading principal directions of the rows, by subspace iteration.

    Halko, Martinsson & Tropp 2011, algorithm 4.4, with three iterations.
    """
    size = min(count, *rows.shape)
    start = jax.random.normal(jax.random.key(0), (rows.shape[1], size), rows.dtype)
    basis = jnp.linalg.qr(start)[0]
    for _ in range(3):
        basis = jnp.linalg.qr(dot(rows.T, dot(rows, basis)))[0]
    return basis
