"""Soft edges: neither hidden colors nor white paper get into the colors that are seen."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxmrf.files import image, transparency
from jaxmrf.files.image import Picture
from jaxmrf.jobs import inputs, options, paint
from jaxmrf.networks.weights import Loaded

CASES = Path(__file__).parent / "cases"
SIZES = [(40, 56), (20, 28), (67, 94), (40, 57)]


def disc(height=40, width=56):
    """Returns the opacity of a disc with a soft edge, in 0 to 1."""
    y, x = np.mgrid[:height, :width]
    away = np.hypot(y - height / 2, x - width / 2)
    return np.clip((0.4 * height - away) / 8, 0, 1).astype(np.float32)


def cutout(color, hidden):
    """Returns a disc of a color; the color under what cannot be seen is another one."""
    alpha = disc()
    pixels = np.broadcast_to(np.float32(color), (*alpha.shape, 3))
    return Picture(np.where(alpha[..., None] > 0, pixels, np.float32(hidden)), alpha)


@pytest.mark.parametrize("shape", SIZES)
def test_a_color_is_the_same_everywhere_at_every_size(shape):
    resized = transparency.at_size(cutout((0.6, 0.1, 0.3), hidden=1.0), shape)
    assert resized.pixels.shape == (*shape, 3)
    assert resized.pixels.dtype == np.float32
    np.testing.assert_allclose(
        resized.pixels, np.broadcast_to([0.6, 0.1, 0.3], (*shape, 3)), atol=1e-3
    )
    assert resized.alpha.shape == shape
    assert 0 <= resized.alpha.min() < 0.01
    assert 0.99 < resized.alpha.max() <= 1


@pytest.mark.parametrize("shape", SIZES)
def test_hidden_colors_change_nothing(shape):
    generator = np.random.default_rng(0)
    pictures = []
    for hidden in (0.0, 1.0, generator.random((40, 56, 3))):
        alpha = disc()
        seen = np.random.default_rng(1).random((40, 56, 3), np.float32)
        mixed = np.where(alpha[..., None] > 0, seen, hidden).astype(np.float32)
        pictures.append(transparency.at_size(Picture(mixed, alpha), shape).pixels)
    np.testing.assert_array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])


def test_what_is_transparent_goes_on_from_what_is_near():
    pixels, alpha = np.ones((32, 64, 3), np.float32), np.zeros((32, 64), np.float32)
    pixels[:, :8], alpha[:, :8] = (1, 0, 0), 1
    pixels[:, 56:], alpha[:, 56:] = (0, 0, 1), 1
    painted = transparency.at_size(Picture(pixels, alpha), (32, 64)).pixels
    np.testing.assert_allclose(painted[:, :12], np.broadcast_to([1, 0, 0], (32, 12, 3)), atol=0.1)
    np.testing.assert_allclose(painted[:, 52:], np.broadcast_to([0, 0, 1], (32, 12, 3)), atol=0.1)
    assert painted[..., 1].max() < 0.01


def test_a_picture_that_shows_nothing_and_one_that_hides_nothing():
    pixels = np.random.default_rng(0).random((5, 7, 3), np.float32)
    nothing = transparency.at_size(Picture(pixels, np.zeros((5, 7), np.float32)), (9, 4))
    assert np.isfinite(nothing.pixels).all()
    whole = Picture(pixels)
    assert transparency.at_size(whole, (9, 4)) is whole
    opaque = transparency.at_size(Picture(pixels, np.ones((5, 7), np.float32)), (5, 7))
    np.testing.assert_array_equal(opaque.pixels, pixels)


@pytest.mark.parametrize("size", [64, 128, 200])
def test_the_soft_shadow_stays_black(size):
    shape = (size * 3 // 4, size)
    resized = transparency.at_size(image.load(CASES / "shadow.png"), shape)
    soft = (resized.alpha > 0.01) & (resized.alpha < 0.75)
    assert resized.pixels[..., 1:].max() < 0.2
    assert np.median(resized.pixels[soft]) < 0.01


def test_what_was_read_is_written_again(tmp_path):
    picture = image.load(CASES / "cutout.png")
    image.save(tmp_path / "a.png", picture, {})
    again = image.load(tmp_path / "a.png")
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    np.testing.assert_array_equal(again.alpha, picture.alpha)


def test_other_pictures_are_on_white(tmp_path):
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[..., 3] = 51
    Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_allclose(image.load(tmp_path / "a.png").on_white(), 0.8, atol=1e-6)
    assert image.shown(tmp_path / "a.png").getpixel((0, 0)) == (204, 204, 204)


def test_no_white_is_at_the_edges_of_a_painted_cutout(tmp_path, monkeypatch, toy):
    picture = cutout((0.5, 0.3, 0.2), hidden=1.0)
    rgba = np.concatenate([picture.pixels, picture.alpha[..., None]], axis=-1)
    Image.fromarray(np.rint(rgba * 255).astype(np.uint8)).save(tmp_path / "content.png")
    style = np.random.default_rng(0).integers(50, 120, (48, 48, 3), np.uint8)
    Image.fromarray(style).save(tmp_path / "style.png")
    named = {name: str(tmp_path / f"{name}.png") for name in ("content", "style", "output")}
    job = options.job(
        {**named, "size": 40, "levels": 1, "iterations": 2, "optimizer": "adam", "layers": "deep",
         "content_layer": "deep", "color": "none", "final_color": 0}
    )  # fmt: skip
    pictures = inputs.load(job)
    assert pictures.pixels.shape[:2] == pictures.content.alpha.shape == inputs.shape_of(job)
    monkeypatch.setattr(paint, "record_of", lambda *_: {})  # it tells of VGG networks
    paint.run(job, Loaded(toy))
    with Image.open(tmp_path / "output.png") as file:
        values = np.asarray(file) / 255
    edge = (values[..., 3] > 0.02) & (values[..., 3] < 0.98)
    assert edge.sum() > 50
    assert values[..., :3][edge].max() < 0.65
    np.testing.assert_allclose(values[..., 3], pictures.content.alpha, atol=1 / 255)
