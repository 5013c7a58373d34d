import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    smooth = jax.image.resize(jnp.asarray(coarse), (height, width, 5), "linear")
    mixed = np.asarray(smooth) @ np.random.default_rng(99).standard_normal((5, channels))
    noise = 0.1 * generator.standard_normal((height, width, channels))
    return jnp.asarray(np.maximum(mixed + noise, 0), jnp.float32)


def naive(features, maps, size, stride, style_stride):
    """Every pair, in float64, from the text of the paper."""

    def all_patches(feature_map, step):
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


def collect(maps, size=3, stride=1, *, indexed=False, like=None):
    """Compiled as a whole, and anew each time, since tests change the constants."""

    @jax.jit
    def collected(maps):
        style = style_patches.collect(maps, size, stride)
        starts = style_patches.starts([found.shape[:2] for found in maps], size, stride)
        index = clusters.make_index(style, starts, size, like) if indexed else None
        return style._replace(index=index)

    return collected(maps)


def nearest_of(features, style, size=3, stride=1, precision="float32"):
    @jax.jit
    def matched(features, style):
        return nearest.match(features, style, size, stride, precision=precision)

    return matched(features, style)


@pytest.fixture
def small_clusters(monkeypatch):
    """An index with so many clusters that most are not looked at."""
    monkeypatch.setattr(clusters, "CLUSTER_SIZE", 32)


@settings(max_examples=8)  # every example compiles
@given(
    st.integers(3, 12),
    st.integers(3, 12),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_matches_are_the_nearest(height, width, size, stride, style_stride, indexed, seed):
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
    style = collect((relu_map(1, 13, 10), relu_map(3, 18, 18)), indexed=True)
    starts = np.flatnonzero(np.asarray(style.scale) >= 0)
    assert style.index.members.shape[1] <= 32
    np.testing.assert_array_equal(np.unique(style.index.members), starts)


@settings(max_examples=8)  # every example compiles
@given(
    st.integers(3, 9),
    st.integers(3, 9),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 2**16),
)
def test_offers_of_neighbors_never_lower_a_score(height, width, size, stride, style_stride, seed):
    maps = (relu_map(seed + 1, 9, 7), relu_map(seed + 2, 6, 11))
    features = relu_map(seed, height, width)
    style = collect(maps, size, style_stride)
    starts = np.flatnonzero(np.asarray(style.scale) >= 0)
    corners = patches.corners(features.shape[:2], size, stride).ravel()
    shape = naive(features, maps, size, stride, style_stride).shape[:2]
    position = np.random.default_rng(seed).choice(starts, shape).astype(np.int32)

    @jax.jit
    def scores_of(position):
        found = candidates.scores_of(features, style, corners, position.reshape(-1, 1), size)
        return found.reshape(shape)

    before = scores_of(position)
    better, after = jax.jit(
        lambda *match: clusters.propagated(features, style, *match, size, stride)
    )(position, before)
    assert np.isin(better, starts).all()
    assert (np.asarray(after) >= np.asarray(before)).all()
    np.testing.assert_allclose(after, scores_of(better), rtol=1e-5)
    kept = np.asarray(after) == np.asarray(before)
    np.testing.assert_array_equal(np.asarray(better)[kept], position[kept])


def test_a_match_goes_on_to_the_neighbors_on_all_sides():
    features = relu_map(5, 7, 9)
    style = collect((features,))
    own = patches.corners((7, 9), 3, 1)
    position = np.zeros((5, 7), np.int32)
    position[2, 3] = own[2, 3]
    position, score = jnp.asarray(position), jnp.zeros((5, 7)).at[2, 3].set(1e6)
    position, _ = jax.jit(lambda *match: clusters.propagated(features, style, *match, 3, 1))(
        position, score
    )
    reached = np.asarray(position) == own
    assert reached[[2, 1, 3, 2, 2], [3, 3, 3, 2, 4]].all()


def test_lanes_find_what_single_pictures_find(small_clusters):
    style = collect((relu_map(1, 13, 10),), indexed=True)
    pictures = jnp.stack([relu_map(seed, 8, 9) for seed in (2, 3)])
    lanes = jax.jit(jax.vmap(lambda features: nearest.match(features, style, 3, 1)))(pictures)
    for lane, features in enumerate(pictures):
        np.testing.assert_array_equal(lanes.position[lane], nearest_of(features, style).position)


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


def test_agreement_is_the_share_of_nearest_patches(small_clusters, monkeypatch):
    monkeypatch.setattr(clusters, "PROBES", 2)
    exact = collect((natural_map(1, 30, 30),))
    indexed = collect((natural_map(1, 30, 30),), indexed=True)
    features = natural_map(2, 12, 15)
    best, found = (nearest_of(features, style) for style in (exact, indexed))
    share = np.mean(np.asarray(found.score) >= np.asarray(best.score) * (1 - 1e-5))
    assert 0.2 < share < 1
    agreement = jax.jit(lambda match: nearest.agreement(features, exact, match, 3, 1, 10**6))
    assert agreement(best) == 1
    np.testing.assert_allclose(agreement(found), share, atol=0.01)


@pytest.mark.parametrize("indexed", [False, True])
def test_matches_do_not_depend_on_the_chunk_size(indexed, small_clusters, monkeypatch):
    style = collect((relu_map(1, 13, 10), relu_map(3, 8, 8)), indexed=indexed)
    features = relu_map(2, 11, 14)
    dense = nearest_of(features, style)
    for chunk in (1, 9_000, 77_777):
        monkeypatch.setattr(windows, "CHUNK_BYTES", chunk)
        chunked = nearest_of(features, style)
        np.testing.assert_array_equal(chunked.position, dense.position)


@pytest.mark.parametrize("indexed", [False, True])
def test_a_style_matched_with_itself_finds_itself(indexed):
    features = relu_map(5, 10, 12)
    match = nearest_of(features, collect((features,), indexed=indexed))
    rows, columns = np.divmod(np.asarray(match.position), 12)
    np.testing.assert_array_equal(rows, np.arange(8)[:, None] + np.zeros((1, 10)))
    np.testing.assert_array_equal(columns, np.zeros((8, 1)) + np.arange(10))
    np.testing.assert_allclose(match.score, 1.0, atol=1e-5)


@pytest.mark.parametrize("indexed", [False, True])
def test_black_patches_do_no_harm(indexed):
    features = jnp.zeros((6, 6, 4))
    match = nearest_of(features, collect((jnp.zeros((5, 5, 4)),), 3, 2, indexed=indexed), 3, 2)
    assert np.isfinite(match.score).all()
    assert (np.asarray(match.score) == 0).all()
    assert indexed or (np.asarray(match.position) == 0).all()


def test_matches_ignore_the_length_of_patches():
    style, louder = collect((relu_map(1, 9, 9),)), collect((relu_map(1, 9, 9) * 7.0,))
    features = relu_map(2, 9, 9)
    a = nearest_of(features, style).position
    b = nearest_of(features * 3.0, louder).position
    np.testing.assert_array_equal(a, b)


@settings(max_examples=8)  # every example compiles
@given(
    precision=st.sampled_from(list(rounded.PRECISIONS)),
    height=st.integers(3, 9),
    width=st.integers(3, 9),
    size=st.integers(1, 3),
    stride=st.integers(1, 3),
    style_stride=st.integers(1, 2),
    ties=st.booleans(),
    chunk=st.sampled_from([windows.CHUNK_BYTES, 9_000, 1]),
    seed=st.integers(0, 2**16),
)
def test_rounded_scores_lead_to_the_matches_of_float32(
    precision, height, width, size, stride, style_stride, ties, chunk, seed
):
    maps = (relu_map(seed + 1, 9, 7), relu_map(seed + 2, 6, 11))
    features = relu_map(seed, height, width)
    if ties:  # of small numbers: they are exact in every precision
        features, *maps = (jnp.minimum(jnp.round(values), 1) for values in (features, *maps))
    style = collect(tuple(maps), size, style_stride)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "CHUNK_BYTES", chunk)
        exact = nearest_of(features, style, size, stride)
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


@pytest.mark.parametrize("precision", list(rounded.PRECISIONS))
def test_features_of_both_signs_have_the_matches_of_float32(precision):
    generator = np.random.default_rng(0)
    features, sheet = (generator.standard_normal((9, 9, 6)).astype(np.float32) for _ in range(2))
    style = collect((jnp.asarray(sheet),))
    exact, match = (nearest_of(features, style, precision=name) for name in ("float32", precision))
    np.testing.assert_array_equal(match.position, exact.position)


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
