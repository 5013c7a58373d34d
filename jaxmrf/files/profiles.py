"""Embedded color profiles (ICC) → sRGB, in the depth of the picture."""

import io
import struct
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageCms

Curve = Callable[[np.ndarray], np.ndarray]

ROWS = 256
"""Rows converted at once: more would take several times the memory of the picture."""

SRGB_TO_XYZ = np.array(
    [[0.4360747, 0.3850649, 0.1430804],
     [0.2225045, 0.7168786, 0.0606169],
     [0.0139322, 0.0971045, 0.7141733]]
)  # fmt: skip
"""Linear sRGB → XYZ under D50, adapted by Bradford, as in the profile of the ICC."""

DARK = 0.1842
"""Linear light of half the lightness: no black point is taken to be brighter."""


def convert(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Returns a picture of 8 bits, RGB in sRGB; None if the profile cannot be used for it."""
    if image.mode == "L" and _space_of(profile) == b"RGB ":
        image = image.convert("RGB")
    try:
        return ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError):
        return None


def convert_deep(
    color: Float[np.ndarray, "h w c"], profile: bytes
) -> Float[np.ndarray, "h w c_out"] | None:
    """Returns deep colors in sRGB, by the curves and the matrix of a profile.

    Args:
      color: grey or RGB in 0 to 1, c is 1 or 3.
      profile: content of the profile; one for RGB is used for grey, too.

    Returns:
      Values in 0 to 1; None if the profile has no such curves: it is a table, or damaged.
    """
    try:
        tags = _tags(profile)
        if b"A2B0" in tags or profile[20:24] != b"XYZ ":
            return None
        if _space_of(profile) == b"GRAY" and color.shape[2] == 1:
            curves, matrix = [_curve(tags[b"kTRC"])], np.eye(1)
        elif _space_of(profile) == b"RGB ":
            curves = [_curve(tags[name + b"TRC"]) for name in (b"r", b"g", b"b")]
            columns = [_fixed(tags[name + b"XYZ"][8:20]) for name in (b"r", b"g", b"b")]
            matrix = np.linalg.inv(SRGB_TO_XYZ) @ np.array(columns).T
        else:
            return None
    except (KeyError, ValueError, IndexError, struct.error):
        return None
    black = np.array([float(curve(np.zeros(1))[0]) for curve in curves]) @ matrix.T
    black = np.clip(black @ (SRGB_TO_XYZ[1] if len(curves) > 1 else np.ones(1)), 0, DARK)
    converted = np.empty(color.shape, np.float32)
    for top in range(0, len(color), ROWS):
        part = color[top : top + ROWS]
        channels = np.broadcast_to(part, (*part.shape[:2], len(curves)))
        linear = [curve(channels[..., index]) for index, curve in enumerate(curves)]
        linear = np.stack(linear, axis=-1) @ matrix.T
        painted = _encoded((linear - black) / (1 - black))  # as LittleCMS compensates
        converted[top : top + ROWS] = painted if color.shape[2] > 1 else painted[..., :1]
    return converted


def _space_of(profile: bytes) -> bytes:
    """Returns the colors that a profile is for, such as ``RGB `` or ``GRAY``."""
    return profile[16:20]


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = (struct.unpack_from(">4sII", profile, 132 + 12 * index) for index in range(count))
    return {name: profile[start : start + size] for name, start, size in entries}


def _fixed(content: bytes) -> np.ndarray:
    """Returns numbers of the kind s15Fixed16."""
    return np.frombuffer(content, ">i4") / 65536


def _curve(tag: bytes) -> Curve:
    """Returns a tone curve, from the values of a picture to linear light (ICC.1, 10.6 and 10.18).

    Raises:
      ValueError: if it is of no kind that is known.
    """
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        table = np.frombuffer(tag, ">u2", count, 12)
        if count > 1:
            grid = np.linspace(0, 1, count)
            return lambda values: np.interp(values, grid, table / 65535)
        return _power(table[0] / 256 if count else 1.0)
    if tag[:4] != b"para":
        raise ValueError("no curve")
    (kind,) = struct.unpack_from(">H", tag, 8)
    numbers = [float(number) for number in _fixed(tag[12 : 12 + 4 * (1, 3, 4, 5, 7)[kind]])]
    if kind == 0:
        return _power(*numbers)
    gamma, a, b, *rest = numbers
    if kind < 3:  # below the point where the power begins it is flat
        (offset,) = rest or (0.0,)
        start, slope, below = -b / a, 0.0, offset
    else:
        slope, start, *offsets = rest
        offset, below = offsets or (0.0, 0.0)

    def curve(values: np.ndarray) -> np.ndarray:
        above = np.maximum(a * values + b, 0) ** gamma + offset
        return np.where(values >= start, above, slope * values + below)

    return curve


def _power(exponent: float) -> Curve:
    return lambda values: values**exponent


def _encoded(linear: np.ndarray) -> np.ndarray:
    """Returns linear light as sRGB (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
