"""The nearest style patch by normalized cross-correlation (paper, equation 3).

`collect` lists the patches of all style copies once per level; `match` finds for
every patch of a feature map the style patch with the highest score: its cosine, or less
its squared distance, and what speaks for or against a style patch beside likeness. It
compares all pairs, or, where an index was made, only those of the clusters that look best.
Both are used through `matchers`, where others can be registered.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxmrf.core.matching import patches, windows
from jaxmrf.core.matching.candidates import scores_of_all
from jaxmrf.core.matching.clusters import nearest_of_clusters
from jaxmrf.core.matching.exhaustive import nearest_of_all
from jaxmrf.core.matching.rounded import nearest_by_rounded
from jaxmrf.core.matching.style_patches import Match, StylePatches
from jaxmrf.core.matching.windows import centers, window_sums
from jaxmrf.core.numerics import TINY

ROUNDING = 1e-5
"""Scores that differ by less than this, relatively, count as equal."""


def match(
    features: Float[Array, "h w c"],
    style: StylePatches,
    patch_size: int,
    stride: int,
    *,
    labels: Int[Array, "h w"] | None = None,
    label_weight: float = 1.0,
    penalty: Float[Array, "rows columns"] | None = None,
    precision: str = "float32",
    tile_bytes: int = windows.CHUNK_BYTES,
) -> Match:
    """Returns the nearest style patch of every patch of `features`.

    Patches of norm zero have score 0. Ties go to the first of those compared.

    Args:
      features: feature map of the picture.
      style: from `collect`; with an index `labels` and `penalty` have no effect.
      patch_size: side of a patch.
      stride: distance of neighboring patches.
      labels: of the positions; for a style that has labels.
      label_weight: what the same label at the center of two patches adds to their score;
        from one on, patches of ReLU features never cross labels.
      penalty: what speaks against each style patch.
      precision: of the products that find the few that can be the nearest; what cannot be
        bounded, all but the cosine alone, is compared in float32 (`rounded.PRECISIONS`).
      tile_bytes: products of pixels that are held at a time; the match does not depend on it.
    """
    rows = patches.positions(features.shape[0], patch_size, stride)
    columns = patches.positions(features.shape[1], patch_size, stride)
    unit = window_sums(jnp.sum(jnp.square(features), axis=-1), patch_size)
    unit = jnp.sqrt(unit) if style.offset is None else unit
    plain = style.offset is None and style.bias is None and labels is None and penalty is None
    if style.index is not None:
        position, score = nearest_of_clusters(features, style, style.index, patch_size, stride)
    elif plain and precision != "float32":
        position, score = nearest_by_rounded(
            features, style, unit, patch_size, stride, precision, tile_bytes
        )
    else:
        bias = style.bias
        if penalty is not None:
            bias = -penalty if bias is None else bias - penalty
        same = None
        if labels is not None:
            same = (centers(labels, patch_size), label_weight)
        best = nearest_of_all(
            features, style._replace(bias=bias), unit, same, patch_size, tile_bytes
        )
        position, score = (values[rows][:, columns, 0] for values in best[:2])
    return Match(position, score / jnp.maximum(unit[rows][:, columns], TINY))


def agreement(
    features: Float[Array, "h w c"],
    style: StylePatches,
    match: Match,
    patch_size: int,
    stride: int,
    sample: int,
) -> Float[Array, ""]:
    """Returns the share of matches that are the nearest of all by likeness alone, 0 to 1.

    Args:
      features: feature map of the picture.
      style: from `collect`.
      match: what a matcher found for them.
      patch_size: side of a patch.
      stride: distance of neighboring patches.
      sample: the share is measured on this many patches, evenly spread.
    """
    grid = patches.corners(features.shape[:2], patch_size, stride).ravel()
    picked = np.linspace(0, len(grid) - 1, min(len(grid), sample)).astype(int)
    scores = scores_of_all(features, style, grid[picked], patch_size)
    matched = scores[match.position.ravel()[picked], jnp.arange(len(picked))]
    best = scores.max(axis=0)
    return jnp.mean((matched >= best - ROUNDING * jnp.abs(best)).astype(jnp.float32))
