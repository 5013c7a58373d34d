"""Pictures as callers have them, arrays, pictures of Pillow or names of files, read alike."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped
from PIL import Image

from jaxmrf.core.config import Shape
from jaxmrf.errors import ConfigError
from jaxmrf.files import decode, image
from jaxmrf.files.image import Picture

ROUNDING = 0.01
"""Values may be so far outside of 0 to 1, as resampling leaves them; they are cut off."""

KINDS = "an array, a picture of Pillow, or the name of a file"


@runtime_checkable
class HasArray(Protocol):
    """Arrays of NumPy and JAX, and whatever else NumPy can make an array of."""

    def __array__(self) -> np.ndarray:
        """Returns the array."""
        ...


PictureLike = HasArray | Image.Image | str | os.PathLike[str] | Picture
"""What is taken where a picture is meant; see `read`."""


def read(source: object, role: str) -> Picture:
    """Returns a picture, whatever a caller has it as.

    Args:
      source: one of `PictureLike`. Arrays are [height, width], or [height, width, channels] with 1
        (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGBA) channels; uint8, uint16, booleans, or
        floats in 0 to 1; sRGB, not multiplied by alpha. Of pictures of Pillow orientation and
        profile are applied, and of files as `image.load` says.
      role: what errors call it, such as ``content``.

    Raises:
      ConfigError: if it is of another kind, shape or type, or has values out of range.
      ImageError: if the file cannot be read.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, str | os.PathLike):
        return image.load(Path(source))
    if isinstance(source, Image.Image):
        samples = decode.from_pillow(source, role, image.MAX_PIXELS)
    elif isinstance(source, HasArray):
        samples = _samples(np.asarray(source), role)
    else:
        raise ConfigError(f"{role} is of type {type(source).__name__}; give {KINDS}")
    if not samples.size:
        raise ConfigError(f"{role} has no pixels")
    return image.from_samples(samples)


def shape_of(source: object, role: str) -> Shape:
    """Returns (height, width) of a picture, upright; of a file only the header is read.

    Raises:
      ConfigError: as `read` does.
      ImageError: if the file is missing, damaged or no picture.
    """
    if isinstance(source, str | os.PathLike):
        return image.shape_of(Path(source))
    return read(source, role).pixels.shape[:2]


def listed(sources: object) -> tuple[Any, ...]:
    """Returns one picture or several as a tuple."""
    if isinstance(sources, HasArray | Image.Image | str | Picture):
        return (sources,)
    return tuple(sources) if isinstance(sources, Iterable) else (sources,)


def called(source: object, role: str) -> str:
    """Returns what errors call a picture: its role, with the name of its file if it has one.

    Example:
      >>> called("black.png", "the mask"), called(np.zeros((2, 2)), "the mask")
      ('the mask black.png', 'the mask')
    """
    return f"{role} {os.fspath(source)}" if isinstance(source, str | os.PathLike) else role


def title(source: object) -> str:
    """Returns what the record of an output calls a picture that it was made from: no folders.

    Example:
      >>> title("folder/cat.jpg"), title(np.zeros((2, 2)))
      ('cat.jpg', 'array')
    """
    name = getattr(source, "filename", None) if isinstance(source, Image.Image) else source
    if isinstance(name, str | os.PathLike):
        return Path(name).name
    return "picture" if isinstance(source, Image.Image | Picture) else "array"


def _check_shape(shape: Shape, role: str) -> None:
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 2, 3, 4)):
        return
    raise ConfigError(
        f"{role} has shape {shape}; it must be [height, width], or [height, width, channels] with "
        "1 to 4 channels"
    )


def _samples(values: np.ndarray, role: str) -> Shaped[np.ndarray, "h w c"]:
    """Returns the samples of an array, uint8, uint16 or float32 in 0 to 1."""
    _check_shape(values.shape, role)
    values = np.atleast_3d(values)
    if values.dtype in (np.uint8, np.uint16) or not values.size:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.float32)
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ConfigError(
            f"{role} has values of type {values.dtype}; they must be floats from 0 to 1, or uint8"
        )
    lowest, highest = float(values.min()), float(values.max())
    if not np.isfinite([lowest, highest]).all():
        raise ConfigError(f"{role} has values that are not finite")
    if lowest < -ROUNDING or highest > 1 + ROUNDING:
        hint = ": divide by 255" if lowest >= 0 and 2 < highest <= 255 else ""
        raise ConfigError(
            f"{role} has values from {lowest:.4g} to {highest:.4g}; floats go from 0 to 1{hint}"
        )
    if values.dtype == np.float32 and lowest >= 0 and highest <= 1:
        return values
    return np.clip(values.astype(np.float32), 0, 1)
