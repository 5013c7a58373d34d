"""Patches of a map as windows of it: their sums, products and values."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

CHUNK_BYTES = 32 * 2**20
"""Products held at a time; the matches do not depend on it."""

SCORE_BLOCK = 32
"""The best score is looked for in blocks of this many: XLA's argmax is much slower
than its max, so the block with the highest maximum is found first."""


def window_sums(values: Float[Array, "h w"], size: int) -> Float[Array, "h w"]:
    """Returns the sum of the window that starts at each position, cut off at the border."""
    after = ((0, size - 1), (0, size - 1))
    return lax.reduce_window(values, 0.0, lax.add, (size, size), (1, 1), after)


def stacked(maps: tuple[Array, ...]) -> Array:
    """Returns maps one below the other, zeros on the right of the narrower ones."""
    columns = max(values.shape[1] for values in maps)
    return jnp.concatenate(
        [jnp.pad(values, ((0, 0), (0, columns - values.shape[1]), (0, 0))) for values in maps]
    )


def centers(values: Array, patch_size: int) -> Array:
    """Returns at the start of each patch the value at its center."""
    after = (patch_size - 1) // 2
    return jnp.pad(values[after:, after:], ((0, after), (0, after)))


def project(features: Array, projection: Array) -> Array:
    """Returns the projected patch that starts at each position, by one convolution.

    Zeros stand for what lies beyond the last row and column.
    """
    after = projection.shape[0] - 1
    return lax.conv_general_dilated(
        features[None],
        projection,
        window_strides=(1, 1),
        padding=((0, after), (0, after)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )[0]


def gather(values: Float[Array, "h w c"], starts: Int[Array, " m"], size: int) -> Array:
    """Returns the patches that start at flat positions, flattened, [m, k·k·C]."""
    offsets = np.arange(size)
    inside = (offsets[:, None] * values.shape[1] + offsets).ravel()
    flat = values.reshape(-1, values.shape[-1])
    return flat[starts[:, None] + inside].reshape(starts.shape[0], -1)
