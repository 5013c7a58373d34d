import jax.numpy as jnp
import numpy as np

from jaxmrf import color
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
