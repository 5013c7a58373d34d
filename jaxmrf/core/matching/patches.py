"""Square patches of a feature map: where they are, and putting them back together.

A patch grid takes every `stride`-th position and, where the last one would leave a
border uncovered, one more at the very end (the tail patch; `computegrid` in the
authors' mylib/helper.lua). Positions depend on shapes alone, so they are NumPy
arrays and become constants of a compiled program.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxmrf.core.config import Shape


def positions(length: int, patch_size: int, stride: int) -> np.ndarray:
    """Returns the first index of every patch along an axis, int32 [n], tail included.

    Args:
      length: number of feature positions along the axis.
      patch_size: side of a patch, at most `length`.
      stride: distance of neighboring patches.

    Raises:
      ValueError: if not even one patch fits.

    Example:
      >>> positions(8, patch_size=3, stride=2).tolist()
      [0, 2, 4, 5]
    """
    last = length - patch_size
    if last < 0:
        raise ValueError(f"a patch of {patch_size} does not fit into {length} positions")
    regular = np.arange(0, last + 1, stride, dtype=np.int32)
    return regular if regular[-1] == last else np.append(regular, np.int32(last))


def corners(shape: Shape, patch_size: int, stride: int) -> np.ndarray:
    """Returns the flat positions where the patches of a map start, int32 [rows, columns].

    Args:
      shape: (height, width) of the map.
      patch_size: side of a patch.
      stride: distance of neighboring patches.

    Raises:
      ValueError: if not even one patch fits.
    """
    rows, columns = (positions(side, patch_size, stride) for side in shape)
    return rows[:, None] * shape[1] + columns


class Cover(NamedTuple):
    """Which patches cover each position of an axis, in `depth` slots.

    Attributes:
      patch: index into `positions` of the covering patch, int32 [length, depth].
      offset: the position's place inside that patch, int32 [length, depth].
      present: 1 where the slot is used, else 0, float32 [length, depth].
    """

    patch: np.ndarray
    offset: np.ndarray
    present: np.ndarray


def cover(length: int, patch_size: int, stride: int) -> Cover:
    """Returns the patches that cover each position of an axis of `length` positions."""
    starts = positions(length, patch_size, stride)
    offsets = np.arange(length)[:, None] - starts[None, :]
    inside = (offsets >= 0) & (offsets < patch_size)
    depth = int(inside.sum(axis=1).max())
    # A stable sort brings the covering patches to the front, in order.
    slots = np.argsort(~inside, axis=1, kind="stable")[:, :depth]
    present = np.take_along_axis(inside, slots, axis=1)
    offset = np.where(present, np.take_along_axis(offsets, slots, axis=1), 0)
    return Cover(
        np.where(present, slots, 0).astype(np.int32),
        offset.astype(np.int32),
        present.astype(np.float32),
    )


def overlap_counts(height: int, width: int, patch_size: int, stride: int) -> np.ndarray:
    """Returns how many patches cover each position, float32 [height, width].

    With a stride above the patch size some positions count 0.
    """
    rows = cover(height, patch_size, stride).present.sum(axis=1)
    columns = cover(width, patch_size, stride).present.sum(axis=1)
    return np.outer(rows, columns)


def reassemble(
    sheet: Float[Array, "rows columns c"],
    position: Int[Array, "m n"],
    shape: Shape,
    patch_size: int,
    stride: int,
) -> Float[Array, "h w c"]:
    """Blends style patches into a feature map: T̄ of the design, by gathers alone.

    Args:
      sheet: feature maps of the style.
      position: for each patch of the grid where its match starts in the sheet, as
        row · columns + column.
      shape: height and width of the result.
      patch_size: side of a patch.
      stride: distance of neighboring patches in the result.

    Returns:
      At each position the mean, over the patches that cover it, of the style
      feature that the patch's match puts there; 0 where no patch covers it.
    """
    height, width = shape
    vertical, horizontal = cover(height, patch_size, stride), cover(width, patch_size, stride)
    columns, channels = sheet.shape[1:]
    pixels = sheet.reshape(-1, channels)
    total = jnp.zeros((*shape, channels), sheet.dtype)
    for i in range(vertical.patch.shape[1]):
        for j in range(horizontal.patch.shape[1]):
            match = _rows(_rows(position, vertical.patch[:, i]).T, horizontal.patch[:, j]).T
            offset = vertical.offset[:, i, None] * columns + horizontal.offset[None, :, j]
            present = np.outer(vertical.present[:, i], horizontal.present[:, j])
            total += jnp.asarray(present, sheet.dtype)[..., None] * _rows(pixels, match + offset)
    counts = overlap_counts(height, width, patch_size, stride)
    return total / jnp.asarray(np.maximum(counts, 1.0), sheet.dtype)[..., None]


def _rows(values: Array, places: Array | np.ndarray) -> Array:
    """Returns the rows at places that are known to be there: a gather without checks."""
    return values.at[places].get(mode="promise_in_bounds", wrap_negative_indices=False)
