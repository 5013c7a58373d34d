"""Picture files ↔ float32 sRGB arrays."""

import dataclasses
import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped
from PIL import Image, PngImagePlugin

from jaxmrf.core.config import Shape
from jaxmrf.errors import ImageError
from jaxmrf.files import atomic, decode, raster

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
_EXIF_SOFTWARE = 0x0131


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture in memory.

    Attributes:
      pixels: sRGB in 0 to 1, upright, float32 [H, W, 3]; not multiplied by alpha, white where
        that is 0.
      alpha: opacity in 0 to 1, float32 [H, W]; None: the picture has none.
    """

    pixels: Float[np.ndarray, "h w 3"]
    alpha: Float[np.ndarray, "h w"] | None = None

    def on_white(self) -> Float[np.ndarray, "h w 3"]:
        """Returns the picture on white paper."""
        if self.alpha is None:
            return self.pixels
        return self.pixels * self.alpha[..., None] + (1 - self.alpha[..., None])


def load(path: Path) -> Picture:
    """Reads a picture file of any kind in `decode.FORMATS`, of any mode and depth.

    The first picture of several. Its orientation is applied, an embedded ICC profile converted to
    sRGB. 16 bits and floats are read in full, but for CMYK, profiles that are tables, and what
    Pillow alone reads (`decode.decode`).

    Raises:
      ImageError: if the file is missing, damaged, no such picture, or too large.
    """
    return from_samples(decode.decode(path, MAX_PIXELS))


def from_samples(values: Shaped[np.ndarray, "h w c"]) -> Picture:
    """Returns the picture of grey or sRGB samples, with alpha last if there are 2 or 4.

    Args:
      values: uint8, uint16, or float32 in 0 to 1, [H, W, 1 to 4]; the color is not multiplied by
        alpha.
    """
    samples = raster.as_kind(values, np.dtype(np.float32))
    color, alpha = samples, None
    if samples.shape[2] in (2, 4):
        color, alpha = samples[..., :-1], samples[..., -1]
        color = np.where(alpha[..., None] > 0, color, np.float32(1))
    return Picture(np.repeat(color, 3, axis=-1) if color.shape[2] == 1 else color, alpha)


def shown(path: Path) -> Image.Image:
    """Reads a picture file as screens show it: 8-bit RGB, on white where it is transparent.

    Raises:
      ImageError: as `load` does.
    """
    values = raster.as_kind(decode.decode(path, MAX_PIXELS), np.dtype(np.uint8))
    picture = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    if values.shape[2] in (1, 3):
        return picture.convert("RGB")
    paper = Image.new("RGB", picture.size, "white")
    paper.paste(picture.convert("RGB"), mask=picture.getchannel("A"))
    return paper


def reencode(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[str, bytes]:
    """Returns suffix and content of a file with the pixels of a picture and nothing else.

    It loads to the very same `Picture`; what else was in the file (metadata, profiles, colors
    that nobody can see, whatever follows the picture) is gone.

    Raises:
      ImageError: as `load` does, and if there are more than `max_pixels`.
    """
    import tifffile  # loaded when needed: it takes long

    values = decode.decode(path, max_pixels)
    channels = values.shape[2]
    buffer = io.BytesIO()
    if values.dtype == np.uint8:
        plain = Image.fromarray(values[..., 0] if channels == 1 else values)
        plain.save(buffer, "PNG", compress_level=1)
        return ".png", buffer.getvalue()
    tifffile.imwrite(
        buffer,
        values[..., 0] if channels == 1 else values,
        photometric="minisblack" if channels < 3 else "rgb",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        predictor=values.dtype == np.uint16,
        metadata=None,
    )
    return ".tif", buffer.getvalue()


def shape_of(path: Path) -> tuple[int, int]:
    """Returns (height, width) of a picture file, upright, from its header alone.

    Raises:
      ImageError: if the file is missing, damaged or no such picture.
    """
    return decode.shape_of(path, MAX_PIXELS)


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
    if f".{chosen}" not in WRITABLE:
        endings = ", ".join(ending[1:] for ending in WRITABLE)
        raise ImageError(f"cannot write {path} as {chosen}: choose from {endings}")
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
    if format_name == "TIFF":
        tifffile.imwrite(
            buffer,
            _whole_numbers(picture, np.uint16),
            photometric="rgb",
            extrasamples=None if picture.alpha is None else ["unassalpha"],
            compression="zlib",
            predictor=True,
            description=description,
            software="jaxmrf",
            metadata=None,
        )
        return buffer.getvalue()
    if format_name == "JPEG":
        picture = Picture(picture.pixels)
    image = to_pillow(picture)
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


def to_pillow(picture: Picture) -> Image.Image:
    """Returns a picture as one of Pillow: 8 bits, RGB or RGBA."""
    return Image.fromarray(_whole_numbers(picture, np.uint8))


def _whole_numbers(picture: Picture, kind: type[np.unsignedinteger]) -> np.ndarray:
    """Returns the samples of a picture as whole numbers, alpha last if there is any."""
    layers = [picture.pixels]
    if picture.alpha is not None:
        layers.append(picture.alpha[..., None])
    values = np.clip(np.concatenate(layers, axis=-1), 0.0, 1.0)
    return np.rint(values * np.iinfo(kind).max).astype(kind)


def read_settings(path: Path) -> dict[str, object]:
    """Returns the record that `save` stored in a picture, or what others have in its place.

    Raises:
      ImageError: if the file cannot be read, or has no JSON object there.
    """
    with decode.faults(path), decode.opened(path) as file:
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
