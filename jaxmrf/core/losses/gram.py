"""The Gram style loss of Gatys et al. 2015 (arXiv 1508.06576): global statistics."""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxmrf.core.losses.exemplars import Exemplars, within_margin
from jaxmrf.core.numerics import TINY
from jaxmrf.core.settings import Program


class Target(NamedTuple):
    """Targets of the Gram loss.

    Attributes:
      matrices: Gram matrix of the styles by layer.
      scale: what the squared difference of a layer is multiplied by.
    """

    matrices: dict[str, Float[Array, "c c"]]
    scale: dict[str, Float[Array, ""]]


def layers(program: Program) -> tuple[str, ...]:
    """Returns the layers whose Gram matrices are compared."""
    return program.gram_layers


def gram_matrix(features: Float[Array, "h w c"]) -> Float[Array, "c c"]:
    """Returns the mean over positions of the products of two channels (equation 3).

    Gatys et al. sum over positions; the mean does not depend on the size of the picture.
    """
    flat = features.reshape(-1, features.shape[-1])
    return jnp.matmul(flat.T, flat, precision=lax.Precision.HIGHEST) / flat.shape[0]


def prepare(exemplars: Exemplars, program: Program) -> Target:
    """Returns the Gram matrices of the styles; several styles share one by their weights."""
    count = len(exemplars.maps)
    blend = jnp.ones(count) if exemplars.blend is None else exemplars.blend
    blend = blend / blend.sum()
    matrices = {
        name: jnp.asarray(
            sum(
                weight * gram_matrix(activations[name])
                for weight, activations in zip(blend, exemplars.maps, strict=True)
            )
        )
        for name in program.gram_layers
    }
    return Target(matrices, {name: _scale(matrix, program) for name, matrix in matrices.items()})


def value(
    activations: Mapping[str, Array], target: Target, state: None, program: Program
) -> Float[Array, ""]:
    """Returns the Gram loss, unweighted: its layers weigh the same (equation 5).

    Args:
      activations: of the picture by layer, [h, w, C] each.
      target: from `prepare`.
      state: None.
      program: settings of the compiled program.
    """
    terms = (
        target.scale[name]
        * jnp.sum(jnp.square(gram_matrix(within_margin(activations[name], program)) - matrix))
        for name, matrix in target.matrices.items()
    )
    return sum(terms, jnp.zeros(()))


def _scale(matrix: Array, program: Program) -> Array:
    """Returns the factor of a layer: one part of all layers, relative to its style."""
    if program.normalization == "relative":
        return 1.0 / (len(program.gram_layers) * jnp.maximum(jnp.sum(jnp.square(matrix)), TINY))
    # Equation 4: 1 / (4 N² M²) of sums over M positions; here they are means.
    return jnp.asarray(1.0 / (len(program.gram_layers) * 4.0 * matrix.shape[0] ** 2))
