"""The nearest style patch of the clusters that look best: an inverted file."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxmrf.core.matching import patches, windows
from jaxmrf.core.matching.candidates import best_candidate
from jaxmrf.core.matching.style_patches import StylePatches
from jaxmrf.core.matching.windows import gather, project
from jaxmrf.core.numerics import TINY, dot

PROJECTION_SIZE = 96
"""Principal directions that the clusters are compared in."""

CLUSTER_SIZE = 256
"""Style patches of a cluster, at most."""

PROBES = 12
"""Clusters that every patch is compared with; the agreement is in docs/experiments.md."""

CANDIDATES = 6
"""Style patches, each the best of a group of a cluster, that are compared exactly."""

GROUPS = 8
"""Members of a cluster by turns: each gives its best, since neighbors in a picture are alike."""

ROUNDS = 1
"""How often every patch is offered the matches of its neighbors."""

MEMBER_BLOCK = 256
"""Patches that are compared with one cluster in one matrix product."""

BLOCKS_AT_ONCE = 8
"""Of these matrix products."""

REFINEMENTS = 1
"""How often patches go to the cluster whose center is nearest (k-means, with equal sizes)."""

CHOICES = 4
"""Clusters that a patch asks for, the nearest first; those that are full do not take it."""

SAMPLE = 4096
"""Style patches that the principal directions are found from."""


class Index(NamedTuple):
    """Style patches in clusters of equal size (an inverted file, Jégou et al. 2011).

    Attributes:
      projection: principal directions as a convolution kernel, [k, k, C, d].
      centers: mean of the unit patches of each cluster in these directions, of unit length,
        [n, d]: a mean is the shorter the more its patches differ, and those of a cluster that
        differ more are not worse.
      members: positions of the patches of each cluster, int32 [n, size]; some twice.
      vectors: the unit patches in these directions, [n, size, d].
    """

    projection: Float[Array, "k k c d"]
    centers: Float[Array, "n d"]
    members: Int[Array, "n size"]
    vectors: Float[Array, "n size d"]


def _best_of_groups(scores: Float[Array, "m n"]) -> tuple[Int[Array, "m g"], Float[Array, "m g"]]:
    """Returns column and score of the best of every `GROUPS`-th column, a little rounded.

    The lowest bits of a score give way to its column, so that one maximum finds both: an
    argmax takes XLA twice as long as product and maximum together.
    """
    count = scores.shape[1]
    mask = 2 ** max(1, (count - 1).bit_length()) - 1
    bits = lax.bitcast_convert_type(scores, jnp.int32)
    packed = (bits & ~mask) | jnp.arange(count, dtype=jnp.int32)
    best = packed.reshape(-1, count // GROUPS, GROUPS).max(axis=1)
    return best & mask, lax.bitcast_convert_type(best & ~mask, jnp.float32)


def make_index(
    style: StylePatches,
    starts: np.ndarray,
    patch_size: int,
    like: Float[Array, "h w c"] | None = None,
) -> Index:
    """Sorts the patches into clusters, for an approximate search by the cosine alone.

    Args:
      style: from `collect`.
      starts: flat positions where the patches start, int [n], see `starts`.
      patch_size: side of a patch.
      like: features that those to be matched resemble: directions in which these do not
        differ tell nothing. None: nothing is known of them.
    """
    sheet, scale = style.sheet, style.scale.ravel()[starts]
    # Principal directions of a sample, evenly spread, are those of all patches nearly.
    flat = _sample(sheet, starts, patch_size)
    if like is not None:
        corners = patches.corners(like.shape[:2], patch_size, 1).ravel()
        flat = jnp.concatenate([flat, _sample(like, corners, patch_size)])
    basis = _principal_directions(flat, PROJECTION_SIZE)
    projection = basis.reshape(patch_size, patch_size, sheet.shape[-1], -1)
    unit = project(sheet, projection).reshape(-1, basis.shape[1])[starts] * scale[:, None]
    cluster = _halve(unit)
    for _ in range(REFINEMENTS):
        cluster = _gathered(unit, cluster)
    return Index(
        projection,
        _centers(unit, cluster),
        jnp.asarray(starts, jnp.int32)[cluster],
        unit[cluster],
    )


def _sample(features: Array, starts: np.ndarray, patch_size: int) -> Float[Array, "m d"]:
    """Returns unit patches from an even spread of at most `SAMPLE` of the flat positions."""
    picked = np.linspace(0, len(starts) - 1, min(len(starts), SAMPLE)).astype(np.int32)
    rows = gather(features, jnp.asarray(starts[picked]), patch_size)
    return _unit(rows)


def _centers(unit: Float[Array, "m d"], cluster: Int[Array, "n size"]) -> Float[Array, "n d"]:
    """Returns the means of the rows of each cluster, brought to unit length."""
    return _unit(unit[cluster].mean(axis=1))


def _unit(rows: Float[Array, "*m d"]) -> Float[Array, "*m d"]:
    """Returns the rows, brought to unit length."""
    return rows / jnp.maximum(jnp.linalg.norm(rows, axis=-1, keepdims=True), TINY)


def _gathered(unit: Float[Array, "m d"], cluster: Int[Array, "n size"]) -> Int[Array, "n size"]:
    """Returns clusters of the same size of the rows that are nearest to the present centers.

    In turns, rows ask for their nearest center, the second nearest and so on; a cluster takes
    those that are nearest to it as long as it has room. Rows that none took, about one in a
    hundred, fill what is left, and some rows are repeated.
    """
    clusters, size = cluster.shape
    centers, count = _centers(unit, cluster), len(unit)
    choices = min(CHOICES, clusters)
    chunk = max(1, windows.CHUNK_BYTES // (4 * clusters))
    likeness, choice = lax.map(
        lambda row: lax.top_k(dot(centers, row), choices), unit, batch_size=chunk
    )
    own = jnp.full(count, clusters, jnp.int32)  # of no cluster
    room = jnp.full(clusters, size, jnp.int32)
    for turn in range(choices):
        asked = jnp.where(own == clusters, choice[:, turn], clusters).astype(jnp.int32)
        nearest_first = jnp.argsort(-likeness[:, turn]).astype(jnp.int32)
        order, rank = _ordered(asked[nearest_first], clusters + 1)
        order = nearest_first[order]
        taken = jnp.zeros(count, bool).at[order].set(rank < jnp.append(room, 0)[asked[order]])
        own = jnp.where(taken, asked, own)
        room -= jnp.bincount(jnp.where(taken, asked, clusters), length=clusters).astype(room.dtype)
    homeless = own == clusters
    vacancy = jnp.searchsorted(jnp.cumsum(room), jnp.cumsum(homeless) - 1, side="right")
    own = jnp.where(homeless, vacancy.astype(jnp.int32), own)
    order, rank = _ordered(own, clusters)
    members = jnp.arange(clusters * size, dtype=jnp.int32).reshape(clusters, size) % count
    return members.at[own[order], rank].set(order)


def _ordered(values: Int[Array, " m"], bound: int) -> tuple[Int[Array, " m"], Int[Array, " m"]]:
    """Returns the order that sorts, and how many of the same value stand before each then.

    Args:
      values: from 0 to below `bound`; the first of equals stays the first.
      bound: of the values.
    """
    count = len(values)
    if bound * count < 2**32:  # one number tells value and place, and is sorted 5 times as fast
        keys = values.astype(jnp.uint32) * count + jnp.arange(count, dtype=jnp.uint32)
        order = (jnp.sort(keys) % count).astype(jnp.int32)
    else:
        order = jnp.argsort(values).astype(jnp.int32)
    sizes = jnp.bincount(values, length=bound)
    rank = jnp.arange(count) - (jnp.cumsum(sizes) - sizes)[values[order]]
    return order, rank.astype(jnp.int32)


def _halve(unit: Float[Array, "m d"]) -> Int[Array, "n size"]:
    """Halves the rows across their main direction again and again; returns row numbers.

    Some rows are repeated, so that all clusters have the same size.
    """
    depth = max(0, math.ceil(math.log2(len(unit) / CLUSTER_SIZE)))
    size = GROUPS * -(-len(unit) // (2**depth * GROUPS))
    cluster = (jnp.arange(size * 2**depth, dtype=jnp.int32) % len(unit))[None]
    for _ in range(depth):
        rows = unit[cluster]
        rows = rows - rows.mean(axis=1, keepdims=True)
        direction = jnp.ones((rows.shape[0], 1, rows.shape[2]), rows.dtype)
        for _ in range(4):
            along = jnp.sum(rows * direction, axis=2, keepdims=True)
            direction = _unit(jnp.sum(rows * along, axis=1, keepdims=True))
        order = jnp.argsort(jnp.sum(rows * direction, axis=2), axis=1)
        cluster = jnp.take_along_axis(cluster, order, axis=1)
        cluster = cluster.reshape(2 * cluster.shape[0], -1)
    return cluster


def nearest_of_clusters(
    features: Array, style: StylePatches, index: Index, patch_size: int, stride: int
) -> tuple[Int[Array, "rows columns"], Float[Array, "rows columns"]]:
    """Returns the best of the best-looking clusters and of what the neighbors found.

    Args:
      features: feature map of the picture.
      style: from `collect`, compared by the cosine alone.
      index: of its patches, from `make_index`.
      patch_size: side of a patch.
      stride: distance of neighboring patches.

    Returns:
      Position of the best style patch for every patch of the grid, and its score times the
      norm of the patch.
    """
    corners = patches.corners(features.shape[:2], patch_size, stride)
    projected = project(features, index.projection)
    projected = projected.reshape(-1, projected.shape[-1])[corners.ravel()]
    probes = min(PROBES, len(index.centers))

    def leading(row: Array) -> Array:
        return lax.top_k(dot(index.centers, row), probes)[1].astype(jnp.int32)

    chunk = max(1, windows.CHUNK_BYTES // (4 * len(index.centers)))
    cluster = lax.map(leading, projected, batch_size=chunk)
    member, rough = _best_members(projected, cluster, index)
    _, order = lax.top_k(rough, min(CANDIDATES, rough.shape[1]))
    candidates = jnp.take_along_axis(member, order, axis=1)
    position, score = (
        values.reshape(corners.shape)
        for values in best_candidate(features, style, corners.ravel(), candidates, patch_size)
    )
    for _ in range(ROUNDS):
        position, score = propagated(features, style, position, score, patch_size, stride)
    return position, score


def propagated(
    features: Array,
    style: StylePatches,
    position: Int[Array, "rows columns"],
    score: Float[Array, "rows columns"],
    patch_size: int,
    stride: int,
) -> tuple[Int[Array, "rows columns"], Float[Array, "rows columns"]]:
    """Returns the better of each match and what continues the matches of its neighbors.

    What is next to the match of a neighbor on the same side (PatchMatch, Barnes et al. 2009),
    is offered by all four at once. No score becomes lower.

    Args:
      features: feature map of the picture.
      style: from `collect`, compared by the cosine alone.
      position: of the match of every patch of the grid.
      score: of the match, times the norm of the patch.
      patch_size: side of a patch.
      stride: distance of neighboring patches.
    """
    rows, columns = (patches.positions(side, patch_size, stride) for side in features.shape[:2])
    down, right = np.diff(rows)[:, None] * style.sheet.shape[1], np.diff(columns)[None, :]
    own = position
    offers = jnp.stack(
        [
            own.at[1:].set(own[:-1] + down),
            own.at[:-1].set(own[1:] - down),
            own.at[:, 1:].set(own[:, :-1] + right),
            own.at[:, :-1].set(own[:, 1:] - right),
        ],
        axis=-1,
    ).reshape(-1, 4)
    last = style.scale.size - 1
    offers = jnp.where((offers >= 0) & (offers <= last), offers, own.reshape(-1, 1))
    corners = patches.corners(features.shape[:2], patch_size, stride).ravel()
    offer, offered = (
        values.reshape(own.shape)
        for values in best_candidate(features, style, corners, offers, patch_size)
    )
    better = offered > score
    return jnp.where(better, offer, own), jnp.where(better, offered, score)


def _best_members(
    projected: Float[Array, "m d"], cluster: Int[Array, "m probes"], index: Index
) -> tuple[Int[Array, "m n"], Float[Array, "m n"]]:
    """Returns the best members of each probed cluster: their positions and rough scores.

    Patches of the same cluster are brought together in blocks, the last block of each
    cluster with idle rows, so that every block is one matrix product with one cluster.
    """
    shape, clusters = cluster.shape, len(index.centers)
    cluster = cluster.ravel()
    order, rank = _ordered(cluster, clusters)
    size = jnp.bincount(cluster, length=clusters)
    block_end = jnp.cumsum(-(-size // MEMBER_BLOCK))
    first_slot = (block_end + size // -MEMBER_BLOCK) * MEMBER_BLOCK
    slot = (first_slot[cluster[order]] + rank).astype(jnp.int32)
    blocks = cluster.size // MEMBER_BLOCK + clusters  # at most: one is not full in each cluster
    patch_of_slot = jnp.zeros(blocks * MEMBER_BLOCK, jnp.int32).at[slot].set(order // shape[1])
    cluster_of_block = jnp.searchsorted(block_end, jnp.arange(blocks), side="right")
    cluster_of_block = jnp.minimum(cluster_of_block, clusters - 1)

    def one_block(block: tuple[Array, Array]) -> tuple[Array, Array]:
        rows, which = block
        best, score = _best_of_groups(dot(projected[rows], index.vectors[which].T))
        return index.members[which][best], score

    rows = patch_of_slot.reshape(blocks, MEMBER_BLOCK)
    member, score = lax.map(one_block, (rows, cluster_of_block), batch_size=BLOCKS_AT_ONCE)
    place = jnp.zeros(cluster.size, jnp.int32).at[order].set(slot)
    return tuple(
        values.reshape(-1, GROUPS)[place].reshape(shape[0], -1) for values in (member, score)
    )


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
