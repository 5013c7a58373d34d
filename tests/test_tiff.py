"""TIFF files of every depth, layout, compression and orientation."""

import importlib.util
import io
import itertools
import struct
import zlib

import numpy as np
import PIL
import pytest
import tifffile
from PIL import Image

from jaxmrf.errors import ImageError
from jaxmrf.files import image
from jaxmrf.web import reader
from tests.common import write_anew

HEIGHT, WIDTH = 19, 37
ORIENTATION = 0x0112
PILLOW_NAMES = {"packbits": "packbits", "lzw": "tiff_lzw", "lzma": "lzma", "zstd": "zstd"}
COMPRESSION_NUMBERS = {"packbits": 32773, "lzw": 5, "lzma": 34925, "zstd": 50000}
if int(PIL.__version__.split(".")[0]) < 13:  # some are built without it, and crash asked to write
    del PILLOW_NAMES["zstd"]
COMPRESSIONS = ["none", "zlib", *PILLOW_NAMES]
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""How a picture lies in a file of an orientation."""

KINDS = {  # photometric, samples, meaning of the extra samples
    "L": ("minisblack", 1, None),
    "inverse L": ("miniswhite", 1, None),
    "LA": ("minisblack", 2, ["unassalpha"]),
    "RGB": ("rgb", 3, None),
    "RGBA": ("rgb", 4, ["unassalpha"]),
    "CMYK": ("separated", 4, None),
    "P": ("palette", 1, None),
}


def random_samples(kind, dtype, shape=(HEIGHT, WIDTH)):
    """Returns samples [h, w, s], of floats in 0 to 1."""
    generator = np.random.default_rng(3)
    dtype = np.dtype(dtype)
    shape = (*shape, KINDS[kind][1])
    if dtype.kind == "f":
        return generator.random(shape).astype(dtype)
    return generator.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def palette():
    return np.random.default_rng(5).integers(0, 256, (3, 256), np.uint16) * 257


def expected_of(samples, kind):
    """Returns pixels [h, w, 3] and alpha of samples, from the definition of the kind."""
    white = 1 if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max
    values = samples.astype(np.float64) / white
    if kind == "P":
        return palette().T[samples[..., 0]] / 65535, None
    if kind == "CMYK":
        eight = np.rint(values * 255).astype(np.uint8)
        size = eight.shape[1::-1]
        return np.asarray(Image.frombytes("CMYK", size, eight.tobytes()).convert("RGB")) / 255, None
    alpha = values[..., -1] if kind in ("LA", "RGBA") else None
    color = values[..., :3] if kind.startswith("RGB") else values[..., :1]
    color = 1 - color if kind == "inverse L" else color
    color = np.broadcast_to(color, (*color.shape[:2], 3))
    return color if alpha is None else np.where(alpha[..., None] > 0, color, 1), alpha


def write(path, samples, kind, compression="none", orientation=1, **options):
    """Writes samples [h, w, s] as they are to lie in the file."""
    photometric, count, extra = KINDS[kind]
    options = {"photometric": photometric, "extrasamples": extra, "metadata": None} | options
    options["extratags"] = [(ORIENTATION, "H", 1, orientation, True)]
    if kind == "P":
        options["colormap"] = palette()
    planar = options.get("planarconfig") == "separate"
    data = samples[..., 0] if count == 1 else np.moveaxis(samples, -1, 0) if planar else samples
    if compression != "none":
        options["compression"] = "zlib"
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, data, **options)
    if compression in PILLOW_NAMES:  # tifffile alone does not write them
        buffer.seek(0)
        with tifffile.TiffFile(buffer) as file:
            segments = [recompressed(part, compression) for part in parts_of(file)]
        options |= {"shape": data.shape, "dtype": data.dtype}
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, iter(segments), **options)
        buffer.seek(0)
        with tifffile.TiffFile(buffer, mode="r+") as file:
            file.pages[0].tags["Compression"].overwrite(COMPRESSION_NUMBERS[compression])
    write_anew(path, buffer.getvalue())


def parts_of(file):
    page = file.pages[0]
    for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.filehandle.seek(start)
        yield file.filehandle.read(count)


def recompressed(deflated, compression):
    """Returns a compressed strip or tile in another compression, of a file that Pillow writes."""
    content, buffer = zlib.decompress(deflated), io.BytesIO()
    row = Image.frombytes("L", (len(content), 1), content)
    row.save(buffer, "TIFF", compression=PILLOW_NAMES[compression])
    buffer.seek(0)
    with tifffile.TiffFile(buffer) as file:
        (part,) = parts_of(file)
    return part


def assert_read(path, samples, kind, tolerance=1e-6):
    """Asserts that a file shows samples, by all that read it."""
    pixels, alpha = expected_of(samples, kind)
    assert image.shape_of(path) == pixels.shape[:2]
    picture = image.load(path)
    np.testing.assert_allclose(picture.pixels, pixels, atol=tolerance)
    assert (picture.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_allclose(picture.alpha, alpha, atol=tolerance)
    return picture


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_orientation_layout_and_compression(tmp_path, kind, compression, bits):
    if kind == "P" and bits == 16:
        pytest.skip("palettes have 8 bits at most")
    samples = random_samples(kind, f"u{bits // 8}")
    path = tmp_path / "a.tif"
    layouts = [{"rowsperstrip": 64}, {"rowsperstrip": 5}, {"tile": (16, 16)}]
    cases = itertools.product(STORED.items(), layouts)
    if compression != "none":  # it has no part in how strips and tiles lie
        cases = zip(STORED.items(), itertools.cycle(layouts), strict=False)
    for (orientation, lie), layout in cases:
        write(path, lie(samples), kind, compression, orientation, **layout)
        assert_read(path, samples, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
def test_every_orientation_of_what_pillow_writes(tmp_path, kind, compression):
    if compression == "jpeg" and kind not in ("L", "RGB"):
        pytest.skip("JPEG has no such colors")
    samples = random_samples(kind, "u1")
    rows = np.arange(HEIGHT)[:, None, None] * 10 + np.arange(WIDTH)[:, None] * 2
    samples = samples if compression != "jpeg" else np.broadcast_to(rows, samples.shape)
    path = tmp_path / "a.tif"
    for orientation, lie in STORED.items():
        lying = np.ascontiguousarray(lie(samples).astype(np.uint8))
        mode = "L" if kind == "inverse L" else kind
        stored = Image.frombytes(mode, lying.shape[1::-1], lying.tobytes())
        if kind == "P":
            stored.putpalette((palette().T >> 8).astype(np.uint8).tobytes())
        path.unlink(missing_ok=True)
        stored.save(path, compression=compression, tiffinfo={ORIENTATION: orientation})
        loose = 0.03 if compression == "jpeg" else 1e-6
        assert_read(path, samples.astype(np.uint8), mode, loose)


@pytest.mark.parametrize("orientation", STORED)
def test_single_bits_lie_as_their_orientation_says(tmp_path, orientation):
    bits = np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH), np.uint8) * 255
    for compression in ("raw", "group4"):
        stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](bits))).convert("1")
        path = tmp_path / "a.tif"
        stored.save(path, compression=compression, tiffinfo={ORIENTATION: orientation})
        assert_read(path, bits[..., None], "L")


def test_the_page_has_a_picture_upright(tmp_path):
    samples = random_samples("RGBA", "u1")
    write(tmp_path / "a.tif", STORED[6](samples), "RGBA", orientation=6)
    stored = reader._reencode(tmp_path / "a.tif", tmp_path / "kept")
    assert (stored["height"], stored["width"]) == (HEIGHT, WIDTH)
    with Image.open(reader.view_of(tmp_path / "kept")) as view:
        assert view.size == (WIDTH, HEIGHT)
    kept = image.load(tmp_path / "kept.png")
    np.testing.assert_array_equal(kept.pixels, image.load(tmp_path / "a.tif").pixels)


@pytest.mark.parametrize("kind", ["L", "inverse L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f2", "f4", "f8"])
def test_every_depth_is_read_in_full(tmp_path, kind, dtype):
    samples = random_samples(kind, dtype)
    path = tmp_path / "a.tif"
    several = ["contig", "separate"] if KINDS[kind][1] > 1 else ["contig"]
    for planes, order, big in itertools.product(several, "<>", [False, True]):
        options = {"planarconfig": planes} if KINDS[kind][1] > 1 else {}
        path.unlink(missing_ok=True)
        with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as file:
            photometric, count, extra = KINDS[kind]
            data = samples if planes == "contig" else np.moveaxis(samples, -1, 0)
            data = samples[..., 0] if count == 1 else data
            file.write(
                data, photometric=photometric, extrasamples=extra, metadata=None, **options
            )  # fmt: skip
        picture = assert_read(path, samples, kind, 1e-3 if dtype == "f2" else 1e-6)
        suffix, content = image.reencode(path)
        again = tmp_path / f"again{suffix}"
        write_anew(again, content)
        np.testing.assert_array_equal(image.load(again).pixels, picture.pixels)
        np.testing.assert_equal(image.load(again).alpha, picture.alpha)


@pytest.mark.parametrize("compression", COMPRESSIONS[1:])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_differences_of_neighbors_are_undone(tmp_path, dtype, compression):
    planars = ("L", {}), *(("RGBA", {"planarconfig": planes}) for planes in ("contig", "separate"))
    for (kind, planar), order in itertools.product(planars, "<>"):
        samples = random_samples(kind, dtype)
        for layout in ({"tile": (16, 16)}, {"rowsperstrip": 4}):
            write(
                tmp_path / "a.tif", samples, kind, compression, predictor=2, byteorder=order,
                **layout, **planar,
            )  # fmt: skip
            assert_read(tmp_path / "a.tif", samples, kind)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("kind", ["L", "RGB"])
def test_differences_of_bytes_of_floats_are_undone(tmp_path, kind, dtype):
    samples = random_samples(kind, dtype)
    count = samples.shape[2]
    big = samples.astype(np.dtype(dtype).newbyteorder(">")).view(np.uint8)
    planes = big.reshape(HEIGHT, WIDTH * count, -1).swapaxes(1, 2).reshape(HEIGHT, -1, count)
    steps = np.diff(planes, axis=1, prepend=np.zeros((HEIGHT, 1, count), np.uint8))
    strips = [zlib.compress(steps.tobytes())]
    data = samples[..., 0] if count == 1 else samples
    tifffile.imwrite(
        tmp_path / "a.tif", iter(strips), shape=data.shape, dtype=data.dtype, compression="zlib",
        photometric=KINDS[kind][0], rowsperstrip=HEIGHT, metadata=None,
    )  # fmt: skip
    content = (tmp_path / "a.tif").read_bytes()  # tifffile alone does not write the predictor
    unit_of_resolution = struct.pack("<HHII", 296, 3, 1, 1)
    assert content.count(unit_of_resolution) == 1
    content = content.replace(unit_of_resolution, struct.pack("<HHII", 317, 3, 1, 3))
    (tmp_path / "a.tif").write_bytes(content)
    assert_read(tmp_path / "a.tif", samples, kind, 1e-3 if dtype == "f2" else 1e-6)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("kind", ["LA", "RGBA"])
@pytest.mark.parametrize("meaning", ["assocalpha", "unassalpha", "unspecified"])
def test_kinds_of_alpha(tmp_path, meaning, kind, dtype):
    samples = random_samples(kind, dtype)
    white = 1 if dtype == "f4" else np.iinfo(dtype).max
    samples[:2, :, -1] = 0
    stored = samples.copy()
    if meaning == "assocalpha":
        multiplied = samples[..., :-1].astype(np.float64) * samples[..., -1:] / white
        stored[..., :-1] = multiplied if dtype == "f4" else np.rint(multiplied)
    write(tmp_path / "a.tif", stored, kind, extrasamples=[meaning])
    if meaning == "unspecified":
        assert_read(tmp_path / "a.tif", samples[..., :-1], kind[:-1])
        return
    pixels, alpha = expected_of(samples, kind)
    picture = image.load(tmp_path / "a.tif")
    np.testing.assert_allclose(picture.alpha, alpha, atol=1e-6)
    assert (picture.pixels[:2] == 1).all()
    rough = 0.51 / white / np.maximum(alpha, 1e-9)  # what rounding took away
    assert (np.abs(picture.pixels - pixels) <= rough[..., None] + 0.51 / white + 1e-6).all()


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_extra_channels_are_left_out(tmp_path, planes, dtype):
    samples = random_samples("RGBA", dtype)
    more = np.concatenate([samples[..., :3], samples[..., :1], samples[..., 3:]], axis=-1)
    data = more if planes == "contig" else np.moveaxis(more, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif", data, photometric="rgb", planarconfig=planes, metadata=None,
        extrasamples=["unspecified", "unassalpha"],
    )  # fmt: skip
    assert_read(tmp_path / "a.tif", samples, "RGBA")


def test_floats_above_one_are_scaled_and_those_below_zero_are_black(tmp_path):
    samples = np.array([[[-1.0], [0.5], [2.0]]], np.float32)
    write(tmp_path / "a.tif", samples, "L")
    np.testing.assert_allclose(image.load(tmp_path / "a.tif").pixels[0, :, 0], [0, 0.25, 1])


REFUSED = {
    "not a number": (np.full((5, 7), np.nan, np.float32), {}, "not a number"),
    "infinite": (np.full((5, 7), np.inf, np.float64), {}, "infinite"),
    "infinite alpha": (
        np.full((5, 7, 4), np.inf, np.float32),
        {"photometric": "rgb", "extrasamples": ["unassalpha"]},
        "infinite",
    ),
    "signed 8": (np.zeros((5, 7), np.int8), {}, "signed integers"),
    "signed 16": (np.zeros((5, 7, 3), np.int16), {"photometric": "rgb"}, "signed integers"),
    "signed 32": (np.zeros((5, 7), np.int32), {}, "signed integers"),
    "complex": (np.zeros((5, 7), np.complex64), {}, "complex numbers"),
    "deep Lab": (np.zeros((5, 7, 3), np.uint16), {"photometric": "cielab"}, "CIELAB"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_shown_is_named(tmp_path, case):
    values, options, message = REFUSED[case]
    tifffile.imwrite(tmp_path / "a.tif", values, **{"photometric": "minisblack"} | options)
    with pytest.raises(ImageError, match=message) as caught:
        image.load(tmp_path / "a.tif")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("imagecodecs") is not None, reason="it is there")
@pytest.mark.parametrize("number", [50002, 34712, 34887, 22610])  # JPEG XL, JPEG 2000, LERC, …
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_missing_codec_is_a_line_that_names_the_extra(tmp_path, number, dtype):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((5, 7), dtype), compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["Compression"].overwrite(number)
    with pytest.raises(ImageError, match=r"needs? imagecodecs: pip install imagecodecs"):
        image.load(path)


@pytest.mark.parametrize("kind", ["L", "RGBA", "P"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_files_that_are_cut_off_are_one_line(tmp_path, capfd, kind, compression):
    path = tmp_path / "a.tif"
    write(path, random_samples(kind, "u1"), kind, compression, rowsperstrip=4)
    content = path.read_bytes()
    for end in range(8, len(content), max(1, len(content) // 29)):
        write_anew(path, content[:end])
        with pytest.raises(ImageError) as caught:
            image.load(path)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compression", [*COMPRESSIONS, "jpeg", "group4"])
def test_damaged_files_are_read_or_refused_without_a_word(tmp_path, capfd, compression):
    path = tmp_path / "a.tif"
    if compression in COMPRESSIONS:
        write(path, random_samples("RGB", "u2"), "RGB", compression, rowsperstrip=4)
    else:
        mode = "RGB" if compression == "jpeg" else "1"
        Image.new(mode, (WIDTH, HEIGHT)).save(path, compression=compression)
    content = path.read_bytes()
    for seed in range(100):
        generator = np.random.default_rng(seed)
        damaged = bytearray(content)
        for position in generator.integers(0, len(damaged), 3):
            damaged[position] = generator.integers(0, 256)
        write_anew(path, damaged)
        for read in (image.load, image.shape_of):
            try:
                read(path)
            except ImageError as error:
                assert "\n" not in str(error)  # noqa: PT017
    assert capfd.readouterr() == ("", "")
