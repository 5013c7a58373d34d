"""Sizes and iterations of the levels of a run."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxmrf.core import pyramid
from jaxmrf.core.config import MAX_LEVELS, Config, Shape
from jaxmrf.core.features import Network
from jaxmrf.core.losses import style_losses
from jaxmrf.core.matching import matchers
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.pyramid import copy_shapes
from jaxmrf.core.settings import Program, Settings, program_of, scheduled
from jaxmrf.errors import ConfigError

MAX_STYLE_PIXELS = 100_000_000


TILE = 16
"""Sides of tileable pictures are multiples of this: the step of the deepest layers."""

MAX_STYLES = 16

NOTHING_PAINTS = (
    "iterations is 0 and no decoder paints before them: nothing would be painted; give 1 at least"
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes and iterations of the pyramid levels of one run, coarsest first.

    Attributes:
      shapes: (height, width) of the picture at each level.
      style_shapes: (height, width) of each style at each level.
      iterations: iterations of each level.
      dropped: number of coarse levels left out because no patch fits there.
    """

    shapes: tuple[Shape, ...]
    style_shapes: tuple[tuple[Shape, ...], ...]
    iterations: tuple[int, ...]
    dropped: int

    def program(self, level: int, program: Program) -> Program:
        """Returns the settings that the compiled programs of a level depend on."""
        return program.for_level(self.iterations[level])


def make_plan(
    shape: Shape,
    style_shapes: Sequence[Shape],
    network: Network,
    settings: Settings,
) -> Plan:
    """Returns the levels of a run, leaving out coarse ones on which no patch fits.

    Args:
      shape: (height, width) of the result.
      style_shapes: (height, width) of each style picture as it is.
      network: the network.
      settings: from `settings.resolve`.

    Raises:
      ConfigError: if no patch fits at the finest level, or all iterations are at levels on which
        none does, the network lacks a layer, the styles are too many or too large, or there is
        no such matcher or optimizer.
    """
    config = settings.config
    check_settings(config, len(style_shapes))
    levels = pyramid.level_count(shape, config)
    iterations = config.iterations_per_level(levels)
    shapes = pyramid.level_shapes(shape, levels)
    if config.tileable:
        shapes = [tuple(-(-side // TILE) * TILE for side in sides) for sides in shapes]
        if shapes[-1] != tuple(shape):
            height, width = shapes[-1]
            raise ConfigError(
                f"the sides of a tileable picture must be multiples of {TILE}, {shape[1]}×"
                f"{shape[0]} are not; try {width}x{height}",
                "size",
            )
    longest = max(1, round(max(shape) * config.style_scale))
    of_each_style = [
        pyramid.level_shapes(pyramid.fit(height, width, longest), levels)
        for height, width in style_shapes
    ]
    of_each_level = list(zip(*of_each_style, strict=True))
    for height, width in of_each_level[-1]:
        if height * width > MAX_STYLE_PIXELS:
            raise ConfigError(
                f"the style would have {width}×{height} pixels; choose a smaller style_scale",
                "style_scale",
            )
    # Levels grow, so all behind the first on which a patch fits have room for one too.
    dropped = 0
    while not _patches_fit(shapes[dropped], of_each_level[dropped], network, settings):
        dropped += 1
        if dropped == levels:
            height, width = of_each_level[-1][0]
            raise ConfigError(
                f"not even one patch of {config.patch_size} features fits: result "
                f"{shape[1]}×{shape[0]}, style {width}×{height} pixels; "
                "choose a larger size or a smaller patch",
                "size",
            )
    if any(iterations) and not any(iterations[dropped:]) and not settings.rounds:
        raise ConfigError(f"{NOTHING_PAINTS}, at a level on which a patch fits", "iterations")
    return Plan(
        tuple(shapes[dropped:]),
        tuple(of_each_level[dropped:]),
        tuple(iterations[dropped:]),
        dropped,
    )


def check_settings(config: Config, count: int) -> None:
    """Checks what can be known of settings before pictures and network are seen.

    Args:
      config: settings.
      count: number of styles.

    Raises:
      ConfigError: if styles and their weights do not go together, or there is no such style
        loss, matcher or optimizer.
    """
    program = program_of(config)
    style_losses.chosen(program)
    matchers.chosen(program.patches)
    optimizers.make_optimizer(program.descent)
    if not 0 < count <= MAX_STYLES:
        raise ConfigError(f"there are {count} styles; give 1 to {MAX_STYLES}", "style")
    if config.style_blend and len(config.style_blend) != count:
        raise ConfigError(
            f"style_blend has {len(config.style_blend)} weights for {count} style(s); "
            "give one for each",
            "style_blend",
        )


def check_iterations(
    config: Config, shape: Shape, *, rounds: int, has_content: bool = True
) -> None:
    """Checks that every number of iterations has its level, and that a run paints at all.

    Args:
      config: what the user chose.
      shape: (height, width) of the result.
      rounds: of the decoder, that a level starts with.
      has_content: whether there is a content picture.

    Raises:
      ConfigError: if there are more numbers than levels, or neither iterations nor rounds.
    """
    chosen = scheduled(config, decoded=has_content and rounds > 0)
    levels = pyramid.level_count(shape, chosen)
    count = len(config.iterations)
    if count > levels:
        more = f", or levels {count}" if count <= MAX_LEVELS else ""
        raise ConfigError(
            f"iterations has {count} numbers for {levels} level{'s'[: levels > 1]}; give one for "
            f"each level at most{more}",
            "iterations",
        )
    if not rounds and not any(chosen.iterations_per_level(levels)):
        raise ConfigError(NOTHING_PAINTS, "iterations")


def _patches_fit(
    shape: Shape,
    style_shapes: Sequence[Shape],
    network: Network,
    settings: Settings,
) -> bool:
    program = settings.program
    copies = [copy for style in style_shapes for copy in copy_shapes(style, settings.copies)]
    # If a patch fits on the smallest height and width of all, it fits on every picture.
    smallest = np.min([shape, *copies], axis=0)
    layers = network.shapes(tuple(smallest.tolist()))
    used = {
        "layers": program.patches.layers,
        "content_layer": [program.content_layer] if settings.has_content else [],
        "gram_layers": style_losses.layers(program),  # the others of it were looked for before
    }
    for option, names in used.items():
        for name in names:
            if name not in layers:
                available = ", ".join(layers)
                raise ConfigError(f"the network has no layer {name!r}; it has {available}", option)
    sides = (min(layers[name].shape[:2]) for name in program.patches.layers)
    return min(sides) >= program.patches.patch_size
