"""Color: mapping one picture's distribution to another's, keeping the content's own.

Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer"
(arXiv 1606.05897): linear color transfer (section 3.1) and luminance-only transfer
(section 3.2).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

# ITU-R BT.601 luma and the YIQ chrominance axes that the paper's section 3.2 uses.
RGB_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], np.float32
)
QUANTILES = 256
"""Quantiles that a histogram is mapped by."""

VARIANCE_FLOOR = 1e-5
"""Added to the variance of each color direction, so that grey pictures stay mappable."""


class Palette(NamedTuple):
    """The distribution of the colors of one or more pictures.

    Attributes:
      mean: of the colors.
      covariance: of the colors.
    """

    mean: Float[Array, " c"]
    covariance: Float[Array, "c c"]


class Finish(NamedTuple):
    """The colors that a finished picture is brought to.

    Attributes:
      palette: of the paintings.
      grey: whether photograph and paintings are grey, so that the picture is, too.
    """

    palette: Palette
    grey: Bool[Array, ""]


def finish(
    content: Float[Array, "_ _ 3"],
    references: Sequence[Float[Array, "_ _ 3"]],
    blend: Float[Array, " references"] | None = None,
) -> Finish:
    """Returns the colors that a photograph painted after `references` is brought to."""
    grey = jnp.stack([jnp.ptp(picture, axis=-1).max() == 0 for picture in (content, *references)])
    return Finish(palette(references, blend), grey.all())


def finished(
    image: Float[Array, "h w 3"],
    colors: Finish,
    strength: Float[Array, ""] | float,
    where: Bool[Array, "h w 1"] | None = None,
) -> Float[Array, "h w 3"]:
    """Returns a picture with its mean and covariance brought to those of the paintings.

    Args:
      image: sRGB in 0 to 1.
      colors: from `finish`.
      strength: 0 leaves the picture as it is, 1 maps all the way.
      where: what the distribution of the picture is taken from; None: all of it.
    """
    mapped = with_palette(image, colors.palette, where)
    mapped = jnp.clip(image + strength * (mapped - image), 0.0, 1.0)
    return jnp.where(colors.grey, luminance(mapped), mapped)


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
    return jnp.clip(with_palette(image, palette(references, blend)), 0.0, 1.0)


def with_palette(
    image: Float[Array, "h w c"],
    wanted: Palette,
    where: Bool[Array, "h w 1"] | None = None,
    *,
    floor: float = 0.0,
) -> Float[Array, "h w c"]:
    """Maps mean and covariance of the colors of `image` to `wanted`; not clipped.

    Args:
      image: sRGB.
      wanted: from `palette`.
      where: what the distribution of `image` is taken from; None: all of it.
      floor: variance that is added to that of the image, so that what is nearly flat is not
        stretched without bounds.
    """
    mean, covariance = _statistics(image, where)
    covariance = covariance + floor * jnp.eye(len(mean))
    root = _matrix_power(covariance, 0.5)
    inverse_root = _matrix_power(covariance, -0.5)
    middle = _matrix_power(root @ wanted.covariance @ root, 0.5)
    return (image - mean) @ (inverse_root @ middle @ inverse_root) + wanted.mean


def palette(
    references: Sequence[Float[Array, "_ _ c"]],
    blend: Float[Array, " references"] | None = None,
) -> Palette:
    """Returns the distribution of the colors of all references together.

    `blend` weighs them; None: all the same.
    """
    statistics = [_statistics(reference) for reference in references]
    shares = _shares(references, blend)
    means, covariances = (jnp.stack(values) for values in zip(*statistics, strict=True))
    mean = shares @ means
    apart = means - mean
    return Palette(mean, jnp.tensordot(shares, covariances, 1) + (apart.T * shares) @ apart)


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

    def mapped(channel: int) -> Array:
        quantiles = jnp.quantile(image[..., channel], at)
        target = sum(
            share * jnp.quantile(reference[..., channel], at)
            for share, reference in zip(shares, references, strict=True)
        )
        # Equal quantiles, of a flat picture, would make the map ambiguous.
        quantiles = quantiles + jnp.arange(QUANTILES) * 1e-7
        return jnp.interp(image[..., channel], quantiles, target)

    channels = [mapped(channel) for channel in range(image.shape[-1])]
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


def _statistics(image: Array, where: Array | None = None) -> tuple[Array, Array]:
    """Returns mean and covariance of the colors of a picture, or of a part of it."""
    flat = image.reshape(-1, image.shape[-1])
    weight = jnp.ones(len(flat)) if where is None else where.reshape(-1).astype(flat.dtype)
    count = jnp.maximum(weight.sum(), 1.0)
    mean = weight @ flat / count
    centered = flat - mean
    covariance = (centered.T * weight) @ centered / count
    return mean, covariance + VARIANCE_FLOOR * jnp.eye(image.shape[-1])


def _matrix_power(matrix: Array, power: float) -> Array:
    """Returns a power of a symmetric positive definite matrix."""
    values, vectors = jnp.linalg.eigh(matrix)
    return (vectors * jnp.maximum(values, 1e-12) ** power) @ vectors.T
