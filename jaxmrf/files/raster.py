"""The samples of a picture, whatever file they are from, and how they become sRGB."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped
from PIL import Image

from jaxmrf.files import profiles

Model = Literal["L", "RGB", "CMYK", "LAB"]


class UnsupportedError(ValueError):
    """A sound file of a kind that is not supported; the message says which."""


@dataclasses.dataclass(frozen=True)
class Raster:
    """A picture as a file holds it, upright.

    Attributes:
      color: samples of a color model, uint8, uint16 or float32 in 0 to 1, [H, W, C].
      model: as Pillow calls it; C is 1, 3, 4, 3.
      alpha: opacity that the color is not multiplied by, of the kind of `color`, [H, W];
        None: the file has none.
      profile: ICC profile of the color.
    """

    color: Shaped[np.ndarray, "h w c"]
    model: Model
    alpha: Shaped[np.ndarray, "h w"] | None = None
    profile: bytes | None = None


def to_srgb(raster: Raster) -> Shaped[np.ndarray, "h w c"]:
    """Returns grey or sRGB, with alpha last if there is any: 1, 2, 3 or 4 channels.

    What is fully transparent is black: colors that nobody can see are not kept. CMYK, and what a
    profile has tables for, has 8 bits then.
    """
    color = _converted(raster)
    if raster.alpha is None:
        return color
    alpha = as_kind(raster.alpha, color.dtype)
    return np.concatenate([np.where(alpha[..., None] > 0, color, 0), alpha[..., None]], axis=-1)


def as_kind(values: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Returns samples as uint8, uint16, or float32 in 0 to 1."""
    if values.dtype == kind:
        return values
    unit = np.divide(values, np.float32(highest(values.dtype)), dtype=np.float32)
    return unit if kind.kind == "f" else np.rint(unit * highest(kind)).astype(kind)


def highest(kind: np.dtype) -> int:
    """Returns the value of white."""
    return 1 if kind.kind == "f" else int(np.iinfo(kind).max)


def unit(values: np.ndarray, bright: bool = True) -> Float[np.ndarray, "..."]:
    """Returns floats in 0 to 1; those above 1 are scaled down if `bright`, else cut off.

    Raises:
      UnsupportedError: if some are not finite.
    """
    if np.isnan(values).any():
        raise UnsupportedError("some of its pixels are not a number (NaN)")
    if np.isinf(values).any():
        raise UnsupportedError("some of its pixels are infinite")
    white = max(1.0, float(values.max(initial=0.0))) if bright else 1.0
    return np.clip(values / values.dtype.type(white), 0, 1).astype(np.float32)


def upright(stored: Raster, orientation: int) -> Raster:
    """Returns a picture turned and mirrored as EXIF says (tag 0x0112)."""
    alpha = None if stored.alpha is None else _turned(stored.alpha, orientation)
    return dataclasses.replace(stored, color=_turned(stored.color, orientation), alpha=alpha)


def _turned(values: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def _converted(raster: Raster) -> np.ndarray:
    """Returns grey or sRGB samples; a profile that cannot be used is ignored."""
    color, profile = raster.color, raster.profile
    is_plain = raster.model in ("L", "RGB")
    if is_plain and profile and color.dtype != np.uint8:
        deep = profiles.convert_deep(as_kind(color, np.dtype(np.float32)), profile)
        if deep is not None:
            return as_kind(deep, color.dtype)
    if is_plain and not profile:
        return color
    eight = as_kind(color, np.dtype(np.uint8))
    height, width = eight.shape[:2]
    image = Image.frombytes(raster.model, (width, height), eight.tobytes())
    converted = profiles.convert(image, profile) if profile else None
    if converted is None and is_plain:
        return color
    return np.asarray(converted or image.convert("RGB"))
