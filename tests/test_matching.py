import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmrf import matching, patches


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


@settings(max_examples=8)  # every example compiles
@given(
    st.integers(3, 12),
    st.integers(3, 12),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from(["exact", "fast"]),
    st.integers(0, 2**16),
)
def test_matches_are_the_nearest(height, width, size, stride, style_stride, method, seed):
    maps = (relu_map(seed + 1, 9, 7), relu_map(seed + 2, 6, 11))
    features = relu_map(seed, height, width)
    style = matching.collect(maps, size, style_stride)
    match = matching.nearest(features, style, stride, method)
    scores = naive(features, maps, size, stride, style_stride)
    chosen = np.take_along_axis(scores, np.asarray(match.index)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(match.score, chosen, atol=1e-5)
    if method == "exact" or scores.shape[-1] <= matching.CANDIDATES:
        np.testing.assert_allclose(chosen, scores.max(axis=-1), atol=1e-5)


def test_fast_keeps_the_exact_matches_of_natural_features():
    style = matching.collect((natural_map(1, 40, 40),), 3, 1)
    features = natural_map(2, 30, 41)
    exact = matching.nearest(features, style, 1, "exact")
    fast = matching.nearest(features, style, 1, "fast")
    assert np.mean(np.asarray(exact.index) == np.asarray(fast.index)) > 0.97
    assert (np.asarray(fast.score) <= np.asarray(exact.score) + 1e-6).all()


@pytest.mark.parametrize("method", ["exact", "fast"])
def test_matches_do_not_depend_on_the_chunk_size(method, monkeypatch):
    style = matching.collect((relu_map(1, 13, 10), relu_map(3, 8, 8)), 3, 1)
    features = relu_map(2, 11, 14)
    dense = matching.nearest(features, style, 1, method)
    for chunk, block in ((20_000, 10**9), (77_777, 3000)):
        monkeypatch.setattr(matching, "CHUNK_BYTES", chunk)
        monkeypatch.setattr(matching, "BLOCK_BYTES", block)
        chunked = matching.nearest(features, style, 1, method)
        np.testing.assert_array_equal(chunked.index, dense.index)


@pytest.mark.parametrize("method", ["exact", "fast"])
def test_a_style_matched_with_itself_finds_itself(method):
    features = relu_map(5, 10, 12)
    style = matching.collect((features,), 3, 1)
    match = matching.nearest(features, style, 1, method)
    np.testing.assert_array_equal(np.asarray(match.index).ravel(), np.arange(8 * 10))
    np.testing.assert_allclose(match.score, 1.0, atol=1e-5)


@pytest.mark.parametrize("method", ["exact", "fast"])
def test_black_patches_do_no_harm(method):
    features = jnp.zeros((6, 6, 4))
    style = matching.collect((jnp.zeros((5, 5, 4)),), 3, 2)
    match = matching.nearest(features, style, 2, method)
    assert np.isfinite(match.score).all()
    assert (np.asarray(match.index) == 0).all()


def test_matches_ignore_the_length_of_patches():
    style = matching.collect((relu_map(1, 9, 9),), 3, 1)
    louder = matching.collect((relu_map(1, 9, 9) * 7.0,), 3, 1)
    features = relu_map(2, 9, 9)
    a = matching.nearest(features, style, 1, "exact").index
    b = matching.nearest(features * 3.0, louder, 1, "exact").index
    np.testing.assert_array_equal(a, b)
