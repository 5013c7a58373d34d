import io
import json
import os
import warnings

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from jaxmrf.errors import ImageError
from jaxmrf.files import atomic, image
from jaxmrf.files.image import Picture


def checkerboard(height, width):
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([y * 7 + x, 255 - 5 * x, 40 + (x ^ y)], axis=-1) % 256
    return rgb.astype(np.uint8)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    suffix=st.sampled_from([".png", ".webp", ".jpg", ".tif"]),
    mode=st.sampled_from(["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16"]),
)
def test_every_mode_and_size_is_read(tmp_path_factory, height, width, suffix, mode):
    rgb = Image.fromarray(checkerboard(height, width))
    made = Image.fromarray(np.full((height, width), 40_000, np.uint16)) if mode == "I;16" else None
    made = made or rgb.convert("LA" if mode == "PA" else mode)
    made = made.convert("PA") if mode == "PA" else made
    path = tmp_path_factory.mktemp("modes") / f"picture{suffix}"
    try:
        made.save(path)
    except (OSError, KeyError):  # the format does not have this mode
        return
    picture = image.load(path)
    assert picture.pixels.shape == (height, width, 3)
    assert picture.pixels.dtype == np.float32
    assert 0 <= picture.pixels.min() <= picture.pixels.max() <= 1
    if mode == "RGB" and suffix in (".png", ".tif"):
        np.testing.assert_allclose(picture.pixels * 255, checkerboard(height, width), atol=1e-3)
    if mode == "I;16" and suffix in (".png", ".tif"):  # as WebP, Pillow makes it white
        np.testing.assert_allclose(picture.pixels, 40_000 / 65535, atol=1e-4)
    assert_reencodes(path)


def assert_reencodes(path):
    """Asserts that a file loads to the same picture when encoded again, without its metadata."""
    picture = image.load(path)
    suffix, content = image.reencode(path)
    again_path = path.with_name(f"again{suffix}")
    again_path.write_bytes(content)
    again = image.load(again_path)
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    np.testing.assert_equal(again.alpha, picture.alpha)
    with Image.open(again_path) as file:
        assert not file.getexif().keys() & {0x010E, 0x0112, 0x8769}
        assert "icc_profile" not in file.info
        assert not getattr(file, "text", {})


@pytest.mark.parametrize("channels", [3, 4])
def test_deep_and_odd_pictures_reencode_to_the_same_pixels(tmp_path, channels):
    generator = np.random.default_rng(0)
    deep = generator.integers(0, 65536, (9, 7, channels), np.uint16)
    extra = ["unassalpha"] if channels == 4 else None
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb", extrasamples=extra)
    assert_reencodes(tmp_path / "deep.tif")
    Image.fromarray(generator.normal(size=(9, 7)).astype(np.float32)).save(tmp_path / "f.tif")
    assert_reencodes(tmp_path / "f.tif")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "where it was taken"
    turned = Image.fromarray(generator.integers(0, 256, (9, 7, channels), np.uint8))
    turned.save(tmp_path / "turned.webp", exif=exif, icc_profile=profile)
    assert_reencodes(tmp_path / "turned.webp")


def test_reencoding_has_its_own_limit_of_pixels(tmp_path):
    Image.new("L", (1200, 1000)).save(tmp_path / "large.png")
    with pytest.raises(ImageError, match="more than 1 megapixels"):
        image.reencode(tmp_path / "large.png", max_pixels=1_000_000)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = np.zeros((8, 16, 3), np.uint8)
    upright[:4, :8] = 255  # top left is white
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo(upright)))
    stored.save(tmp_path / "photo.png", exif=exif)
    pixels = image.load(tmp_path / "photo.png").pixels
    np.testing.assert_array_equal(pixels, upright / np.float32(255))


def test_an_icc_profile_is_converted_to_srgb(tmp_path):
    lab = Image.new("LAB", (4, 4), (180, 150, 110))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    lab.save(tmp_path / "lab.tif", icc_profile=profile.tobytes())
    pixels = image.load(tmp_path / "lab.tif").pixels
    expected = ImageCms.profileToProfile(
        lab, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    np.testing.assert_allclose(pixels * 255, np.asarray(expected), atol=1.01)


def test_a_broken_icc_profile_is_ignored(tmp_path):
    Image.new("RGB", (4, 4), (10, 20, 30)).save(tmp_path / "a.png", icc_profile=b"nonsense")
    np.testing.assert_allclose(image.load(tmp_path / "a.png").pixels[0, 0] * 255, [10, 20, 30])


def test_alpha_is_composited_on_white_and_given_back(tmp_path):
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[:, :3, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "in.png")
    picture = image.load(tmp_path / "in.png")
    assert (picture.pixels[:, :3] == 0).all()
    assert (picture.pixels[:, 3:] == 1).all()
    for suffix in (".png", ".webp", ".tif"):
        image.save(tmp_path / f"out{suffix}", picture, {})
        again = image.load(tmp_path / f"out{suffix}")
        np.testing.assert_allclose(again.alpha, picture.alpha, atol=1e-2)
    image.save(tmp_path / "out.jpg", picture, {})
    assert image.load(tmp_path / "out.jpg").alpha is None


def test_tiff_has_sixteen_bits(tmp_path):
    pixels = np.linspace(0, 1, 3 * 50 * 4, dtype=np.float32).reshape(50, 4, 3)
    image.save(tmp_path / "out.tif", Picture(pixels), {"seed": 3})
    values = tifffile.imread(tmp_path / "out.tif")
    assert values.dtype == np.uint16
    np.testing.assert_allclose(values / 65535, pixels, atol=1e-5)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert json.loads(file.pages[0].description) == {"seed": 3}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_of_a_tiff_are_read_in_full(tmp_path, orientation):
    values = np.random.default_rng(0).integers(0, 65536, (6, 9, 3)).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="rgb",
        extratags=[(0x0112, "H", 1, orientation, True)],
    )  # fmt: skip
    eight = tmp_path / "b.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((values >> 8).astype(np.uint8)).save(eight, exif=exif)
    deep, shallow = image.load(tmp_path / "a.tif").pixels, image.load(eight).pixels
    assert deep.shape == shallow.shape
    assert np.abs(deep - shallow).max() < 1 / 255
    assert len(np.unique(deep)) > 100


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_settings_are_in_the_file_and_bytes_repeat(tmp_path, suffix):
    picture = Picture(np.random.default_rng(0).random((9, 8, 3), np.float32))
    for name in ("a", "b"):
        image.save(tmp_path / f"{name}{suffix}", picture, {"seed": 3, "style": "Äpfel.jpg"})
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    with Image.open(tmp_path / f"a{suffix}") as file:
        text = file.text["jaxmrf"] if suffix == ".png" else file.getexif()[0x010E]
    assert json.loads(text) == {"seed": 3, "style": "Äpfel.jpg"}


def broken_files(folder):
    whole = io.BytesIO()
    Image.fromarray(checkerboard(64, 64)).save(whole, "PNG")
    jpeg = io.BytesIO()
    Image.fromarray(checkerboard(64, 64)).save(jpeg, "JPEG")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    contents = {
        "empty.png": b"",
        "text.jpg": b"these are words",
        "cut.png": whole.getvalue()[: len(whole.getvalue()) // 2],
        "cut.jpg": jpeg.getvalue()[: len(jpeg.getvalue()) // 3],
        "postscript.png": eps,
        "header.webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def test_files_that_are_no_pictures_are_one_line(tmp_path):
    for path in [*broken_files(tmp_path), tmp_path / "missing.png", tmp_path]:
        with pytest.raises(ImageError) as caught:
            image.load(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_decompression_bombs_are_refused_before_they_unpack(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    Image.new("1", (3000, 3000)).save(path)
    monkeypatch.setattr(image, "MAX_PIXELS", 1_000_000)
    with pytest.raises(ImageError, match="megapixels"):
        image.load(path)
    monkeypatch.setattr(image, "MAX_PIXELS", 10**9)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with pytest.raises(ImageError, match="megapixels"):
        image.load(path)


def test_a_picture_that_pillow_would_warn_of_loads_without_a_word(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    Image.new("L", (1200, 1000)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image.load(path).pixels.shape == (1000, 1200, 3)


def test_pictures_too_large_for_their_format_are_refused_beforehand(tmp_path):
    image.check_size(tmp_path / "a.png", (17_000, 100))
    with pytest.raises(ImageError, match="WEBP holds at most 16383 pixels"):
        image.check_size(tmp_path / "a.webp", (17_000, 100))
    with pytest.raises(ImageError, match="100 megapixels"):
        image.check_size(tmp_path / "a.png", (17_000, 17_000))


def test_outputs_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "out.png"
    path.write_bytes(b"the picture before")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    def stop_half_way():
        with atomic.write(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(ImageError, match="No space left"):
            image.save(path, Picture(np.ones((4, 4, 3), np.float32)), {})
    assert path.read_bytes() == b"the picture before"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    assert path.read_bytes() == b"the picture before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["out.gif", "out", "folder.png", "nowhere/out.png"])
def test_outputs_that_cannot_be_written_are_refused_at_once(tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match="cannot write"):
        image.check_output(tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.png"]
