"""Numbers and products that several modules of the core need."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

TINY = 1e-12


def dot(a: Array, b: Array) -> Array:
    """Returns the matrix product in full precision, which accelerators do not take by default."""
    return jnp.dot(a, b, precision=lax.Precision.HIGHEST)
