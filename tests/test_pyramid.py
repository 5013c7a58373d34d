import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmrf.core import pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.settings import CopySettings
from tests.common import picture

rotate = jax.jit(pyramid.rotate, static_argnums=1)


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 2048))
def test_fit_gives_the_longest_side_and_keeps_the_proportions(height, width, longest):
    new_height, new_width = pyramid.fit(height, width, longest)
    assert max(new_height, new_width) == longest
    assert abs(new_height - height * longest / max(height, width)) <= 1
    assert abs(new_width - width * longest / max(height, width)) <= 1


def test_levels_halve_from_the_finest_and_round_up():
    shapes = pyramid.level_shapes((384, 298), 3)
    assert shapes == [(96, 75), (192, 149), (384, 298)]


@pytest.mark.parametrize(
    ("longest", "levels"), [(63, 1), (64, 1), (127, 1), (128, 2), (384, 3), (512, 4)]
)
def test_levels_go_down_to_the_coarsest_size(longest, levels):
    assert pyramid.level_count((longest, 40), Config()) == levels


def test_resize_keeps_a_constant_and_the_mean():
    constant = jnp.asarray(np.full((9, 7, 3), 0.25, np.float32))
    assert np.allclose(pyramid.resize(constant, (20, 5)), 0.25, atol=1e-6)
    image = picture(0, 40, 60)
    half = pyramid.resize(image, (20, 30))
    np.testing.assert_allclose(np.mean(half), np.mean(image), atol=5e-3)


@pytest.mark.parametrize("degrees", [-15.0, 7.5, 30.0, 45.0])
@pytest.mark.parametrize("shape", [(40, 60), (60, 20), (33, 33)])
def test_rotation_has_no_empty_corners(degrees, shape):
    """Rotating x and y coordinates: every pixel of the result lies inside the picture."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    turned = np.asarray(rotate(jnp.asarray(np.stack([y, x, 0 * x], axis=-1)), degrees))
    # Outside, "nearest" would repeat the border and break the constant gradient.
    slope = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    np.testing.assert_allclose(np.diff(turned[..., 0], axis=0), slope[0], atol=1e-3)
    np.testing.assert_allclose(np.diff(turned[..., 0], axis=1), slope[1], atol=1e-3)
    assert turned.shape[0] * turned.shape[1] > 0.1 * shape[0] * shape[1]


def test_rotation_by_the_opposite_angle_gives_the_middle_back():
    image = pyramid.resize(picture(3, 12, 12), (64, 64))
    there_and_back = np.asarray(rotate(rotate(image, 10.0), -10.0))
    height, width = there_and_back.shape[:2]
    top, left = (64 - height) // 2, (64 - width) // 2
    middle = np.asarray(image)[top : top + height, left : left + width]
    assert np.abs(there_and_back - middle).mean() < 0.02


def test_style_copies_are_all_rotations_times_all_scales():
    image = picture(0, 40, 60)
    copies = pyramid.copies_of_all([image], settings=CopySettings(rotations=1, scales=1))
    assert len(copies) == 3 * 3
    assert any(copy.shape == image.shape and np.array_equal(copy, image) for copy in copies)
    widths = sorted({copy.shape[1] for copy in copies})
    assert widths[-1] == int(60 * 1.05)


@pytest.mark.parametrize("shape", [(64, 64), (50, 81), (81, 50), (7, 300), (3, 3), (1, 1)])
@pytest.mark.parametrize("steps", [(0, 0), (1, 2), (3, 0), (0, 5)])
def test_shapes_of_copies_are_those_of_the_copies(shape, steps):
    """Turned by up to 45 degrees, where the box is another one, and scaled to a third and to 3."""
    settings = CopySettings(
        rotations=steps[0], rotation_step=15.0, scales=steps[1], scale_step=1.25
    )
    picture = jax.ShapeDtypeStruct((*shape, 3), "float32")
    copies = jax.eval_shape(lambda picture: pyramid.style_copies(picture, settings), picture)
    assert pyramid.copy_shapes(shape, settings) == [copy.shape[:2] for copy in copies]
