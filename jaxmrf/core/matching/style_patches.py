"""All patches of a style layer in one sheet, and the match of a patch among them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxmrf.core.config import Metric, Shape
from jaxmrf.core.matching import patches
from jaxmrf.core.matching.windows import centers, stacked, window_sums
from jaxmrf.core.numerics import TINY


class StylePatches(NamedTuple):
    """All patches of one style layer, over all copies of the style.

    The score of patch p with style patch s is ``scale · p·s + offset``, divided by ‖p‖ for
    the cosine and by ‖p‖² for the distance, and then ``bias`` is added.

    Attributes:
      sheet: feature maps of all copies one below the other, zeros on their right.
      scale: one over the norm of the patch that starts at a position of the sheet, or one
        for the distance; minus one where none starts.
      offset: minus half the squared norm, for the distance; None for the cosine.
      bias: what speaks for a copy; None: nothing does.
      labels: of the centers of the patches; None without guides.
      mean_square: mean squared length of a feature vector.
      index: what a matcher prepared, see `matchers.Matcher`; for `match` an `Index`, or
        None: all pairs are compared.
    """

    sheet: Float[Array, "rows columns c"]
    scale: Float[Array, "rows columns"]
    offset: Float[Array, "rows columns"] | None
    bias: Float[Array, "rows columns"] | None
    labels: Int[Array, "rows columns"] | None
    mean_square: Float[Array, ""]
    index: Any = None


class Match(NamedTuple):
    """The nearest style patch of every patch of a grid.

    Attributes:
      position: where the style patch starts: row · columns + column of the sheet.
      score: see `StylePatches`; a cosine is between 0 and 1 for ReLU features.
    """

    position: Int[Array, "rows columns"]
    score: Float[Array, "rows columns"]


def collect(
    maps: tuple[Float[Array, "_ _ c"], ...],
    patch_size: int,
    stride: int,
    *,
    border: int = 0,
    metric: Metric = "cosine",
    bias: Float[Array, " maps"] | None = None,
    labels: tuple[Int[Array, "_ _"], ...] | None = None,
) -> StylePatches:
    """Lists the patches of the feature maps of all style copies.

    Args:
      maps: feature maps of the style copies.
      patch_size: side of a patch.
      stride: distance of neighboring patches.
      border: so many outermost patches on each side are left out, see `starts`.
      metric: what patches are compared by.
      bias: what speaks for the patches of each map.
      labels: of the positions of each map.

    Raises:
      ValueError: if no patch fits into one of the maps.
    """
    sheet = stacked(maps)
    starts = _start_mask([features.shape[:2] for features in maps], patch_size, stride, border)
    squares = jnp.sum(jnp.square(sheet), axis=-1)
    square_norm = window_sums(squares, patch_size)
    if metric == "cosine":
        scale, offset = 1.0 / jnp.maximum(jnp.sqrt(square_norm), TINY), None
    else:
        scale, offset = jnp.ones_like(square_norm), -0.5 * square_norm
    scale = jnp.where(starts, scale, -1.0)
    if bias is not None:
        bias = stacked(
            tuple(
                jnp.broadcast_to(map_bias, (*features.shape[:2], 1))
                for map_bias, features in zip(bias, maps, strict=True)
            )
        )[..., 0]
    of_centers = None
    if labels is not None:
        sheet_labels = stacked(tuple(map_labels[..., None] for map_labels in labels))[..., 0]
        of_centers = centers(sheet_labels, patch_size)
    count = sum(features.shape[0] * features.shape[1] for features in maps)
    return StylePatches(sheet, scale, offset, bias, of_centers, jnp.sum(squares) / count)


def starts(shapes: Sequence[Shape], patch_size: int, stride: int, border: int = 0) -> np.ndarray:
    """Returns the flat positions of the sheet where patches start, int [n], see `collect`.

    Patches at the border of a picture have seen the zeros beside it: they are like those at
    the border of any other picture, whatever is painted there, and can be left out.

    Args:
      shapes: (height, width) of the maps.
      patch_size: side of a patch.
      stride: distance of neighboring patches.
      border: so many outermost patches on each side are left out, where twice as many remain.

    Raises:
      ValueError: if no patch fits into one of the maps.
    """
    return np.flatnonzero(_start_mask(shapes, patch_size, stride, border))


def _start_mask(shapes: Sequence[Shape], patch_size: int, stride: int, border: int) -> np.ndarray:
    """Returns where in the sheet a patch starts, bool [rows, columns]."""
    mask = np.zeros((sum(height for height, _ in shapes), max(w for _, w in shapes)), bool)
    first_row = 0
    for height, width in shapes:
        rows, columns = (patches.positions(side, patch_size, stride) for side in (height, width))
        rows, columns = (
            positions[border : len(positions) - border]
            if len(positions) >= 4 * border
            else positions
            for positions in (rows, columns)
        )
        mask[np.ix_(first_row + rows, columns)] = True
        first_row += height
    return mask
