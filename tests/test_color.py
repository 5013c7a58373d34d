import jax.numpy as jnp
import numpy as np

from jaxmrf.core import color
from tests.conftest import picture


def statistics(image):
    flat = np.asarray(image).reshape(-1, 3)
    return flat.mean(axis=0), np.cov(flat.T)


def test_match_takes_mean_and_covariance_of_the_reference():
    image = 0.4 + 0.1 * picture(1, 30, 40)
    reference = 0.5 + 0.15 * (picture(2, 25, 25) - 0.5)
    matched = color.match_distribution(image, [reference])
    for got, expected in zip(statistics(matched), statistics(reference), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-3)


def test_match_with_itself_changes_nothing():
    image = picture(1, 30, 40)
    np.testing.assert_allclose(color.match_distribution(image, [image]), image, atol=1e-3)


def test_match_survives_grey_and_constant_pictures():
    grey = jnp.repeat(picture(1, 20, 20)[..., :1], 3, axis=-1)
    for image, reference in ((grey, picture(2, 20, 20)), (picture(2, 20, 20), grey)):
        assert np.isfinite(color.match_distribution(image, [reference])).all()
    constant = color.match_distribution(jnp.full((8, 8, 3), 0.5), [picture(2, 20, 20)])
    assert np.ptp(np.asarray(constant), axis=(0, 1)).max() < 1e-6


def test_chrominance_comes_from_one_and_luminance_from_the_other():
    painted = 0.4 + 0.1 * picture(1, 20, 20)
    colored = 0.4 + 0.1 * picture(2, 20, 20)
    joined = color.with_chrominance_of(painted, colored)
    yiq = np.asarray(joined) @ color.RGB_TO_YIQ.T
    np.testing.assert_allclose(yiq[..., 0], np.asarray(painted) @ color.RGB_TO_YIQ[0], atol=1e-4)
    expected = np.asarray(colored) @ color.RGB_TO_YIQ[1:].T
    np.testing.assert_allclose(yiq[..., 1:], expected, atol=1e-4)


def test_a_finished_picture_has_the_palette_of_the_paintings_as_far_as_asked_for():
    image, painting = picture(1, 24, 32) * 0.3 + 0.3, picture(2, 30, 20)
    colors = color.finish(image, (painting,))
    for strength in (0.0, 0.5, 1.0):
        found = color.finished(image, colors, strength)
        expected = image + strength * (color.with_palette(image, colors.palette) - image)
        np.testing.assert_allclose(found, jnp.clip(expected, 0, 1), atol=1e-6)
    np.testing.assert_allclose(
        color.with_palette(image, colors.palette).mean(axis=(0, 1)),
        painting.mean(axis=(0, 1)),
        atol=1e-4,
    )


def test_the_distribution_is_that_of_a_part_if_asked_for():
    image, painting = picture(1, 24, 32), picture(2, 30, 20)
    where = jnp.zeros((24, 32, 1), bool).at[:, :16].set(True)
    wanted = color.palette((painting,))
    whole = color.with_palette(image, wanted, where)[:, :16]
    np.testing.assert_allclose(whole, color.with_palette(image[:, :16], wanted), atol=1e-4)


def test_grey_pictures_stay_grey():
    grey = [jnp.repeat(picture(seed, 16, 20)[..., :1], 3, axis=-1) for seed in (1, 2)]
    tinted = picture(3, 16, 20)
    found = color.finished(tinted, color.finish(grey[0], (grey[1],)), 0.0)
    assert float(jnp.ptp(found, axis=-1).max()) == 0.0
    other = color.finished(tinted, color.finish(grey[0], (tinted,)), 0.0)
    np.testing.assert_array_equal(other, tinted)
