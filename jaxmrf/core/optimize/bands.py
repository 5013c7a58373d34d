"""Bands of spatial frequency and color, by which L-BFGS is preconditioned."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxmrf.core.numerics import dot

BAND_EDGES = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8)
"""Limits of the frequency bands in cycles per pixel."""


def spectrum(image: Float[Array, "h w c"]) -> Array:
    """Returns the spectrum of each opponent color, [h, w // 2 + 1, c]."""
    colors = dot(image, opponent_colors(image.shape[2], image.dtype).T)
    return jnp.fft.rfft2(colors, axes=(0, 1), norm="ortho")


def band_products(a: Array, b: Array, width: int) -> Float[Array, "bands c"]:
    """Returns the inner products of two spectra of pictures by band and color."""
    # Of the columns of a real picture's spectrum all have a mirror image that is left
    # out, but for the first and, with an even width, the last.
    mirrored = np.full(a.shape[1], 2.0)
    mirrored[0] = 1.0
    if width % 2 == 0:
        mirrored[-1] = 1.0
    products = jnp.real(a * jnp.conj(b)) * jnp.asarray(mirrored, a.real.dtype)[:, None]
    bands = bands_of(a.shape[0], width).ravel()
    member = jax.nn.one_hot(bands, len(BAND_EDGES) + 1, axis=0, dtype=products.dtype)
    return dot(member, products.reshape(-1, a.shape[2]))


def bands_of(height: int, width: int) -> Int[Array, "h half"]:
    """Returns the band of each coefficient of a spectrum, int [h, w // 2 + 1]."""
    frequency = jnp.hypot(jnp.fft.fftfreq(height)[:, None], jnp.fft.rfftfreq(width)[None, :])
    return jnp.digitize(frequency, jnp.asarray(BAND_EDGES))


def opponent_colors(channels: int, dtype: Any) -> Float[Array, "c c"]:
    """Returns brightness and color differences as orthonormal rows: a cosine transform."""
    place = np.arange(channels)
    rows = np.cos(np.pi / channels * np.outer(place, place + 0.5)) * np.sqrt(2 / channels)
    rows[0] = np.sqrt(1 / channels)
    return jnp.asarray(rows, dtype)
