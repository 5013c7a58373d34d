"""Places in the styles as colors: the key of the match maps."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from jaxmrf.core.config import Shape

CORNERS = np.array(
    [[[0.99, 0.86, 0.20], [0.88, 0.16, 0.24]], [[0.10, 0.68, 0.42], [0.17, 0.22, 0.80]]], np.float32
)
"""Colors of the corners of the key, sRGB: yellow and red above, green and blue below."""

SQUARES, SHADE = 8, 0.8
"""Squares along the longer side of a style, every other one darker by this factor: they show
the size and the turn of what was copied, and where copied pieces meet."""


def colored(
    place: Float[np.ndarray, "h w 2"],
    style: Int[np.ndarray, "h w"],
    shapes: Sequence[Shape],
) -> Float[np.ndarray, "h w 3"]:
    """Returns the color of each place in the styles; several share the key from left to right.

    Args:
      place: (row, column) in 0 to 1.
      style: which style it is in.
      shapes: (height, width) of each style.
    """
    down, across = place[..., :1], (style[..., None] + place[..., 1:]) / len(shapes)
    upper, lower = (left + across * (right - left) for left, right in CORNERS)
    color = upper + down * (lower - upper)
    sides = np.asarray(shapes, np.float32)
    squares = SQUARES * sides / sides.max(axis=1, keepdims=True)
    dark = np.floor(place * squares[style]).sum(axis=-1) % 2 == 1
    return np.where(dark[..., None], SHADE * color, color).astype(np.float32)


def keys(shapes: Sequence[Shape]) -> list[Float[np.ndarray, "_ _ 3"]]:
    """Returns a picture with the color of each place, for styles of these (height, width)."""
    pictures = []
    for number, (height, width) in enumerate(shapes):
        rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
        place = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).astype(np.float32)
        pictures.append(colored(place, np.full((height, width), number), shapes))
    return pictures
