"""Style losses by name: what one consists of, and where another is registered.

    STYLE_LOSSES["mine"] = StyleLoss(layers=..., prepare=..., value=...)

and ``Config(style_loss=("mrf:1", "mine:0.2"))`` uses it (docs/research.md).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxmrf.core.losses import gram, mrf
from jaxmrf.core.settings import Program
from jaxmrf.errors import ConfigError


class StyleLoss(NamedTuple):
    """Pure functions that make up a style loss.

    Attributes:
      layers: (program) → names of the layers that it reads.
      prepare: (exemplars, program) → targets of a pyramid level, any arrays.
      value: (activations by layer, targets, state, program) → scalar, unweighted. Activations
        are [h, w, C]; those of a tileable picture go on by `exemplars.margin`.
      refresh: (activations without gradient, targets, state, program) → a new state:
        what is worth computing in some iterations only, such as matches.
      init: (activations' shapes by layer, targets' shapes, program) → a first state.
    """

    layers: Callable[[Program], tuple[str, ...]]
    prepare: Callable[..., Any]
    value: Callable[..., Any]
    refresh: Callable[..., Any] = lambda activations, target, state, program: state
    init: Callable[..., Any] = lambda layers, target, program: None


STYLE_LOSSES: dict[str, StyleLoss] = {
    "mrf": StyleLoss(mrf.layers, mrf.prepare, mrf.value, mrf.refresh, mrf.init),
    "gram": StyleLoss(gram.layers, gram.prepare, gram.value),
}


def chosen(program: Program) -> dict[str, StyleLoss]:
    """Returns the style losses that a config names.

    Raises:
      ConfigError: if there is none of a name.
    """
    for name in program.style_loss:
        if name not in STYLE_LOSSES:
            raise ConfigError(
                f"there is no style loss {name!r}; choose from {', '.join(STYLE_LOSSES)}",
                "style_loss",
            )
    return {name: STYLE_LOSSES[name] for name in program.style_loss}


def layers(program: Program) -> tuple[str, ...]:
    """Returns the names of all layers that the style losses read, each once."""
    names = (name for loss in chosen(program).values() for name in loss.layers(program))
    return tuple(dict.fromkeys(names))
