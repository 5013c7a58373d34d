"""A few patches of a picture compared in float32: with a few style patches each, or with all."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxmrf.core.matching import windows
from jaxmrf.core.matching.style_patches import StylePatches
from jaxmrf.core.matching.windows import gather, project
from jaxmrf.core.numerics import dot


def best_candidate(
    features: Float[Array, "h w c"],
    style: StylePatches,
    corners: Int[Array | np.ndarray, " m"],
    candidates: Int[Array, "m n"],
    patch_size: int,
) -> tuple[Int[Array, " m"], Float[Array, " m"]]:
    """Returns the best of a few style patches for each patch, and its score times the norm.

    The one that comes first in the sheet wins among equals. See `scores_of` for the arguments.
    """
    candidates = jnp.sort(candidates, axis=1)
    scores = scores_of(features, style, corners, candidates, patch_size)
    best = jnp.argmax(scores, axis=1)[:, None]
    position, score = (
        jnp.take_along_axis(values, best, axis=1)[:, 0] for values in (candidates, scores)
    )
    return position, score


def scores_of(
    features: Float[Array, "h w c"],
    style: StylePatches,
    corners: Int[Array | np.ndarray, " m"],
    candidates: Int[Array, "m n"],
    patch_size: int,
) -> Float[Array, "m n"]:
    """Returns the scores of a few style patches for each patch, times its norm.

    It is minus infinity where no style patch starts.

    Args:
      features: feature map of the picture.
      style: from `collect`, compared by the cosine alone.
      corners: flat positions of the patches, int [m].
      candidates: flat positions of the style patches.
      patch_size: side of a patch.
    """

    def compare(patch_and_candidates: tuple[Array, Array]) -> Array:
        corner, positions = patch_and_candidates
        patch = gather(features, corner[None], patch_size)[0]
        sums = dot(gather(style.sheet, positions, patch_size), patch)
        scale = style.scale.ravel()[positions]
        return jnp.where(scale < 0, -jnp.inf, scale * sums)

    patch_bytes = 4 * patch_size**2 * features.shape[-1]
    chunk = max(1, windows.CHUNK_BYTES // (patch_bytes * (1 + candidates.shape[1])))
    return lax.map(compare, (jnp.asarray(corners, jnp.int32), candidates), batch_size=chunk)


def scores_of_all(
    features: Float[Array, "h w c"],
    style: StylePatches,
    corners: Int[Array | np.ndarray, " m"],
    patch_size: int,
) -> Float[Array, "n m"]:
    """Returns the scores of all positions of the sheet for a few patches, by likeness alone.

    They are not divided by what `StylePatches` says, and minus infinity where no style patch
    starts.

    Args:
      features: feature map of the picture.
      style: from `collect`.
      corners: flat positions of the patches.
      patch_size: side of a patch.
    """
    kernel = gather(features, jnp.asarray(corners), patch_size).T
    shape = (patch_size, patch_size, features.shape[-1], len(corners))
    scores = project(style.sheet, kernel.reshape(shape)) * style.scale[..., None]
    if style.offset is not None:
        scores += style.offset[..., None]
    return jnp.where(style.scale[..., None] < 0, -jnp.inf, scores).reshape(-1, len(corners))
