import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmrf.core.matching import patches

reassemble = jax.jit(patches.reassemble, static_argnums=(2, 3, 4))
geometry = st.tuples(st.integers(1, 5), st.integers(1, 4)).flatmap(
    lambda size_stride: st.tuples(
        st.integers(size_stride[0], 23), st.just(size_stride[0]), st.just(size_stride[1])
    )
)


@given(geometry)
def test_positions_start_at_zero_and_end_at_the_border(case):
    length, size, stride = case
    starts = patches.positions(length, size, stride)
    assert starts[0] == 0
    assert starts[-1] == length - size
    assert (np.diff(starts[:-1]) == stride).all()
    assert (np.diff(starts) > 0).all()


def test_positions_have_the_authors_tail_patch():
    assert patches.positions(8, 3, 2).tolist() == [0, 2, 4, 5]
    assert patches.positions(7, 3, 2).tolist() == [0, 2, 4]


def test_a_patch_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="does not fit"):
        patches.positions(2, 3, 1)


@given(geometry, geometry)
def test_overlap_counts_equal_a_count_one_by_one(vertical, horizontal):
    height, size, stride = vertical
    width = max(horizontal[0], size)
    naive = np.zeros((height, width))
    for y in patches.positions(height, size, stride):
        for x in patches.positions(width, size, stride):
            naive[y : y + size, x : x + size] += 1
    np.testing.assert_array_equal(patches.overlap_counts(height, width, size, stride), naive)


# Few sizes, since each compiles: patches that overlap, that do not reach the border, and gaps.
@given(
    st.sampled_from([(9, 12, 3, 1), (11, 8, 3, 2), (5, 9, 5, 3), (7, 10, 2, 4)]),
    st.integers(0, 2**16),
)
def test_reassemble_equals_the_loop_over_patches(case, seed):
    height, width, size, stride = case
    generator = np.random.default_rng(seed)
    style = generator.random((size + 4, size + 6, 3)).astype(np.float32)
    rows = patches.positions(height, size, stride)
    columns = patches.positions(width, size, stride)
    y_match = generator.integers(0, 5, (len(rows), len(columns)))
    x_match = generator.integers(0, 7, (len(rows), len(columns)))

    total = np.zeros((height, width, 3))
    count = np.zeros((height, width, 1))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            v, u = y_match[i, j], x_match[i, j]
            total[y : y + size, x : x + size] += style[v : v + size, u : u + size]
            count[y : y + size, x : x + size] += 1

    matches = jnp.asarray(y_match * style.shape[1] + x_match)
    blended = reassemble(jnp.asarray(style), matches, (height, width), size, stride)
    np.testing.assert_allclose(blended, total / np.maximum(count, 1), atol=1e-6)
