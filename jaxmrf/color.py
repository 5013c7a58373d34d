"""Color: mapping one picture's distribution to another's, keeping the content's own.

Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer"
(arXiv 1606.05897): linear color transfer (section 3.1) and luminance-only transfer
(section 3.2).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# ITU-R BT.601 luma and the YIQ chrominance axes that the paper's section 3.2 uses.
RGB_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], np.float32
)
VARIANCE_FLOOR = 1e-5
"""Added to the variance of each color direction, so that grey pictures stay mappable."""


def match_distribution(
    image: Float[Array, "h w c"], reference: Float[Array, "_ _ c"]
) -> Float[Array, "h w c"]:
    """Maps mean and covariance of the colors of `image` to those of `reference`.

    The map is linear and the one that moves colors least (Monge–Kantorovich).
    Pictures are sRGB in 0 to 1; the result is clipped to that range.
    """
    mean, covariance = _statistics(image)
    reference_mean, reference_covariance = _statistics(reference)
    root = _matrix_power(covariance, 0.5)
    inverse_root = _matrix_power(covariance, -0.5)
    middle = _matrix_power(root @ reference_covariance @ root, 0.5)
    mapping = inverse_root @ middle @ inverse_root
    return jnp.clip((image - mean) @ mapping + reference_mean, 0.0, 1.0)


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
