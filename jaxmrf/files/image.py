"""Picture files ↔ float32 sRGB arrays."""

import contextlib
import dataclasses
import io
import json
import os
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageCms, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin

from jaxmrf.core.config import Shape
from jaxmrf.errors import ImageError
from jaxmrf.files import atomic

READABLE = ("JPEG", "PNG", "WEBP", "TIFF")
WRITABLE = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
MAX_PIXELS = 178_000_000
"""Pictures with more pixels are not read; Pillow itself refuses slightly more."""

MAX_OUTPUT_PIXELS = 100_000_000

MAX_SIDE = {"WEBP": 16_383, "JPEG": 65_500}
"""Largest width and height that a format can hold."""

_EXIF_DESCRIPTION = 0x010E
_EXIF_ORIENTATION = 0x0112
_EXIF_SOFTWARE = 0x0131
_TIFF_BITS_PER_SAMPLE = 0x0102


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture in memory.

    Attributes:
      pixels: sRGB in 0 to 1, upright, transparent parts on white, float32 [H, W, 3].
      alpha: opacity in 0 to 1, float32 [H, W], None if the file has none.
    """

    pixels: Float[np.ndarray, "h w 3"]
    alpha: Float[np.ndarray, "h w"] | None = None


def load(path: Path) -> Picture:
    """Reads a JPEG, PNG, WebP or TIFF file of any mode.

    EXIF orientation is applied, an embedded ICC profile converted to sRGB, alpha
    composited on white. 16 bits per channel are read in full from grey pictures, and
    from color TIFF files without an ICC profile; else as 8.

    Raises:
      ImageError: if the file is missing, damaged, no such picture, or too large.
    """
    return _to_picture(_read(path, MAX_PIXELS))


def reencode(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[str, bytes]:
    """Returns suffix and content of a file with the pixels of a picture and nothing else.

    It loads to the very same `Picture`; what else was in the file (metadata, profiles,
    whatever follows the picture) is gone.

    Raises:
      ImageError: as `load` does, and if there are more than `max_pixels`.
    """
    import tifffile  # loaded when needed: it takes long

    plain = _read(path, max_pixels)
    buffer = io.BytesIO()
    if isinstance(plain, np.ndarray):
        tifffile.imwrite(
            buffer,
            plain,
            photometric="rgb",
            extrasamples=["unassalpha"] if plain.shape[2] == 4 else None,
            compression="zlib",
            predictor=True,
            metadata=None,
        )
        return ".tif", buffer.getvalue()
    if plain.mode == "F":
        plain.save(buffer, "TIFF")
        return ".tif", buffer.getvalue()
    plain.save(buffer, "PNG", compress_level=1)
    return ".png", buffer.getvalue()


def _read(path: Path, max_pixels: int) -> Image.Image | np.ndarray:
    """Returns the pixels of a file as `_plain` does, or a 16-bit color array."""
    with _opened(path, max_pixels) as file:
        if file.width * file.height > max_pixels:
            raise Image.DecompressionBombError
        deep = _load_deep_tiff(path, file)
        if deep is not None:
            return deep
        file.load()
        upright = ImageOps.exif_transpose(file)
        return _plain(upright, file.info.get("icc_profile"))


def shape_of(path: Path) -> tuple[int, int]:
    """Returns (height, width) of a picture file, upright, from its header alone.

    Raises:
      ImageError: if the file is missing, damaged or no such picture.
    """
    with _opened(path, MAX_PIXELS) as file:
        turned = file.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
        return (file.width, file.height) if turned else (file.height, file.width)


@contextlib.contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[ImageFile.ImageFile]:
    """Opens a picture; what is wrong with it, also later on, becomes an ImageError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=READABLE) as file:
                yield file
    except Image.DecompressionBombError:
        raise ImageError(f"{path} has more than {max_pixels // 10**6} megapixels") from None
    except FileNotFoundError:
        raise ImageError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder, not a picture") from None
    except Image.UnidentifiedImageError:
        raise ImageError(f"{path} is not a JPEG, PNG, WebP or TIFF picture") from None
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error) as error:
        raise ImageError(f"cannot read the picture {path}: {error}") from None


def format_of(path: Path, chosen: str | None = None) -> str:
    """Returns the format, of those in `WRITABLE`, that a picture is written in.

    Args:
      path: where it is written to.
      chosen: an ending without its point; None: that of the name.

    Raises:
      ImageError: if neither says it, or they say different ones.

    Example:
      >>> format_of(Path("cat.tif")), format_of(Path("cat"), "jpg")
      ('TIFF', 'JPEG')
    """
    named = WRITABLE.get(path.suffix.lower())
    if chosen is None:
        if named is None:
            raise ImageError(
                f"cannot write {path}: the name must end in {', '.join(WRITABLE)}, or --format "
                "say which it is"
            )
        return named
    if named not in (None, WRITABLE[f".{chosen}"]):
        raise ImageError(f"cannot write {path} as {chosen}: its name says {named}")
    return WRITABLE[f".{chosen}"]


def check_output(path: Path, chosen: str | None = None) -> None:
    """Checks before a long run that `path` can be written, without touching it.

    Args:
      path: of the picture.
      chosen: its format, see `format_of`.

    Raises:
      ImageError: if the format is unknown, or the folder missing or not writable.
    """
    format_of(path, chosen)
    try:
        target = Path(os.path.realpath(path))
        if target.is_symlink():
            raise ImageError(f"cannot write {path}: it is a link that leads back to itself")
        if target.is_dir():
            raise ImageError(f"cannot write {path}: it is a folder")
        if not target.parent.is_dir():
            raise ImageError(f"cannot write {path}: there is no folder {target.parent}")
        target.exists()  # fails if the name is too long
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror}") from None


def check_size(path: Path, shape: Shape, chosen: str | None = None) -> None:
    """Checks that a picture of (height, width) `shape` can be made and fits the format.

    Args:
      path: of the picture.
      shape: its size.
      chosen: its format, see `format_of`.

    Raises:
      ImageError: if it is too large.
    """
    if shape[0] * shape[1] > MAX_OUTPUT_PIXELS:
        raise ImageError(
            f"{shape[1]}×{shape[0]} is more than 100 megapixels; choose a smaller size"
        )
    format_name = format_of(path, chosen)
    limit = MAX_SIDE.get(format_name)
    if limit is not None and max(shape) > limit:
        raise ImageError(f"{format_name} holds at most {limit} pixels a side; choose .png or .tif")


def save(
    path: Path, picture: Picture, record: Mapping[str, object], chosen: str | None = None
) -> None:
    """Writes a picture; TIFF has 16 bits.

    Alpha is written where the format has it. The same picture and record give the
    same bytes.

    Args:
      path: the file; a link stays one, and its target is written.
      picture: what to write.
      record: how it was made, stored in the file as JSON (PNG text ``jaxmrf``, else the EXIF
        or TIFF image description).
      chosen: its format, see `format_of`.

    Raises:
      ImageError: if the file cannot be written.
    """
    check_output(path, chosen)
    check_size(path, picture.pixels.shape[:2], chosen)
    content = encode(picture, format_of(path, chosen), record)
    try:
        with atomic.write(path) as temporary:
            temporary.write(content)
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror}") from None


def encode(picture: Picture, format_name: str, record: Mapping[str, object]) -> bytes:
    """Returns the content of a file of a format in `WRITABLE`."""
    import tifffile  # loaded when needed: it takes long

    description = json.dumps(record, sort_keys=True)
    buffer = io.BytesIO()
    layers = [picture.pixels]
    if picture.alpha is not None and format_name != "JPEG":
        layers.append(picture.alpha[..., None])
    values = np.clip(np.concatenate(layers, axis=-1), 0.0, 1.0)
    if format_name == "TIFF":
        tifffile.imwrite(
            buffer,
            np.rint(values * 65535).astype(np.uint16),
            photometric="rgb",
            extrasamples=["unassalpha"] if len(layers) > 1 else None,
            compression="zlib",
            predictor=True,
            description=description,
            software="jaxmrf",
            metadata=None,
        )
        return buffer.getvalue()
    image = Image.fromarray(np.rint(values * 255).astype(np.uint8))
    if format_name == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Software", "jaxmrf")
        text.add_text("jaxmrf", description)
        image.save(buffer, "PNG", pnginfo=text)
    else:
        exif = Image.Exif()
        exif[_EXIF_SOFTWARE] = "jaxmrf"
        exif[_EXIF_DESCRIPTION] = description
        quality = {"quality": 95, "subsampling": 0} if format_name == "JPEG" else {"quality": 95}
        image.save(buffer, format_name, exif=exif, **quality)
    return buffer.getvalue()


def read_settings(path: Path) -> dict[str, object]:
    """Returns the record that `save` stored in a picture, or what others have in its place.

    Raises:
      ImageError: if the file cannot be read, or has no JSON object there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow thinks of the EXIF of others
        with _opened(path, MAX_PIXELS) as file:
            png = isinstance(file, PngImagePlugin.PngImageFile)
            text = file.text.get("jaxmrf") if png else None
            text = text or file.getexif().get(_EXIF_DESCRIPTION)
    try:
        record = json.loads(text or "")
    except (ValueError, TypeError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise ImageError(f"{path} is no picture that jaxmrf made")
    return record


def _load_deep_tiff(path: Path, file: Image.Image) -> np.ndarray | None:
    """Returns a 16-bit color TIFF, which Pillow would cut to 8 bits; None for all others."""
    import tifffile  # loaded when needed: it takes long

    if not isinstance(file, TiffImagePlugin.TiffImageFile) or file.info.get("icc_profile"):
        return None
    if file.mode not in ("RGB", "RGBA"):
        return None
    if 16 not in (file.tag_v2.get(_TIFF_BITS_PER_SAMPLE) or ()):
        return None
    try:
        values = tifffile.imread(path, key=0)
    except (ValueError, KeyError):  # a compression that tifffile does not have
        return None
    if values.dtype != np.uint16 or values.ndim != 3 or values.shape[2] not in (3, 4):
        return None
    return _turned(values, file.getexif().get(_EXIF_ORIENTATION, 1))


def _turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """Returns an array upright that EXIF says is turned or mirrored (tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        values = values.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def _on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return rgb * alpha[..., None] + (1 - alpha[..., None])


def _plain(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Returns a picture without metadata: sRGB with or without alpha, 16-bit or float grey."""
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.asarray(image).astype(np.uint16))
    if image.mode in ("I", "F"):
        grey = np.asarray(image, np.float32)
        grey = grey / max(65535.0 if image.mode == "I" else 1.0, float(grey.max(initial=0.0)))
        return Image.fromarray(np.clip(grey, 0, 1))
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA") if image.mode != "LA" else image
        alpha = image.getchannel("A")
        image = image.convert("RGB") if image.mode == "RGBA" else image.convert("L")
    plain = _to_srgb(image, profile)
    if alpha is not None:
        plain.putalpha(alpha)
    plain.info = {}
    return plain


def _to_picture(plain: Image.Image | np.ndarray) -> Picture:
    """Returns what `_read` returned as floats, on white."""
    if isinstance(plain, Image.Image) and plain.mode in ("I;16", "F"):
        grey = np.asarray(plain, np.float32) / (65535 if plain.mode == "I;16" else 1)
        return Picture(np.repeat(grey[..., None], 3, axis=-1))
    values = np.asarray(plain)
    scaled = values.astype(np.float32) / np.iinfo(values.dtype).max
    if scaled.shape[2] == 3:
        return Picture(scaled)
    return Picture(_on_white(scaled[..., :3], scaled[..., 3]), scaled[..., 3])


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Returns an RGB picture in sRGB; a profile that cannot be used is ignored."""
    if image.mode not in ("RGB", "L", "CMYK", "LAB"):
        image = image.convert("RGB")
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
            if converted is not None:  # as it is if done in place
                return converted
    return image.convert("RGB")
