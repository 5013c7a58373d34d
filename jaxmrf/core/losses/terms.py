"""The terms of the energy: arrays in, one scalar out, no weights and no state."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def content_term(
    features: Float[Array, "h w c"], target: Float[Array, "h w c"]
) -> Float[Array, ""]:
    """Sum of squared differences of features (paper, equation 4)."""
    return jnp.sum(jnp.square(features - target))


def mrf(
    features: Float[Array, "h w c"],
    blended: Float[Array, "h w c"],
    mean_square: Float[Array, "h w"],
    weight: Float[Array, "h w"],
) -> Float[Array, ""]:
    """Squared distance of all patches to their matches (paper, equation 2).

    With the matches fixed, the sum over patches of ‖patch − match‖² is a sum over
    positions of count · (‖F − T̄‖² + mean ‖t‖² − ‖T̄‖²), where t runs over what the
    matches put at the position and T̄ is the mean of t. Only the first part has a
    gradient.

    Args:
      features: features F of the synthesized picture.
      blended: T̄, see `patches.reassemble`.
      mean_square: mean of ‖t‖² at each position.
      weight: the overlap count for the paper's sum; 1 where covered, else 0, for the
        authors' average over overlapping patches.
    """
    distance = jnp.sum(jnp.square(features - blended), axis=-1)
    spread = mean_square - jnp.sum(jnp.square(blended), axis=-1)
    return jnp.sum(weight * (distance + spread))


def total_variation(image: Float[Array, "h w c"], *, around: bool = False) -> Float[Array, ""]:
    """Sum of squared differences of neighboring pixels (paper, equation 5).

    The authors' tv code leaves out the last row and column; here every pair counts, and
    with `around` those of opposite borders too.
    """
    if around:
        image = jnp.pad(image, ((0, 1), (0, 1), (0, 0)), mode="wrap")
        down, across = jnp.diff(image[:, :-1], axis=0), jnp.diff(image[:-1], axis=1)
    else:
        down, across = jnp.diff(image, axis=0), jnp.diff(image, axis=1)
    return jnp.sum(jnp.square(down)) + jnp.sum(jnp.square(across))
