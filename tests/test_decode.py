"""Pictures of every kind but TIFF: deep PNG files, color profiles, formats, and silence."""

import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, features

from jaxmrf.errors import ImageError
from jaxmrf.files import decode, image, profiles, quiet
from tests.common import write_anew

CASES = Path(__file__).parent / "cases"
PASSES = [
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
    (1, 0, 2, 1),
]  # fmt: skip
"""First row, first column, and steps of the passes of an interlaced PNG file."""


def filtered(samples, first_filter):
    """Returns the rows of a PNG picture, each by the next filter, byte by byte as the standard."""
    height, width, channels = samples.shape
    rows = np.frombuffer(samples.astype(">u2").tobytes(), np.uint8).reshape(height, -1).astype(int)
    size, above, content = 2 * channels, np.zeros(width * 2 * channels, int), b""
    for number, row in enumerate(rows):
        left = np.concatenate([np.zeros(size, int), row[:-size]])
        corner = np.concatenate([np.zeros(size, int), above[:-size]])
        guess = left + above - corner
        away = [np.abs(guess - beside) for beside in (left, above, corner)]
        nearest = np.where(
            (away[0] <= away[1]) & (away[0] <= away[2]),
            left,
            np.where(away[1] <= away[2], above, corner),
        )
        kind = (number + first_filter) % 5
        expected = [0, left, above, (left + above) // 2, nearest][kind]
        content += bytes([kind]) + ((row - expected) % 256).astype(np.uint8).tobytes()
        above = row
    return content


def png(samples, interlaced=False, more=(), first_filter=0):
    """Returns a PNG file with 16 bits per channel."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    height, width, channels = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, int(interlaced))
    parts = [samples[top::down, left::right] for top, left, down, right in PASSES]
    parts = parts if interlaced else [samples]
    rows = b"".join(filtered(part, first_filter) for part in parts if part.size)
    data = zlib.compress(rows)
    half = len(data) // 2
    chunks = [(b"IHDR", header), *more, (b"IDAT", data[:half]), (b"IDAT", data[half:])]
    written = b"".join(chunk(*one) for one in (*chunks, (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + written


def deep_samples(channels, height=11, width=9):
    generator = np.random.default_rng(channels)
    return generator.integers(0, 65536, (height, width, channels), np.uint16)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_png_files_are_read_in_full(tmp_path, channels, interlaced):
    samples = deep_samples(channels)
    color = samples if channels in (1, 3) else samples[..., :-1]
    for first_filter in range(5):
        write_anew(tmp_path / "a.png", png(samples, interlaced, first_filter=first_filter))
        picture = image.load(tmp_path / "a.png")
        expected = np.broadcast_to(color / 65535, (*color.shape[:2], 3))
        np.testing.assert_allclose(picture.pixels, expected, atol=1e-6)
        if channels in (2, 4):
            np.testing.assert_allclose(picture.alpha, samples[..., -1] / 65535, atol=1e-6)
        else:
            assert picture.alpha is None


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_color_of_a_deep_png_file_has_sixteen_bits(tmp_path, channels):
    samples = deep_samples(channels)
    samples[1] = samples[0] ^ 1  # nearly the same: the same in 8 bits
    transparent = samples[0, 0].astype(">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(samples, more=[(b"tRNS", transparent)]))
    picture = image.load(tmp_path / "a.png")
    expected = np.where((samples == samples[0, 0]).all(axis=-1), 0, 1)
    assert expected[0, 0] == 0
    assert expected[1, 0] == 1
    np.testing.assert_array_equal(picture.alpha, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_png_files_are_upright(tmp_path, orientation):
    samples = deep_samples(3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = exif.tobytes().removeprefix(b"Exif\0\0")
    (tmp_path / "a.png").write_bytes(png(samples, more=[(b"eXIf", content)]))
    eight = Image.fromarray((samples >> 8).astype(np.uint8))
    eight.save(tmp_path / "b.png", exif=exif)
    deep, shallow = (image.load(tmp_path / name).pixels for name in ("a.png", "b.png"))
    assert image.shape_of(tmp_path / "a.png") == deep.shape[:2]
    np.testing.assert_allclose(deep, shallow, atol=1 / 255)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_png_files_that_are_damaged_are_one_line(tmp_path, channels):
    content = png(deep_samples(channels))
    for end in range(8, len(content) - 24, 23):
        write_anew(tmp_path / "a.png", content[:end])
        with pytest.raises(ImageError) as caught:
            image.load(tmp_path / "a.png")
        assert "\n" not in str(caught.value)


def icc(space, tags):
    """Returns an ICC profile of a color space with tags."""
    start, table, data = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, start + len(data), len(content))
        data += padded
    size = start + len(data)
    header = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + _xyz(0.9642, 1, 0.8249)[8:]
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + table + data


def _fixed(*numbers):
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def _xyz(*numbers):
    return b"XYZ \0\0\0\0" + _fixed(*numbers)


CURVES = {
    "linear": b"curv" + struct.pack(">II", 0, 0),
    "gamma": b"curv" + struct.pack(">IIH", 0, 1, round(1.8 * 256)),
    "table": b"curv" + struct.pack(">II", 0, 33)
    + struct.pack(">33H", *(round(65535 * (index / 32) ** 2.4) for index in range(33))),
    "power": b"para" + struct.pack(">IHH", 0, 0, 0) + _fixed(2.2),
    "kind 1": b"para" + struct.pack(">IHH", 0, 1, 0) + _fixed(2, 1 / 1.1, 0.1 / 1.1),
    "kind 2": b"para" + struct.pack(">IHH", 0, 2, 0) + _fixed(2, 0.9, 0.05, 0.02),
    "kind 3": b"para" + struct.pack(">IHH", 0, 3, 0)
    + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    "kind 4": b"para" + struct.pack(">IHH", 0, 4, 0) + _fixed(2.2, 0.9, 0.1, 0.3, 0.08, 0.0, 0.0),
}  # fmt: skip
ADOBE_RGB = [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)]


def profile(space, curve):
    if space == "L":
        return icc(b"GRAY", {b"wtpt": _xyz(0.9642, 1, 0.8249), b"kTRC": CURVES[curve]})
    tags = {b"wtpt": _xyz(0.9642, 1, 0.8249)}
    for name, column in zip((b"r", b"g", b"b"), ADOBE_RGB, strict=True):
        tags |= {name + b"XYZ": _xyz(*column), name + b"TRC": CURVES[curve]}
    return icc(b"RGB ", tags)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("space", ["L", "RGB"])
def test_profiles_are_applied_to_deep_pictures_as_to_others(tmp_path, space, curve):
    eight = np.random.default_rng(0).integers(0, 256, (40, 30, 1 if space == "L" else 3), np.uint8)
    deep, content = eight.astype(np.uint16) * 257, profile(space, curve)
    shallow = Image.fromarray(eight[..., 0] if space == "L" else eight)
    shallow.save(tmp_path / "8.png", icc_profile=content)
    expected = image.load(tmp_path / "8.png").pixels
    assert np.abs(expected - eight / 255).max() > 0.03 or curve == "kind 3"
    chunk = b"icc\0\0" + zlib.compress(content)
    (tmp_path / "16.png").write_bytes(png(deep, more=[(b"iCCP", chunk)]))
    options = {"photometric": "minisblack" if space == "L" else "rgb", "iccprofile": content}
    stored = deep[..., 0] if space == "L" else deep
    tifffile.imwrite(tmp_path / "16.tif", stored, **options)
    tifffile.imwrite(tmp_path / "32.tif", (stored / 65535).astype(np.float32), **options)
    for name in ("16.png", "16.tif", "32.tif"):
        pixels = image.load(tmp_path / name).pixels
        away = np.abs(pixels - expected)  # Little CMS is coarse in the darks and out of gamut
        assert np.quantile(away, 0.9) < 1.5 / 255, name
        assert away.max() < 0.08, name
        assert 0 <= pixels.min() <= pixels.max() <= 1
        if space == "L":
            assert (pixels == pixels[..., :1]).all()


def test_deep_greys_follow_the_curve_of_a_profile_and_that_of_srgb():
    greys = np.linspace(0, 1, 1001, dtype=np.float32).reshape(7, 143, 1)
    linear = {
        "linear": greys, "gamma": greys ** (461 / 256), "power": greys**2.2,
        "kind 3": np.where(greys < 0.04045, greys / 12.92, ((greys + 0.055) / 1.055) ** 2.4),
    }  # fmt: skip
    for curve, light in linear.items():
        encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        converted = profiles.convert_deep(greys, profile("L", curve))
        np.testing.assert_allclose(converted, encoded, atol=2e-5)
        beside = profiles.convert_deep(np.repeat(greys, 3, axis=-1), profile("RGB", curve))
        np.testing.assert_allclose(beside, np.repeat(encoded, 3, axis=-1), atol=3e-3)


def test_a_profile_of_tables_is_applied_to_deep_pictures_in_eight_bits(tmp_path, monkeypatch):
    deep, tables = deep_samples(3), icc(b"RGB ", {b"A2B0": bytes(40)})
    assert profiles.convert_deep(np.zeros((2, 2, 3), np.float32), tables) is None
    monkeypatch.setattr(profiles, "convert", lambda picture, _: picture.rotate(180))
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", iccprofile=tables)
    turned = image.load(tmp_path / "a.tif").pixels[::-1, ::-1]
    np.testing.assert_allclose(turned, deep / 65535, atol=0.51 / 255)


def test_a_broken_profile_is_ignored_in_full_depth(tmp_path):
    deep = deep_samples(3)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", iccprofile=b"nonsense" * 40)
    np.testing.assert_allclose(image.load(tmp_path / "a.tif").pixels, deep / 65535, atol=1e-6)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_profiles_are_used_or_ignored(seed):
    content = bytearray(profile("RGB", "kind 3"))
    generator = np.random.default_rng(seed)
    for position in generator.integers(0, len(content), 8):
        content[position] = generator.integers(0, 256)
    converted = profiles.convert_deep(np.full((3, 2, 3), 0.5, np.float32), bytes(content))
    if converted is not None:
        assert np.isfinite(converted).all()
        assert 0 <= converted.min() <= converted.max() <= 1


FORMATS = {
    "gif": "GIF", "bmp": "BMP", "ppm": "PPM", "jp2": "JPEG2000", "webp": "WEBP", "avif": "AVIF",
}  # fmt: skip


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_first_picture_of_every_format_is_read(tmp_path, suffix):
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    y, x = np.mgrid[:24, :32]
    first = np.stack([y * 8, x * 6, 128 + 0 * x], axis=-1).astype(np.uint8)
    picture, path = Image.fromarray(first), tmp_path / f"a.{suffix}"
    exact = {"webp": {"lossless": True}, "avif": {"quality": 95}}.get(suffix, {})
    several = {"save_all": True, "append_images": [Image.new("RGB", (32, 24))]}
    animated = suffix in ("gif", "webp", "avif")
    picture.save(path, FORMATS[suffix], **exact, **(several if animated else {}))
    assert image.shape_of(path) == (24, 32)
    pixels = image.load(path).pixels
    rough = {"gif": 0.2, "avif": 0.06}.get(suffix, 1e-6)
    assert np.abs(pixels - first / 255).max() < rough
    assert path.suffix in decode.SUFFIXES


def test_the_first_page_of_a_tiff_file_is_read(tmp_path):
    pages = [Image.new("RGB", (6, 4), color) for color in ("red", "blue")]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert (image.load(tmp_path / "a.tif").pixels == [1, 0, 0]).all()


def test_deep_ppm_files_of_greys_are_read_in_full(tmp_path):
    deep = deep_samples(1)[..., 0]
    Image.fromarray(deep.astype(np.int32)).save(tmp_path / "a.pgm")
    pixels = image.load(tmp_path / "a.pgm").pixels
    np.testing.assert_allclose(pixels[..., 0], deep / 65535, atol=1e-6)


def test_floats_in_ppm_files_must_be_finite(tmp_path):
    (tmp_path / "a.pfm").write_bytes(b"Pf\n2 1\n-1.0\n" + struct.pack("<2f", 0.5, np.nan))
    with pytest.raises(ImageError, match="not a number"):
        image.load(tmp_path / "a.pfm")


def test_heic_needs_an_extra_or_is_read(tmp_path, monkeypatch):
    box = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    (tmp_path / "a.heic").write_bytes(box + bytes(40))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"a.heic is .* pip install pillow-heif") as caught:
        image.load(tmp_path / "a.heic")
    assert "\n" not in str(caught.value)
    assert not decode._is_heif(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf")


def read_in_process(path):
    program = (
        "import sys, pathlib\n"
        "from jaxmrf.files import image\n"
        "try:\n"
        "    image.load(pathlib.Path(sys.argv[1]))\n"
        "except image.ImageError:\n"
        "    pass\n"
    )
    return subprocess.run(
        [sys.executable, "-W", "always::UserWarning", "-c", program, path],
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize("name", ["brokenexif.jpg", "pal_trns.png"])
def test_what_libraries_have_to_say_does_not_reach_the_terminal(name):
    done = read_in_process(CASES / name)
    assert done.stdout == done.stderr == ""


@pytest.mark.parametrize(("options", "shown"), [([], False), (["-W", "always"], True)])
def test_programs_of_ours_show_no_warnings_unless_told_to(monkeypatch, options, shown):
    told = []
    monkeypatch.setattr(sys, "warnoptions", options)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda message, *_: told.append(message))
        quiet.in_this_program()
        warnings.warn("Error reading persistent compilation cache entry", stacklevel=1)
    assert len(told) == shown


def test_changes_to_the_process_are_taken_back_by_the_last_that_leaves():
    before, seen = list(warnings.filters), []
    inside, leave = threading.Barrier(2), threading.Event()

    def other():
        with quiet.warnings_of_python:
            inside.wait(10)
            leave.wait(10)
            seen.append(warnings.filters[0][0])

    thread = threading.Thread(target=other)
    thread.start()
    with quiet.warnings_of_python:
        inside.wait(10)
    leave.set()
    thread.join()
    assert seen == ["ignore"]
    assert list(warnings.filters) == before


SHOWN = {
    "brokenexif.jpg": 0.05, "exif6.tif": 1e-6, "f32rgb.tif": 1e-6, "rgb16planar.tif": 1e-6,
    "rgba16assoc.tif": 1e-3, "tt_RGBA_6_raw.tif": 1e-6, "cutout.png": 1e-6,
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_colors_of_the_cases(name):
    plain, picture = image.load(CASES / "plain.png").pixels, image.load(CASES / name)
    visible = np.ones((96, 128), bool) if picture.alpha is None else picture.alpha > 0.02
    assert image.shape_of(CASES / name) == (96, 128)
    assert np.abs(picture.pixels - plain)[visible].max() < SHOWN[name]


@pytest.mark.parametrize("name", ["deepg6.tif", "g16miniswhite.tif", "icc_gl_16.png"])
def test_greys_of_the_cases(name):
    grey = image.load(CASES / "plain.png").pixels @ np.array([0.299, 0.587, 0.114])
    assert image.shape_of(CASES / name) == (96, 128)
    assert np.abs(image.load(CASES / name).pixels - grey[..., None]).max() < 1 / 255


def test_the_case_that_is_not_a_number_is_refused():
    with pytest.raises(ImageError, match="not a number"):
        image.load(CASES / "f32nan.tif")


def test_every_suffix_that_is_written_is_read():
    assert set(image.WRITABLE) <= decode.SUFFIXES
    assert {"image/avif", ".heic", ".jp2"} <= set(decode.accepted().split(","))
