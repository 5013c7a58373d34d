"""Matches are the nearest patches: exactly, by clusters and by rounded scores.

Compiling takes nearly all the time of these tests, so they share sizes and with them programs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from jaxmrf.core.matching import (
    candidates,
    clusters,
    nearest,
    patches,
    rounded,
    style_patches,
    windows,
)


def relu_map(seed, height, width, channels=6):
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((height, width, channels))
    return jnp.asarray(np.maximum(values, 0), jnp.float32)


def natural_map(seed, height, width, channels=24):
    """A smooth map of few underlying directions, as features of pictures are."""
    generator = np.random.default_rng(seed)
    coarse = generator.standard_normal((height // 3 + 2, width // 3 + 2, 5))
    zoom = height / coarse.shape[0], width / coarse.shape[1], 1
    smooth = ndimage.zoom(coarse, zoom, order=1, mode="nearest", grid_mode=True)
    mixed = smooth @ np.random.default_rng(99).standard_normal((5, channels))
    noise = 0.1 * generator.standard_normal((height, width, channels))
    return jnp.asarray(np.maximum(mixed + noise, 0), jnp.float32)


def naive(features, maps, size, stride, style_stride):
    """Every pair, in float64, from the text of the paper."""

    def all_patches(feature_map, step):
        feature_map = np.asarray(feature_map)
        rows = patches.positions(feature_map.shape[0], size, step)
        columns = patches.positions(feature_map.shape[1], size, step)
        found = [feature_map[y : y + size, x : x + size].ravel() for y in rows for x in columns]
        return np.array(found, np.float64), (len(rows), len(columns))

    style = np.concatenate([all_patches(style_map, style_stride)[0] for style_map in maps])
    source, shape = all_patches(features, stride)
    scores = source @ style.T
    scores /= np.maximum(np.linalg.norm(source, axis=1)[:, None], 1e-12)
    scores /= np.maximum(np.linalg.norm(style, axis=1)[None, :], 1e-12)
    return scores.reshape(*shape, -1)


def constants():
    """What programs depend on and tests change."""
    return clusters.CLUSTER_SIZE, windows.CHUNK_BYTES


def collect(maps, size=3, stride=1, *, indexed=False, like=None):
    return _collected(maps, like, size, stride, indexed, constants())


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _collected(maps, like, size, stride, indexed, _):
    style = style_patches.collect(maps, size, stride)
    starts = style_patches.starts([found.shape[:2] for found in maps], size, stride)
    index = clusters.make_index(style, starts, size, like) if indexed else None
    return style._replace(index=index)


def nearest_of(features, style, size=3, stride=1, precision="float32"):
    return _matched(features, style, size, stride, precision, constants())


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _matched(features, style, size, stride, precision, _):
    return nearest.match(features, style, size, stride, precision=precision)


@functools.partial(jax.jit, static_argnums=(4, 5))
def propagated(features, style, position, score, size, stride):
    return clusters.propagated(features, style, position, score, size, stride)


@functools.partial(jax.jit, static_argnums=(3, 4))
def scores_of(features, style, position, size, stride):
    corners = patches.corners(features.shape[:2], size, stride).ravel()
    found = candidates.scores_of(features, style, corners, position.reshape(-1, 1), size)
    return found.reshape(position.shape)


MAPS = relu_map(1, 13, 10), relu_map(3, 18, 18)

GEOMETRIES = [(3, 12, 3, 1, 1), (11, 5, 3, 2, 1), (7, 9, 2, 3, 2), (8, 4, 1, 2, 3)]
"""Height and width of the picture's map, patch size, stride and that in the style: one row of
patches, patches at the border that are nearer, gaps between them, and patches of one pixel."""

geometries = st.sampled_from(GEOMETRIES)


@pytest.fixture
def small_clusters(monkeypatch):
    """An index with so many clusters that most are not looked at."""
    monkeypatch.setattr(clusters, "CLUSTER_SIZE", 32)


@given(
    st.sampled_from(
        [
            *((geometry, False) for geometry in GEOMETRIES),
            (GEOMETRIES[1], True),
            (GEOMETRIES[2], True),
        ]
    ),
    st.integers(0, 2**16),
)
def test_matches_are_the_nearest(case, seed):
    (height, width, size, stride, style_stride), indexed = case
    maps = (relu_map(seed + 1, 9, 7), relu_map(seed + 2, 6, 11))
    features = relu_map(seed, height, width)
    style = collect(maps, size, style_stride, indexed=indexed)
    match = nearest_of(features, style, size, stride)
    scores = naive(features, maps, size, stride, style_stride)
    assert match.score.shape == scores.shape[:2]
    columns = style.sheet.shape[1]
    starts = np.flatnonzero(np.asarray(style.scale) >= 0)
    assert len(starts) == scores.shape[-1]
    index = np.searchsorted(starts, np.asarray(match.position))
    np.testing.assert_array_equal(starts[index], match.position)
    assert columns == 11
    chosen = np.take_along_axis(scores, index[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(match.score, chosen, atol=1e-5)
    if not indexed:
        np.testing.assert_allclose(chosen, scores.max(axis=-1), atol=1e-5)


def test_clusters_keep_most_exact_matches_of_natural_features(small_clusters):
    exact = collect((natural_map(1, 40, 40),))
    features = natural_map(2, 30, 41)
    indexed = collect((natural_map(1, 40, 40),), indexed=True, like=features)
    assert len(indexed.index.centers) >= 4 * clusters.PROBES
    best, found = (nearest_of(features, style) for style in (exact, indexed))
    same = np.asarray(best.position) == np.asarray(found.position)
    assert same.mean() > 0.95
    assert (np.asarray(found.score) <= np.asarray(best.score) + 1e-6).all()
    assert np.asarray(found.score).mean() > 0.99 * np.asarray(best.score).mean()


def test_every_patch_is_in_a_cluster_and_clusters_are_of_equal_size(small_clusters):
    style = collect(MAPS, indexed=True)
    starts = np.flatnonzero(np.asarray(style.scale) >= 0)
    assert style.index.members.shape[1] <= 32
    np.testing.assert_array_equal(np.unique(style.index.members), starts)


@given(geometries, st.integers(0, 2**16))
def test_offers_of_neighbors_never_lower_a_score(geometry, seed):
    height, width, size, stride, style_stride = geometry
    maps = (relu_map(seed + 1, 9, 7), relu_map(seed + 2, 6, 11))
    features = relu_map(seed, height, width)
    style = collect(maps, size, style_stride)
    starts = np.flatnonzero(np.asarray(style.scale) >= 0)
    shape = tuple(len(patches.positions(side, size, stride)) for side in (height, width))
    position = np.random.default_rng(seed).choice(starts, shape).astype(np.int32)
    before = scores_of(features, style, position, size, stride)
    better, after = propagated(features, style, position, before, size, stride)
    assert np.isin(better, starts).all()
    assert (np.asarray(after) >= np.asarray(before)).all()
    np.testing.assert_allclose(after, scores_of(features, style, better, size, stride), rtol=1e-5)
    kept = np.asarray(after) == np.asarray(before)
    np.testing.assert_array_equal(np.asarray(better)[kept], position[kept])


def test_a_match_goes_on_to_the_neighbors_on_all_sides():
    features = relu_map(5, 7, 9)
    style = collect((features,))
    own = patches.corners((7, 9), 3, 1)
    position = np.zeros((5, 7), np.int32)
    position[2, 3] = own[2, 3]
    score = np.zeros((5, 7), np.float32)
    score[2, 3] = 1e6
    position, _ = propagated(features, style, position, score, 3, 1)
    reached = np.asarray(position) == own
    assert reached[[2, 1, 3, 2, 2], [3, 3, 3, 2, 4]].all()


def test_lanes_find_what_single_pictures_find(small_clusters):
    style = collect(MAPS, indexed=True)
    pictures = np.stack([relu_map(seed, 13, 10) for seed in (2, 3)])
    lanes = jax.jit(jax.vmap(lambda features: nearest.match(features, style, 3, 1)))(pictures)
    for lane, features in enumerate(pictures):
        alone = nearest_of(features, style)
        np.testing.assert_array_equal(np.asarray(lanes.position)[lane], alone.position)


@pytest.mark.parametrize("bound", [7, 2**15])
def test_numbers_are_ordered_and_ranked_among_equals(bound):
    values = np.random.default_rng(0).integers(0, 7, 2**17).astype(np.int32)
    order, rank = clusters._ordered(jnp.asarray(values), bound)
    expected = np.argsort(values, kind="stable")
    np.testing.assert_array_equal(order, expected)
    first = np.searchsorted(values[expected], values[expected])
    np.testing.assert_array_equal(rank, np.arange(len(values)) - first)


def test_every_group_of_columns_gives_its_best():
    scores = np.random.default_rng(0).standard_normal((5, 7 * clusters.GROUPS), np.float32)
    column, score = clusters._best_of_groups(jnp.asarray(scores))
    groups = scores.reshape(5, 7, clusters.GROUPS)
    best = groups.argmax(axis=1) * clusters.GROUPS + np.arange(clusters.GROUPS)
    np.testing.assert_array_equal(column, best)
    np.testing.assert_allclose(score, groups.max(axis=1), rtol=1e-5)


def test_agreement_is_the_share_of_nearest_patches():
    features, style = relu_map(2, 13, 10), collect(MAPS)
    scores = naive(features, MAPS, 3, 1, 1).reshape(11 * 8, -1)
    generator, starts = np.random.default_rng(0), np.flatnonzero(np.asarray(style.scale) >= 0)
    best = scores.argmax(axis=1)
    found = np.where(generator.random(88) < 0.6, best, generator.integers(0, len(starts), 88))
    agreement = jax.jit(lambda match: nearest.agreement(features, style, match, 3, 1, 10**6))
    for index in (best, found):
        chosen = scores[np.arange(88), index]
        match = style_patches.Match(jnp.asarray(starts[index].reshape(11, 8)), jnp.asarray(chosen))
        share = np.mean(chosen >= scores[np.arange(88), best] * (1 - 1e-5))
        np.testing.assert_allclose(agreement(match), share, atol=0.01)
    assert 0.5 < share < 0.7


@pytest.mark.parametrize("indexed", [False, True])
def test_matches_do_not_depend_on_the_chunk_size(indexed, small_clusters, monkeypatch):
    style = collect(MAPS, indexed=indexed)
    features = relu_map(2, 13, 10)
    dense = nearest_of(features, style)
    for chunk in (1, 9_000, 77_777):
        monkeypatch.setattr(windows, "CHUNK_BYTES", chunk)
        chunked = nearest_of(features, style)
        np.testing.assert_array_equal(chunked.position, dense.position)


@pytest.mark.parametrize("indexed", [False, True])
def test_a_style_matched_with_itself_finds_itself(indexed, small_clusters):
    match = nearest_of(MAPS[0], collect(MAPS, indexed=indexed))
    rows, columns = np.divmod(np.asarray(match.position), 18)
    np.testing.assert_array_equal(rows, np.arange(11)[:, None] + np.zeros((1, 8)))
    np.testing.assert_array_equal(columns, np.zeros((11, 1)) + np.arange(8))
    np.testing.assert_allclose(match.score, 1.0, atol=1e-5)


@pytest.mark.parametrize("indexed", [False, True])
def test_black_patches_do_no_harm(indexed, small_clusters):
    features, *maps = (jnp.asarray(np.zeros_like(values)) for values in (MAPS[0], *MAPS))
    match = nearest_of(features, collect(tuple(maps), indexed=indexed))
    assert np.isfinite(match.score).all()
    assert (np.asarray(match.score) == 0).all()
    assert indexed or (np.asarray(match.position) == 0).all()


def test_matches_ignore_the_length_of_patches():
    style, louder = collect((relu_map(1, 9, 9),)), collect((relu_map(1, 9, 9) * 7.0,))
    features = relu_map(2, 9, 9)
    a = nearest_of(features, style).position
    b = nearest_of(features * 3.0, louder).position
    np.testing.assert_array_equal(a, b)


@given(
    case=st.sampled_from(
        [
            (GEOMETRIES[0], "tf32", 1),
            (GEOMETRIES[1], "bfloat16", windows.CHUNK_BYTES),
            (GEOMETRIES[2], "tf32", 9_000),
        ]
    ),
    kind=st.sampled_from(["rectified", "ties", "of both signs"]),
    seed=st.integers(0, 2**16),
)
def test_rounded_scores_lead_to_the_matches_of_float32(case, kind, seed):
    (height, width, size, stride, style_stride), precision, chunk = case
    maps = (relu_map(seed + 1, 9, 7), relu_map(seed + 2, 6, 11))
    features = relu_map(seed, height, width)
    changed = {
        "rectified": lambda values: values,
        "ties": lambda values: np.minimum(np.round(values), 1),  # exact in every precision
        "of both signs": lambda values: values - np.float32(0.5),
    }[kind]
    features, *maps = (jnp.asarray(changed(np.asarray(values))) for values in (features, *maps))
    style = collect(tuple(maps), size, style_stride)
    exact = nearest_of(features, style, size, stride)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "CHUNK_BYTES", chunk)
        match = nearest_of(features, style, size, stride, precision)
    np.testing.assert_allclose(match.score, exact.score, rtol=1e-6)
    unlike = np.asarray(match.position) != np.asarray(exact.position)
    best = np.sort(naive(features, maps, size, stride, style_stride), axis=-1)[..., -2:]
    assert (
        best[unlike][:, 1] - best[unlike][:, 0] < 1e-6
    ).all()  # float32 does not tell them apart


@pytest.mark.parametrize("precision", list(rounded.PRECISIONS))
@pytest.mark.parametrize("share", [0.02, 1.0])
def test_what_rounding_cannot_tell_apart_is_compared_with_all(precision, share):
    """The last of many nearly equal style patches is the nearest, and rounded they are equal."""
    pattern = np.asarray(relu_map(0, 3, 3))
    tilt = np.asarray(relu_map(1, 3, 3))
    tiles = [pattern + 1e-4 * (20 - step) * tilt for step in range(21)]
    style = collect((jnp.asarray(np.concatenate(tiles, axis=1)),), stride=3)
    count = 60
    alike = np.arange(count) < share * count
    pictures = [pattern if same else relu_map(2 + i, 3, 3) for i, same in enumerate(alike)]
    features = jnp.asarray(np.concatenate(pictures, axis=1))
    exact = nearest_of(features, style, stride=3)
    match = nearest_of(features, style, stride=3, precision=precision)
    assert (np.asarray(exact.position)[0, alike] == 60).all()
    np.testing.assert_array_equal(match.position, exact.position)
    np.testing.assert_allclose(match.score, exact.score, rtol=1e-6)


@pytest.mark.parametrize("name", list(rounded.PRECISIONS))
def test_the_error_of_rounded_scores_is_bounded_and_reached(name):
    precision = rounded.PRECISIONS[name]
    middle = np.float32(1 + 2.0**-precision.bits)  # of two numbers: rounded to the even one
    generator = np.random.default_rng(0)
    for values in (np.full(64, middle), generator.random(64, np.float32)):
        exact = np.square(values.astype(np.float64)).sum()
        rough = precision.rounded(jnp.asarray(values[None]))
        product = float(precision.product(rough, rough.T)[0, 0])
        error = rounded.relative_error(precision.bits, 64, 1)
        assert exact <= product * (1 + error)
    assert error < 2.1 * 2.0**-precision.bits + 64 * rounded.ADDING


@pytest.mark.parametrize("precision", list(rounded.PRECISIONS))
def test_rounded_scores_lower_for_cuda_and_tpu(precision):
    features = jnp.ones((12, 10, 16))
    style = collect((features,))

    @jax.jit
    def match(features, style):
        return nearest.match(features, style, 3, 1, precision=precision)

    module = jax.export.export(match, platforms=["cuda"])(features, style).mlir_module()
    assert ("bf16" if precision == "bfloat16" else "tf32") in module
    jax.export.export(match, platforms=["tpu"])(features, style)
