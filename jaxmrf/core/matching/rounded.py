"""The nearest style patches of all by rounded products, with a second look in float32.

Matrix units multiply numbers of few bits much faster than float32. What that does to a score is
bounded, so that few style patches can be the nearest: these are compared again. Patches that have
more of them than are kept are compared with all in float32, so that the matches are those of
float32 in any case.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxmrf.core.matching import patches, windows
from jaxmrf.core.matching.candidates import best_candidate, scores_of_all
from jaxmrf.core.matching.exhaustive import nearest_of_all
from jaxmrf.core.matching.style_patches import StylePatches
from jaxmrf.core.numerics import dot

ADDING = 2.0**-22
"""Relative error of one addition: matrix units cut off what float32 would round."""

FEW = 16
"""Up to one in so many patches is compared with all in float32 by itself, which takes nine times
as long for it; where more have to be, all are."""


class Precision(NamedTuple):
    """How scores are rounded.

    Attributes:
      bits: of the significand, with the one that is not written down.
      candidates: style patches that are compared again for each patch.
      rounded: to so many bits.
      product: of two rounded matrices, added up as float32.
    """

    bits: int
    candidates: int
    rounded: Callable[[Array], Array]
    product: Callable[[Array, Array], Array]


def _rounded_to_tf32(values: Array) -> Array:
    return lax.reduce_precision(values, exponent_bits=8, mantissa_bits=10)


def _tf32_product(a: Array, b: Array) -> Array:
    def by_matrix_units(a: Array, b: Array) -> Array:
        return jnp.dot(a, b, precision=lax.DotAlgorithmPreset.TF32_TF32_F32)

    return lax.platform_dependent(a, b, cuda=by_matrix_units, default=dot)


def _rounded_to_bfloat16(values: Array) -> Array:
    return values.astype(jnp.bfloat16)


def _bfloat16_product(a: Array, b: Array) -> Array:
    return jnp.dot(a, b, preferred_element_type=jnp.float32)


PRECISIONS = {
    "tf32": Precision(11, 4, _rounded_to_tf32, _tf32_product),
    "bfloat16": Precision(8, 8, _rounded_to_bfloat16, _bfloat16_product),
}
"""With so many candidates 2 and 35 in 100,000 patches of a photograph at 1920×1080 pixels had
more that could be the nearest (docs/performance.md)."""


def nearest_by_rounded(
    features: Float[Array, "h w c"],
    style: StylePatches,
    unit: Float[Array, "h w"],
    patch_size: int,
    stride: int,
    precision: str,
    tile_bytes: int,
) -> tuple[Int[Array, "rows columns"], Float[Array, "rows columns"]]:
    """Returns the position of the best style patch of every patch, and its score times `unit`.

    Args:
      features: feature map of the picture.
      style: from `collect`, compared by the cosine alone.
      unit: norm of the patch that starts at each position.
      patch_size: side of a patch.
      stride: distance of neighboring patches.
      precision: a name of `PRECISIONS`.
      tile_bytes: see `nearest_of_all`.
    """
    bits, candidates, rounded, product = PRECISIONS[precision]
    leading = nearest_of_all(
        rounded(features),
        style._replace(sheet=rounded(style.sheet)),
        unit,
        None,
        patch_size,
        tile_bytes,
        product=product,
        count=candidates,
    )
    grid = patches.corners(features.shape[:2], patch_size, stride)
    corners = grid.ravel()
    candidate, rest, norm = (
        values.reshape(unit.size, -1)[corners] for values in (leading.position, leading.rest, unit)
    )
    position, score = best_candidate(features, style, corners, candidate, patch_size)
    error = relative_error(bits, features.shape[-1], patch_size)
    nonnegative = (features.min() >= 0) & (style.sheet.min() >= 0)
    # Sums of products of one sign have a relative error; others are at most as far apart as
    # the product of the norms says.
    most = rest[:, 0] + error * jnp.where(nonnegative, rest[:, 0], norm[:, 0])
    doubtful = (most >= score) & (norm[:, 0] > 0)
    many = doubtful.sum() * FEW > doubtful.size
    position, score = _compared_with_all(
        features, style, corners, (position, score), doubtful & ~many, patch_size
    )
    position, score = (values.reshape(grid.shape) for values in (position, score))

    def anew() -> tuple[Array, Array]:
        exact = nearest_of_all(features, style, unit, None, patch_size, tile_bytes)
        rows, columns = np.divmod(grid, unit.shape[1])
        return exact.position[rows, columns, 0], exact.score[rows, columns, 0]

    return _where_needed(many, anew, (position, score))


def relative_error(bits: int, channels: int, patch_size: int) -> float:
    """Returns by how much, relatively, a score in float32 is above a rounded one at most.

    For features that are not negative, after Higham, Accuracy and Stability of Numerical
    Algorithms, section 3.1: products of numbers with a relative error of u have one of
    (1 ± u)², and a sum of n terms adds one of n units at most. The rounded score adds up channels
    and then pixels; float32 adds up all of them.

    Args:
      bits: of the significand of rounded numbers.
      channels: of the features.
      patch_size: side of a patch.
    """
    pixels = patch_size**2
    rounded = (1 - 2.0**-bits) ** 2 * (1 - (channels + pixels) * ADDING)
    return (1 + pixels * channels * 2.0**-24) / rounded - 1


def _compared_with_all(
    features: Float[Array, "h w c"],
    style: StylePatches,
    corners: Int[np.ndarray, " m"],
    match: tuple[Int[Array, " m"], Float[Array, " m"]],
    doubtful: Bool[Array, " m"],
    patch_size: int,
) -> tuple[Int[Array, " m"], Float[Array, " m"]]:
    """Returns the match with those that are doubtful found in float32.

    Args:
      features: feature map of the picture.
      style: from `collect`, compared by the cosine alone.
      corners: flat positions of the patches.
      match: position and score of the best style patch that is known for each patch.
      doubtful: whether another one may be better.
      patch_size: side of a patch.
    """
    count = doubtful.sum()
    block = min(len(corners), max(1, windows.CHUNK_BYTES // (4 * style.scale.size)))
    first_doubtful = jnp.argsort(~doubtful).astype(jnp.int32)

    def compare(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        done, position, score = state
        # Beyond the doubtful ones there are others, which do not change.
        patch = jnp.take(first_doubtful, done + jnp.arange(block), mode="clip")
        scores = scores_of_all(features, style, jnp.asarray(corners)[patch], patch_size)
        best = jnp.argmax(scores, axis=0).astype(jnp.int32)
        score = score.at[patch].set(jnp.take_along_axis(scores, best[None], axis=0)[0])
        return done + block, position.at[patch].set(best), score

    return lax.while_loop(lambda state: state[0] < count, compare, (jnp.int32(0), *match))[1:]


def _where_needed(needed: Bool[Array, ""], compute: Callable[[], Any], otherwise: Any) -> Any:
    """Returns what is computed where it is needed, else what there is.

    Lanes of a `lax.cond` compute both; of a loop they compute what any of them needs.
    """
    return lax.while_loop(
        lambda state: state[0],
        lambda state: (jnp.zeros_like(needed), compute()),
        (needed, otherwise),
    )[1]
