"""Style losses by name: what one consists of, and where another is registered.

    STYLE_LOSSES["mine"] = StyleLoss(layers=..., prepare=..., value=...)

and ``Config(style_loss=("mrf:1", "mine:0.2"))`` uses it (docs/research.md).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxmrf.core.config import Config
from jaxmrf.core.losses import gram, mrf
from jaxmrf.errors import ConfigError


class StyleLoss(NamedTuple):
    """Pure functions that make up a style loss.

    Attributes:
      layers: (config) → names of the layers that it reads.
      prepare: (exemplars, config) → targets of a pyramid level, any arrays.
      value: (activations by layer, targets, memory, config) → scalar, unweighted. Activations
        are [h, w, C]; those of a tileable picture go on by `exemplars.margin`.
      remember: (activations without gradient, targets, memory, config) → a new memory:
        what is worth computing in some iterations only, such as matches.
      blank: (activations' shapes by layer, targets' shapes, config) → a first memory.
    """

    layers: Callable[[Config], tuple[str, ...]]
    prepare: Callable[..., Any]
    value: Callable[..., Any]
    remember: Callable[..., Any] = lambda activations, target, memory, config: memory
    blank: Callable[..., Any] = lambda layers, target, config: None


STYLE_LOSSES: dict[str, StyleLoss] = {
    "mrf": StyleLoss(mrf.layers, mrf.prepare, mrf.value, mrf.remember, mrf.blank),
    "gram": StyleLoss(gram.layers, gram.prepare, gram.value),
}


def chosen(config: Config) -> dict[str, StyleLoss]:
    """Returns the style losses that a config names.

    Raises:
      ConfigError: if there is none of a name.
    """
    for name in config.style_losses():
        if name not in STYLE_LOSSES:
            raise ConfigError(
                f"there is no style loss {name!r}; choose from {', '.join(STYLE_LOSSES)}"
            )
    return {name: STYLE_LOSSES[name] for name in config.style_losses()}


def layers(config: Config) -> tuple[str, ...]:
    """Returns the names of all layers that the style losses read, each once."""
    names = (name for loss in chosen(config).values() for name in loss.layers(config))
    return tuple(dict.fromkeys(names))
