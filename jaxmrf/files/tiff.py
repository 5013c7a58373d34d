"""TIFF files → samples: every depth, order of planes, kind of alpha and orientation in one way.

Pillow turns and maps TIFF files by rules of its own and cuts 16 bits to 8, so it gets only what
tifffile does not decode by itself: JPEG, fax and subsampled pictures, and single bits.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from jaxmrf.errors import remedy
from jaxmrf.files import quiet, raster
from jaxmrf.files.raster import Model, Raster, UnsupportedError, highest

if TYPE_CHECKING:
    from tifffile import TiffPage

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How a file begins; the last two are BigTIFF."""

_ORIENTATION = 0x0112
_COMPRESSION = 0x0103
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED = 0, 1, 2, 3, 5
_MODELS: dict[int, Model] = {
    _WHITE_IS_ZERO: "L", _BLACK_IS_ZERO: "L", _RGB: "RGB", _PALETTE: "RGB", _SEPARATED: "CMYK",
}  # fmt: skip
_STORED = {_RGB: 3, _SEPARATED: 4}
"""Samples that are stored for a color; one for the others."""

_DEFLATE = (8, 32946, 50013)
_PLAIN = (1, 32773, *_DEFLATE)
"""Compressions that tifffile undoes by itself."""

_BY_LIBTIFF = (5, *_DEFLATE, 34925, 50000)
"""Compressions of bytes that libtiff in Pillow undoes: LZW, LZMA and Zstandard beside Deflate."""

_NOT_IN_EVERY_PILLOW = (34925, 50000)

_OF_PILLOW = (2, 3, 4, 6, 7, 32771, 32809, 50001)
"""Compressions of pixels: fax, JPEG, WebP; at most 8 bits."""

_ASSOCIATED, _UNASSOCIATED = 1, 2
_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4


def read(path: Path, max_pixels: int) -> Raster | None:
    """Returns the first picture of a TIFF file; None if it is one for Pillow.

    Raises:
      Image.DecompressionBombError: if there are more than `max_pixels`.
      ValueError: if the file is damaged, or what it holds is not supported; says which.
    """
    with _first_page(path) as page:
        if page.imagewidth * page.imagelength > max_pixels or page.nbytes > 32 * max_pixels:
            raise Image.DecompressionBombError
        if _is_for_pillow(page):
            return None
        _check(page)
        return _raster(page, _samples(page))


def shape_of(path: Path) -> tuple[int, int]:
    """Returns (height, width), upright, from the header alone.

    Raises:
      ValueError: if the file is damaged.
    """
    with _first_page(path) as page:
        height, width = page.imagelength, page.imagewidth
        return (width, height) if _orientation(page) >= 5 else (height, width)


@contextlib.contextmanager
def _first_page(path: Path) -> Iterator["TiffPage"]:
    """Opens a file; whatever tifffile stumbles over, also later on, is damage of the file."""
    import tifffile  # loaded when needed: it takes long

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            sides = (page.imagewidth, page.imagelength)
            if not all(isinstance(side, int) and side > 0 for side in sides):
                raise _DamageError
            if page.imagedepth != 1:
                raise _DamageError
            yield page
    except (Image.DecompressionBombError, UnsupportedError, OSError, MemoryError):
        raise
    except Exception:  # it is written for sound files, and falls over others in every way
        raise ValueError("the file is damaged or cut off") from None


class _DamageError(Exception):
    """A file that is not as it must be."""


def _is_for_pillow(page: "TiffPage") -> bool:
    if page.compression in _OF_PILLOW:
        return True
    return _depth(page) <= 8 and (page.photometric not in _MODELS or _depth(page) < 8)


def _depth(page: "TiffPage") -> int:
    """Returns the bits of a sample."""
    if not isinstance(page.bitspersample, int):
        raise UnsupportedError("its channels have different numbers of bits")
    return page.bitspersample


def _check(page: "TiffPage") -> None:
    """Refuses what cannot be right.

    Raises:
      ValueError: if the file is of a kind that is not supported, or cut off.
    """
    if page.photometric not in _MODELS:
        kind = getattr(page.photometric, "name", page.photometric)
        raise UnsupportedError(f"{kind} pixels of {_depth(page)} bits are not supported")
    if page.sampleformat not in (_UNSIGNED, _FLOAT, _UNDEFINED):
        kind = "signed integers" if page.sampleformat == _SIGNED else "complex numbers"
        raise UnsupportedError(f"its samples are {kind}; save it with 16 bits without sign")
    if page.photometric == _PALETTE and page.sampleformat == _FLOAT:
        raise _DamageError
    if page.samplesperpixel < _STORED.get(page.photometric, 1) or page.planarconfig not in (1, 2):
        raise _DamageError
    size = page.parent.filehandle.size
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not segments or any(not count or start + count > size for start, count in segments):
        raise _DamageError


def _samples(page: "TiffPage") -> Shaped[np.ndarray, "h w s"]:
    """Returns the samples of a page as they are stored, in the order of bytes of this machine.

    Raises:
      ValueError: if a library is missing that undoes its compression.
    """
    try:
        values = page.asarray()
    except (ImportError, KeyError, ValueError) as error:
        if not isinstance(error, ImportError) and "requires" not in str(error):
            raise
        if page.compression not in _BY_LIBTIFF or _depth(page) not in (8, 16, 32, 64):
            name = getattr(page.compression, "name", page.compression)
            if page.compression in _PLAIN:
                name = f"{_depth(page)}-bit"
            raise UnsupportedError(
                f"{name} TIFF files need imagecodecs: {remedy('codecs')}"
            ) from None
        return _samples_by_libtiff(page)
    if page.samplesperpixel == 1:
        return values.reshape(page.imagelength, page.imagewidth, 1)
    return np.moveaxis(values, 0, -1) if page.planarconfig == 2 else values


def _samples_by_libtiff(page: "TiffPage") -> Shaped[np.ndarray, "h w s"]:
    """Returns the samples of a compressed page by way of the libtiff in Pillow.

    It would cut 16 bits to 8, so it is given each plane as a picture of bytes.
    """
    if page.fillorder != 1:
        raise UnsupportedError(f"its order of bits needs imagecodecs: {remedy('codecs')}")
    kind = np.dtype(f"{'f' if page.sampleformat == _FLOAT else 'u'}{_depth(page) // 8}")
    stream = page.parent.filehandle
    segments: list[bytes] = []
    for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        stream.seek(start)
        segments.append(stream.read(count))
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    deep = page.samplesperpixel // planes  # samples of a pixel in a plane
    length = len(segments) // planes
    values = [
        _plane(page, segments[start : start + length], deep, kind)
        for start in range(0, length * planes, length)
    ]
    return np.concatenate(values, axis=-1)


def _plane(page: "TiffPage", segments: list[bytes], deep: int, kind: np.dtype) -> np.ndarray:
    """Returns samples [h, w, `deep`] of a plane from its compressed strips or tiles."""
    height, width, bytes_each = page.imagelength, page.imagewidth, deep * kind.itemsize
    if page.is_tiled:
        tile = (page.tilelength, page.tilewidth)
        across = -(-width // tile[1])
        rows = _unpacked(
            segments,
            (height, across * tile[1] * bytes_each),
            page.compression,
            tile=(tile[0], tile[1] * bytes_each),
        ).reshape(height, across, -1)
    else:
        strips = {"rowsperstrip": min(page.rowsperstrip, height)}
        shape = (height, width * bytes_each)
        rows = _unpacked(segments, shape, page.compression, **strips).reshape(height, 1, -1)
    values = _unpredicted(rows, page, deep, kind)
    return values.reshape(height, -1, deep)[:, :width].astype(kind, copy=False)


def _unpacked(
    segments: list[bytes], shape: tuple[int, int], compression: int, **layout: Any
) -> Shaped[np.ndarray, "rows bytes"]:
    """Returns the bytes of compressed segments that make up rows of bytes."""
    import tifffile

    buffer = io.BytesIO()
    written = {"photometric": "minisblack", "compression": "zlib", "metadata": None}
    tifffile.imwrite(buffer, iter(segments), shape=shape, dtype=np.uint8, **layout, **written)
    buffer.seek(0)
    with tifffile.TiffFile(buffer, mode="r+") as file:
        file.pages.first.tags[_COMPRESSION].overwrite(int(compression))
    try:
        with Image.open(buffer, formats=["TIFF"]) as image, quiet.standard_error:
            return np.asarray(image)
    except Image.DecompressionBombError:
        raise UnsupportedError(
            f"a compressed TIFF file this large needs imagecodecs: {remedy('codecs')}"
        ) from None
    except OSError:
        if compression not in _NOT_IN_EVERY_PILLOW:
            raise
        raise UnsupportedError(
            f"it is damaged, or this Pillow lacks its codec: {remedy('codecs')}"
        ) from None


def _unpredicted(
    rows: Shaped[np.ndarray, "h across bytes"], page: "TiffPage", deep: int, kind: np.dtype
) -> np.ndarray:
    """Returns samples from bytes, of which a row of a segment may hold differences."""
    height, across, _ = rows.shape
    order = kind.newbyteorder(page.parent.byteorder)
    if page.predictor == 1:
        return rows.view(order)
    if page.predictor == 2:
        unsigned = np.dtype(f"u{kind.itemsize}")
        steps = rows.view(unsigned.newbyteorder(page.parent.byteorder)).astype(unsigned)
        steps = steps.reshape(height, across, -1, deep)
        return np.cumsum(steps, axis=2, dtype=unsigned).view(kind)
    if page.predictor == 3 and kind.kind == "f":  # Adobe's technical note 3: bytes by significance
        steps = rows.reshape(height, across, -1, deep)
        summed = np.cumsum(steps, axis=2, dtype=np.uint8).reshape(height, across, kind.itemsize, -1)
        return np.ascontiguousarray(np.moveaxis(summed, 2, 3)).view(kind.newbyteorder(">"))
    raise _DamageError


def _raster(page: "TiffPage", samples: Shaped[np.ndarray, "h w s"]) -> Raster:
    """Returns what stored samples mean."""
    stored = _STORED.get(page.photometric, 1)
    color, alpha = samples[..., :stored], None
    extra = [int(kind) for kind in page.extrasamples]
    if not extra and samples.shape[2] == stored + 1:
        extra = [_UNASSOCIATED]  # whoever does not say it means it
    meant = [index for index, kind in enumerate(extra) if kind in (_ASSOCIATED, _UNASSOCIATED)]
    if meant and stored + meant[0] < samples.shape[2]:
        alpha = _scaled(samples[..., stored + meant[0]], page, bright=False)
    if page.photometric == _PALETTE:
        color = _looked_up(page, color[..., 0])
    else:
        color = _scaled(color, page, bright=True)
    if page.photometric == _WHITE_IS_ZERO:
        color = color.dtype.type(highest(color.dtype)) - color
    if alpha is not None and extra[meant[0]] == _ASSOCIATED:
        color = _undivided(color, alpha)
    profile = page.iccprofile if isinstance(page.iccprofile, bytes) else None
    stored_so = Raster(color, _MODELS[page.photometric], alpha, profile)
    return raster.upright(stored_so, _orientation(page))


def _scaled(values: np.ndarray, page: "TiffPage", bright: bool) -> np.ndarray:
    """Returns samples as uint8, uint16, or float32 in 0 to 1.

    Args:
      values: samples of color or of alpha.
      page: where they are from.
      bright: whether floats above 1 mean that white is the brightest of them, not 1.

    Raises:
      ValueError: if some are not finite.
    """
    bits = _depth(page)
    if values.dtype.kind != "f":
        if bits in (8, 16):
            return values.astype(f"u{bits // 8}", copy=False)
        return (values / (2.0**bits - 1)).astype(np.float32)
    return raster.unit(values, bright)


def _looked_up(page: "TiffPage", indices: np.ndarray) -> np.ndarray:
    """Returns the colors of a palette; its 16 bits are 8 that were widened."""
    if page.colormap is None:
        raise _DamageError
    return (page.colormap.T >> 8).astype(np.uint8)[indices]


def _undivided(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Returns color that was multiplied by alpha without it; black where alpha is 0."""
    white = highest(color.dtype)
    straight = color.astype(np.float32) * white / np.maximum(alpha, 1e-6)[..., None]
    straight = np.clip(np.where(alpha[..., None] > 0, straight, 0), 0, white)
    return (straight if color.dtype.kind == "f" else np.rint(straight)).astype(color.dtype)


def _orientation(page: "TiffPage") -> int:
    tag = page.tags.get(_ORIENTATION)
    return tag.value if tag is not None and tag.value in range(1, 9) else 1
