"""Matchers by name: what one consists of, and where another is registered.

    MATCHERS["mine"] = Matcher(nearest)

and ``Config(matching="mine")`` uses it (docs/research.md).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxmrf.core.config import Config
from jaxmrf.core.matching import clusters, nearest
from jaxmrf.core.matching.style_patches import Match, StylePatches
from jaxmrf.errors import ConfigError

EXACT_PAIRS = 2**27
"""Up to this many pairs of positions ``fast`` compares all of them too."""


class Matcher(NamedTuple):
    """Pure functions that make up a matcher.

    Attributes:
      nearest: (features [h, w, C], style patches, patch size, stride, labels=,
        label_weight=, penalty=) → `matching.Match`, see `matching.match`. A matcher that
        pays no attention to what comes by name may say ``**_``.
      index: (style patches, starts, (h, w), config) → any arrays, prepared once per level
        and found as ``index`` of the style patches; ``starts``: flat positions of the sheet
        where patches start, int [n]; (h, w): shape of the features.
    """

    nearest: Callable[..., Match]
    index: Callable[[StylePatches, np.ndarray, tuple[int, int], Config], Any] = (
        lambda style, starts, shape, config: None
    )


def _clusters(
    style: StylePatches, starts: np.ndarray, shape: tuple[int, int], config: Config
) -> clusters.Index | None:
    """Returns clusters where there are many pairs and likeness alone is compared."""
    plain = style.offset is None and style.bias is None and style.labels is None
    if math.prod(shape) * style.scale.size <= EXACT_PAIRS or not plain or config.variety:
        return None
    return clusters.make_index(style, starts, config.patch_size)


MATCHERS: dict[str, Matcher] = {
    "fast": Matcher(nearest.match, _clusters),
    "exact": Matcher(nearest.match),
}


def chosen(config: Config) -> Matcher:
    """Returns the matcher that a config names.

    Raises:
      ConfigError: if there is none of that name.
    """
    if config.matching not in MATCHERS:
        raise ConfigError(
            f"there is no matcher {config.matching!r}; choose from {', '.join(MATCHERS)}"
        )
    return MATCHERS[config.matching]
