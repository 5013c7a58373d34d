"""Color: mapping one picture's distribution to another's, keeping the content's own.

Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer"
(arXiv 1606.05897): linear color transfer (section 3.1) and luminance-only transfer
(section 3.2).
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# ITU-R BT.601 luma and the YIQ chrominance axes that the paper's section 3.2 uses.
RGB_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], np.float32
)
QUANTILES = 256
"""Quantiles that a histogram is mapped by."""

VARIANCE_FLOOR = 1e-5
"""Added to the variance of each color direction, so that grey pictures stay mappable."""


def match_distribution(
    image: Float[Array, "h w c"],
    references: Sequence[Float[Array, "_ _ c"]],
    blend: Float[Array, " references"] | None = None,
) -> Float[Array, "h w c"]:
    """Maps mean and covariance of the colors of `image` to those of references.

    The map is linear and the one that moves colors least (Monge–Kantorovich).
    Pictures are sRGB in 0 to 1; the result is clipped to that range. `blend` weighs the
    references; None: all the same.
    """
    mean, covariance = _statistics(image)
    reference_mean, reference_covariance = _mixture(references, blend)
    root = _matrix_power(covariance, 0.5)
    inverse_root = _matrix_power(covariance, -0.5)
    middle = _matrix_power(root @ reference_covariance @ root, 0.5)
    mapping = inverse_root @ middle @ inverse_root
    return jnp.clip((image - mean) @ mapping + reference_mean, 0.0, 1.0)


def match_histogram(
    image: Float[Array, "h w c"],
    references: Sequence[Float[Array, "_ _ c"]],
    blend: Float[Array, " references"] | None = None,
) -> Float[Array, "h w c"]:
    """Maps the histogram of each channel of `image` to that of references, by quantiles.

    Args:
      image: sRGB in 0 to 1.
      references: pictures; of several, the quantiles are averaged.
      blend: weights of the references; None: all the same.
    """
    shares = _shares(references, blend)
    at = jnp.linspace(0.0, 1.0, QUANTILES)

    def one_channel(channel: int) -> Array:
        found = jnp.quantile(image[..., channel], at)
        wanted = sum(
            share * jnp.quantile(reference[..., channel], at)
            for share, reference in zip(shares, references, strict=True)
        )
        # Equal quantiles, of a flat picture, would make the map ambiguous.
        found = found + jnp.arange(QUANTILES) * 1e-7
        return jnp.interp(image[..., channel], found, wanted)

    channels = [one_channel(channel) for channel in range(image.shape[-1])]
    return jnp.clip(jnp.stack(channels, axis=-1), 0.0, 1.0)


def luminance(image: Float[Array, "h w 3"]) -> Float[Array, "h w 3"]:
    """Returns the luminance of an sRGB picture in all three channels."""
    return jnp.repeat((image @ RGB_TO_YIQ[0])[..., None], 3, axis=-1)


def with_chrominance_of(
    image: Float[Array, "h w 3"], colored: Float[Array, "h w 3"]
) -> Float[Array, "h w 3"]:
    """Returns the luminance of `image` with the chrominance of `colored`, in 0 to 1."""
    yiq = colored @ RGB_TO_YIQ.T
    yiq = yiq.at[..., 0].set(image @ RGB_TO_YIQ[0])
    return jnp.clip(yiq @ np.linalg.inv(RGB_TO_YIQ).T, 0.0, 1.0)


def _shares(references: Sequence[Array], blend: Array | None) -> Array:
    """Returns the weights of the references, with a sum of one."""
    weights = jnp.ones(len(references)) if blend is None else blend
    return weights / weights.sum()


def _mixture(references: Sequence[Array], blend: Array | None) -> tuple[Array, Array]:
    """Returns mean and covariance of the colors of all references together."""
    found = [_statistics(reference) for reference in references]
    shares = _shares(references, blend)
    means, covariances = (jnp.stack(values) for values in zip(*found, strict=True))
    mean = shares @ means
    apart = means - mean
    return mean, jnp.tensordot(shares, covariances, 1) + (apart.T * shares) @ apart


def _statistics(image: Array) -> tuple[Array, Array]:
    flat = image.reshape(-1, image.shape[-1])
    mean = flat.mean(axis=0)
    centered = flat - mean
    covariance = centered.T @ centered / flat.shape[0]
    return mean, covariance + VARIANCE_FLOOR * jnp.eye(image.shape[-1])


def _matrix_power(matrix: Array, power: float) -> Array:
    """Returns a power of a symmetric positive definite matrix."""
    values, vectors = jnp.linalg.eigh(matrix)
    return (vectors * jnp.maximum(values, 1e-12) ** power) @ vectors.T
