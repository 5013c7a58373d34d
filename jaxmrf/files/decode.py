"""Picture files of every kind that is read → sRGB samples, upright."""

import contextlib
import importlib.util
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Shaped
from PIL import Image, ImageFile, ImageOps

from jaxmrf.errors import ImageError, remedy
from jaxmrf.files import deep_png, quiet, raster, tiff
from jaxmrf.files.raster import Model, Raster


class Format(NamedTuple):
    """A kind of file that is read.

    Attributes:
      suffixes: what its names end in.
      media_type: what browsers call it.
    """

    suffixes: tuple[str, ...]
    media_type: str


FORMATS = {
    "JPEG": Format((".jpg", ".jpeg", ".jpe", ".jfif"), "image/jpeg"),
    "PNG": Format((".png",), "image/png"),
    "WEBP": Format((".webp",), "image/webp"),
    "TIFF": Format((".tif", ".tiff"), "image/tiff"),
    "AVIF": Format((".avif",), "image/avif"),
    "HEIF": Format((".heic", ".heif", ".hif"), "image/heic"),
    "JPEG2000": Format((".jp2", ".j2k", ".jpx"), "image/jp2"),
    "GIF": Format((".gif",), "image/gif"),
    "BMP": Format((".bmp", ".dib"), "image/bmp"),
    "PPM": Format((".ppm", ".pgm", ".pbm", ".pnm"), "image/x-portable-anymap"),
}
"""What is read, by the names of Pillow; HEIF with the extra ``heic`` alone."""

SUFFIXES = frozenset(suffix for format_ in FORMATS.values() for suffix in format_.suffixes)
"""Endings of names, in small letters, of pictures that are read."""

_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_ORIENTATION = 0x0112


def decode(path: Path, max_pixels: int) -> Shaped[np.ndarray, "h w c"]:
    """Returns the first picture of a file, upright, grey or sRGB, with alpha last if it has one.

    Args:
      path: the file; what it is, is seen from its content.
      max_pixels: more are not read.

    Returns:
      uint8, uint16, or float32 in 0 to 1, [H, W, 1 to 4], as deep as the file. The color is not
      multiplied by alpha; black where alpha is 0.

    Raises:
      ImageError: if the file is missing, damaged, no such picture, or too large.
    """
    with faults(path, max_pixels):
        if _starts(path).startswith(tiff.MAGIC):
            read = tiff.read(path, max_pixels)
            if read is not None:
                return raster.to_srgb(read)
        with opened(path) as file:
            if file.width * file.height > max_pixels:
                raise Image.DecompressionBombError
            return raster.to_srgb(_by_pillow(path, file))


def from_pillow(picture: Image.Image, name: str, max_pixels: int) -> Shaped[np.ndarray, "h w c"]:
    """Returns a picture in memory as `decode` does one in a file, as deep as Pillow has it.

    Args:
      picture: of any mode; of several frames the current one.
      name: what errors call it.
      max_pixels: more are not taken.

    Raises:
      ImageError: if it is damaged, too large, or its file was closed.
    """
    if getattr(picture, "tile", None) and getattr(picture, "fp", None) is None:
        raise ImageError(f"{name} was closed before it was read; load it first")
    with faults(name, max_pixels), quiet.warnings_of_python:
        if picture.width * picture.height > max_pixels:
            raise Image.DecompressionBombError
        return raster.to_srgb(_samples(ImageOps.exif_transpose(picture), _profile_of(picture)))


def shape_of(path: Path, max_pixels: int) -> tuple[int, int]:
    """Returns (height, width) of a picture file, upright, from its header alone.

    Raises:
      ImageError: as `decode` does; more than `max_pixels` may be accepted here.
    """
    with faults(path, max_pixels):
        if _starts(path).startswith(tiff.MAGIC):
            return tiff.shape_of(path)
        with opened(path) as file:
            turned = file.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            return (file.width, file.height) if turned else (file.height, file.width)


def accepted() -> str:
    """Returns what is read as the attribute ``accept`` of HTML says it, all on one line."""
    kinds = [format_.media_type for format_ in FORMATS.values()]
    return ",".join((*kinds, *sorted(SUFFIXES)))


def reads_heif() -> bool:
    """Whether the extra for HEIC pictures is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


@contextlib.contextmanager
def opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """Opens a picture by Pillow, which says nothing by itself; its errors are its own."""
    formats = [name for name in FORMATS if name != "HEIF"]
    if _is_heif(_starts(path)):
        formats = ["HEIF"]
        _register_heif(path)
    # From a stream: files that Pillow opens by name it may map, turned TIFF files among them.
    with (
        quiet.warnings_of_python,
        path.open("rb") as stream,
        Image.open(stream, formats=formats) as file,
    ):
        yield file


@contextlib.contextmanager
def faults(path: Path | str, max_pixels: int = 0) -> Iterator[None]:
    """Turns what is wrong with a file into an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"{path} has more than {max_pixels // 10**6} megapixels") from None
    except FileNotFoundError:
        raise ImageError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder, not a picture") from None
    except Image.UnidentifiedImageError:
        raise ImageError(
            f"{path} is not a JPEG, PNG, WebP or TIFF picture, nor AVIF, HEIC, JPEG 2000, GIF, "
            "BMP or PPM"
        ) from None
    except (MemoryError, OverflowError):
        raise ImageError(
            f"cannot read the picture {path}: it takes too much memory, or is damaged"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, RuntimeError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"cannot read the picture {path}: {reason}") from None


def _starts(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(64)


def _is_heif(start: bytes) -> bool:
    brands = start[8 : int.from_bytes(start[:4], "big")]
    return start[4:8] == b"ftyp" and brands[:4] in _HEIF_BRANDS and b"avif" not in brands


def _register_heif(path: Path) -> None:
    """Lets Pillow read HEIF files.

    Raises:
      ImageError: if the library that does is not installed.
    """
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports]  # an extra
    except ImportError:
        raise ImageError(
            f"{path} is a HEIC picture: {remedy('heic')}, or save it as JPEG"
        ) from None
    pillow_heif.register_heif_opener()


def _by_pillow(path: Path, file: ImageFile.ImageFile) -> Raster:
    """Returns the samples of a file that Pillow has opened."""
    if file.format == "PNG" and deep_png.is_deep(path):
        color, alpha = deep_png.read(path.read_bytes())
        model = "L" if color.shape[2] == 1 else "RGB"
        stored = Raster(color, model, alpha, _profile_of(file))
        return raster.upright(stored, file.getexif().get(_ORIENTATION, 1))
    with quiet.standard_error if file.format == "TIFF" else contextlib.nullcontext():
        file.load()
    return _samples(ImageOps.exif_transpose(file), _profile_of(file))


def _profile_of(file: Image.Image) -> bytes | None:
    """Returns the color profile of a file; a damaged one may be a number or a text."""
    profile = file.info.get("icc_profile")
    return profile if isinstance(profile, bytes) else None


def _samples(image: Image.Image, profile: bytes | None) -> Raster:
    """Returns the samples of a picture in any mode of Pillow."""
    if image.mode.startswith("I"):  # 16 bits, of PPM files in 32
        deep = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
        return Raster(deep[..., None], "L", None, profile)
    if image.mode == "F":
        return Raster(raster.unit(np.asarray(image))[..., None], "L", None, profile)
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("LA", "La") else "RGBA")
        alpha = np.asarray(image.getchannel("A"))
        image = image.convert("L" if image.mode == "LA" else "RGB")
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGB")
    color = np.atleast_3d(np.asarray(image))
    return Raster(color, cast(Model, image.mode), alpha, profile)
