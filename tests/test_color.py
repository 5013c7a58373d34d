import jax
import jax.numpy as jnp
import numpy as np

from jaxmrf.core import color
from tests.common import picture

match_distribution = jax.jit(color.match_distribution)
with_palette = jax.jit(color.with_palette)
finish = jax.jit(color.finish)
finished = jax.jit(color.finished)


def statistics(image):
    flat = np.asarray(image).reshape(-1, 3)
    return flat.mean(axis=0), np.cov(flat.T)


def test_match_takes_mean_and_covariance_of_the_reference():
    image = 0.4 + 0.1 * np.asarray(picture(1, 24, 32))
    reference = 0.5 + 0.15 * (np.asarray(picture(2, 30, 20)) - 0.5)
    matched = match_distribution(image, [reference])
    for got, expected in zip(statistics(matched), statistics(reference), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-3)


def test_match_with_itself_changes_nothing():
    image = picture(1, 24, 32)
    np.testing.assert_allclose(match_distribution(image, [image]), image, atol=1e-3)


def grey(seed):
    return jnp.asarray(np.repeat(np.asarray(picture(seed, 24, 32))[..., :1], 3, axis=-1))


def test_match_survives_grey_and_constant_pictures():
    colored = picture(2, 24, 32)
    for image, reference in ((grey(1), colored), (colored, grey(1))):
        assert np.isfinite(match_distribution(image, [reference])).all()
    constant = match_distribution(np.full((24, 32, 3), 0.5, np.float32), [colored])
    assert np.ptp(np.asarray(constant), axis=(0, 1)).max() < 1e-6


def test_chrominance_comes_from_one_and_luminance_from_the_other():
    painted, colored = (0.4 + 0.1 * np.asarray(picture(seed, 20, 20)) for seed in (1, 2))
    joined = jax.jit(color.with_chrominance_of)(painted, colored)
    yiq = np.asarray(joined) @ color.RGB_TO_YIQ.T
    np.testing.assert_allclose(yiq[..., 0], np.asarray(painted) @ color.RGB_TO_YIQ[0], atol=1e-4)
    expected = np.asarray(colored) @ color.RGB_TO_YIQ[1:].T
    np.testing.assert_allclose(yiq[..., 1:], expected, atol=1e-4)


def test_a_finished_picture_has_the_palette_of_the_paintings_as_far_as_asked_for():
    image, painting = np.asarray(picture(1, 24, 32)) * 0.3 + 0.3, np.asarray(picture(2, 24, 32))
    colors = finish(image, (painting,))
    mapped = np.asarray(with_palette(image, colors.palette))
    for strength in (0.0, 0.5, 1.0):
        found = finished(image, colors, strength)
        expected = image + strength * (mapped - image)
        np.testing.assert_allclose(found, np.clip(expected, 0, 1), atol=1e-6)
    np.testing.assert_allclose(mapped.mean(axis=(0, 1)), painting.mean(axis=(0, 1)), atol=1e-4)


def test_the_distribution_is_that_of_a_part_if_asked_for():
    image, painting = np.asarray(picture(1, 24, 32)), picture(2, 30, 20)
    where = np.zeros((24, 32, 1), bool)
    where[:, :16] = True
    wanted = jax.jit(color.palette)((painting,))
    whole = np.asarray(with_palette(image, wanted, where))[:, :16]
    np.testing.assert_allclose(whole, with_palette(image[:, :16], wanted), atol=1e-4)


def test_grey_pictures_stay_grey():
    tinted = picture(3, 24, 32)
    found = finished(tinted, finish(grey(1), (grey(2),)), 0.0)
    assert np.ptp(np.asarray(found), axis=-1).max() == 0.0
    other = finished(tinted, finish(grey(1), (tinted,)), 0.0)
    np.testing.assert_array_equal(other, tinted)
