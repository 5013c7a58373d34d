"""Arrays, pictures of Pillow and files are the same pictures; what is none is named."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxmrf.errors import ConfigError, ImageError
from jaxmrf.files import image, pictures

CASES = Path(__file__).resolve().parent / "cases"
COLORS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
GREY = COLORS[..., 0]
OPACITY = np.random.default_rng(1).integers(1, 256, (5, 7, 1), np.uint8)
RGBA = np.concatenate([COLORS, OPACITY], axis=-1)


@pytest.mark.parametrize(
    "same",
    [
        COLORS,
        COLORS / np.float32(255),
        COLORS / 255,
        jnp.asarray(COLORS),
        jnp.asarray(COLORS) / 255,
        COLORS.astype(np.uint16) * 257,
        Image.fromarray(COLORS),
        image.Picture(COLORS / np.float32(255)),
    ],
    ids=lambda same: f"{type(same).__name__} {getattr(same, 'dtype', '')}",
)
def test_the_same_picture_is_read_from_all_that_hold_it(same, tmp_path):
    Image.fromarray(COLORS).save(tmp_path / "a.png")
    expected = image.load(tmp_path / "a.png")
    for source in (same, tmp_path / "a.png", str(tmp_path / "a.png")):
        found = pictures.read(source, "content")
        np.testing.assert_allclose(found.pixels, expected.pixels, atol=1e-6)
        assert found.pixels.dtype == np.float32
        assert found.alpha is None
        assert pictures.shape_of(source, "content") == (5, 7)


@pytest.mark.parametrize(
    "grey", [GREY, GREY[..., None], GREY / 255, jnp.asarray(GREY), Image.fromarray(GREY)]
)
def test_grey_pictures_have_three_equal_channels(grey):
    found = pictures.read(grey, "style").pixels
    np.testing.assert_allclose(found, np.repeat(GREY[..., None], 3, axis=-1) / 255, atol=1e-6)


@pytest.mark.parametrize("transparent", [RGBA, RGBA / 255, Image.fromarray(RGBA)])
def test_transparency_is_kept_apart(transparent):
    found = pictures.read(transparent, "content")
    np.testing.assert_allclose(found.pixels, COLORS / 255, atol=1e-6)
    np.testing.assert_allclose(found.alpha, OPACITY[..., 0] / 255, atol=1e-6)


@pytest.mark.parametrize("name", ["exif6.tif", "cutout.png", "pal_trns.png", "icc_gl_16.png"])
def test_pictures_of_pillow_are_read_as_their_files_are(name):
    with Image.open(CASES / name) as file:
        found = pictures.read(file, "content")
        assert pictures.title(file) == name
    expected = image.load(CASES / name)
    np.testing.assert_allclose(found.on_white(), expected.on_white(), atol=1 / 255)


def test_half_precision_booleans_and_the_overshoot_of_resampling_are_taken():
    half = pictures.read(jnp.asarray(COLORS / 255, jnp.bfloat16), "content").pixels
    np.testing.assert_allclose(half, COLORS / 255, atol=0.01)
    assert set(np.unique(pictures.read(GREY > 99, "the mask").pixels)) == {0, 1}
    beyond = pictures.read(np.linspace(-0.009, 1.009, 12).reshape(3, 4), "content").pixels
    assert (beyond.min(), beyond.max()) == (0, 1)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.ones((2, 4, 4, 3), np.float32), r"style has shape \(2, 4, 4, 3\); it must be \[height"),
        (np.ones((3, 8, 9), np.float32), r"style has shape \(3, 8, 9\)"),
        (np.ones(4), r"style has shape \(4,\)"),
        (np.ones((0, 4, 3)), "style has no pixels"),
        (np.zeros((4, 4, 3), int), "of type int64; they must be floats from 0 to 1, or uint8"),
        (np.full((4, 4, 3), 99.0), "values from 99 to 99; floats go from 0 to 1: divide by 255"),
        (np.full((4, 4, 3), -0.5), "values from -0.5 to -0.5; floats go from 0 to 1$"),
        (np.full((4, 4, 3), np.nan), "style has values that are not finite"),
        (np.full((4, 4, 3), np.inf), "style has values that are not finite"),
        ([[0.5]], "style is of type list; give an array, a picture of Pillow, or the name"),
        (None, "style is of type NoneType"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_one_line(source, message):
    with pytest.raises(ConfigError, match=message) as caught:
        pictures.read(source, "style")
    assert "\n" not in str(caught.value)


def test_pictures_of_pillow_that_cannot_be_read_are_one_line(tmp_path):
    with Image.open(CASES / "plain.png") as closed:
        pass
    with pytest.raises(ImageError, match="content was closed before it was read"):
        pictures.read(closed, "content")
    (tmp_path / "cut.png").write_bytes((CASES / "cutout.png").read_bytes()[:300])
    with Image.open(tmp_path / "cut.png") as file, pytest.raises(ImageError, match="cannot read"):
        pictures.read(file, "content")
    with pytest.raises(ImageError, match=r"there is no file .*nowhere\.png"):
        pictures.shape_of(tmp_path / "nowhere.png", "content")


def test_one_picture_is_told_from_several():
    for one in (COLORS, jnp.asarray(COLORS), Image.fromarray(COLORS), "a.png", Path("a.png")):
        assert pictures.listed(one) == (one,) or pictures.listed(one)[0] is one
        assert len(pictures.listed([one, one])) == len(pictures.listed(x for x in (one, one))) == 2
