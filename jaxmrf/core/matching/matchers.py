"""Matchers by name: what one consists of, and where another is registered.

    MATCHERS["mine"] = Matcher(nearest)

and ``Config(matching="mine")`` uses it (docs/research.md).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from jaxmrf.core.config import Shape
from jaxmrf.core.matching import clusters, nearest
from jaxmrf.core.matching.style_patches import Match, StylePatches
from jaxmrf.core.settings import PatchSettings
from jaxmrf.errors import ConfigError

EXACT_PAIRS = 2**27
"""Up to this many pairs of positions ``auto`` compares all of them too."""


class Matcher(NamedTuple):
    """Pure functions that make up a matcher.

    Attributes:
      nearest: (features [h, w, C], style patches, patch size, stride, labels=,
        label_weight=, penalty=, precision=, tile_bytes=) → `matching.Match`, see
        `matching.match`. A matcher that
        pays no attention to what comes by name may say ``**_``.
      index: (style patches, starts, (h, w), `PatchSettings`, like=) → any arrays, prepared once
        per level and found as ``index`` of the style patches; ``starts``: flat positions of the
        sheet where patches start, int [n]; (h, w): shape of the features; ``like``: features
        that those to be matched resemble, [h, w, C], None if nothing is known of them.
    """

    nearest: Callable[..., Match]
    index: Callable[..., Any] = lambda style, starts, shape, patches, **_: None


def _clusters(
    style: StylePatches,
    starts: np.ndarray,
    shape: Shape,
    patches: PatchSettings,
    *,
    like: Float[Array, "h w c"] | None = None,
) -> clusters.Index | None:
    """Returns clusters where there are many pairs and likeness alone is compared."""
    plain = style.offset is None and style.bias is None and style.labels is None
    if math.prod(shape) * style.scale.size <= EXACT_PAIRS or not plain or patches.variety:
        return None
    return clusters.make_index(style, starts, patches.patch_size, like)


MATCHERS: dict[str, Matcher] = {
    "auto": Matcher(nearest.match, _clusters),
    "exact": Matcher(nearest.match),
}


def chosen(patches: PatchSettings) -> Matcher:
    """Returns the matcher that settings name.

    Raises:
      ConfigError: if there is none of that name.
    """
    if patches.matching not in MATCHERS:
        raise ConfigError(
            f"there is no matcher {patches.matching!r}; choose from {', '.join(MATCHERS)}",
            "matching",
        )
    return MATCHERS[patches.matching]
