"""One coarse-to-fine run: pictures in, a progress record per iteration out.

The loop over iterations runs on the host, since a step inside `lax.scan` is slower on CPUs
(docs/design.md); everything under one step is one compiled program.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxmrf import color, energy, optimize, pyramid
from jaxmrf.config import Config, ConfigError
from jaxmrf.energy import Assembled, Features, Targets, Weights

MAX_STYLE_PIXELS = 100_000_000

NOISE_LEVEL = 0.1
"""Standard deviation of the noise that ``init="noise"`` starts from, around
the style's mean color. The authors use 0.001 of a pixel range of 256."""


class NonFiniteEnergyError(ArithmeticError):
    """The energy stopped being a number; `progress` holds the last finite picture."""

    def __init__(self, progress: "Progress") -> None:
        super().__init__(
            f"the energy is not finite at level {progress.level + 1}, "
            f"iteration {progress.iteration + 1}"
        )
        self.progress = progress


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes and iterations of the pyramid levels of one run, coarsest first.

    Attributes:
      shapes: (height, width) of the picture at each level.
      style_shapes: (height, width) of the style at each level.
      iterations: iterations of each level.
      dropped: number of coarse levels left out because no patch fits there.
    """

    shapes: tuple[tuple[int, int], ...]
    style_shapes: tuple[tuple[int, int], ...]
    iterations: tuple[int, ...]
    dropped: int


@dataclasses.dataclass(frozen=True)
class Progress:
    """The state of a run after an iteration.

    Attributes:
      level: pyramid level, 0 is the coarsest.
      levels: number of levels.
      iteration: iterations done at this level.
      iterations: iterations planned at this level.
      image: the picture at the level's size, sRGB, not clipped, [h, w, 3].
      value: energy of the picture that the iteration started from; not a number, and
        without terms, before the first iteration of a level.
      terms: weighted terms of that energy by name.
      gradient_norm: Euclidean norm of its gradient.
      exact_matches: share of matches that are the nearest style patches of all, of the
        worse layer; known after the last iteration of a level if `run` is asked to judge
        matches, else not a number.
      original: the content picture, None in un-guided synthesis.
      shape: (height, width) of the finished picture.
      config: settings of the run.
    """

    level: int
    levels: int
    iteration: int
    iterations: int
    image: Float[Array, "h w 3"]
    value: float
    terms: dict[str, float]
    gradient_norm: float
    exact_matches: float
    original: Float[Array, "_ _ 3"] | None
    shape: tuple[int, int]
    config: Config

    @property
    def painted(self) -> bool:
        """Whether any iteration was done, at this level or a coarser one."""
        return self.level > 0 or self.iteration > 0

    def picture(self) -> Float[Array, "height width 3"]:
        """Returns the picture as it would be delivered now: final size, sRGB in 0 to 1."""
        image = _at_size(self.image, self.shape)
        if self.config.color == "keep" and self.original is not None:
            original = _at_size(self.original, self.shape)
            image = color.with_chrominance_of(image, original)
        return image


def make_plan(
    shape: tuple[int, int],
    style_shape: tuple[int, int],
    params: PyTree,
    *,
    features: Features,
    config: Config,
    guided: bool = True,
) -> Plan:
    """Returns the levels of a run, leaving out coarse ones on which no patch fits.

    Args:
      shape: (height, width) of the result.
      style_shape: (height, width) of the style picture as it is.
      params: parameters of the network.
      features: the network.
      config: settings.
      guided: whether there is a content picture.

    Raises:
      ConfigError: if no patch fits at the finest level, or the network lacks a layer.
    """
    levels = pyramid.level_count(shape, config)
    iterations = config.iterations_per_level(levels)
    shapes = pyramid.level_shapes(shape, levels)
    longest = max(1, round(max(shape) * config.style_scale))
    style_shapes = pyramid.level_shapes(pyramid.fit(*style_shape, longest), levels)
    if math.prod(style_shapes[-1]) > MAX_STYLE_PIXELS:
        raise ConfigError(
            f"the style would have {style_shapes[-1][1]}×{style_shapes[-1][0]} pixels; choose a "
            "smaller style_scale"
        )
    needed = (*config.layers, config.content_layer) if guided else config.layers
    fits = [
        _patches_fit(level_shape, level_style_shape, params, features, config, needed)
        for level_shape, level_style_shape in zip(shapes, style_shapes, strict=True)
    ]
    if not fits[-1]:
        raise ConfigError(
            f"not even one patch of {config.patch_size} features fits: result "
            f"{shape[1]}×{shape[0]}, style {style_shapes[-1][1]}×{style_shapes[-1][0]} pixels; "
            "choose a larger size or a smaller patch"
        )
    dropped = max((level + 1 for level in range(levels) if not fits[level]), default=0)
    return Plan(
        tuple(shapes[dropped:]),
        tuple(style_shapes[dropped:]),
        tuple(iterations[dropped:]),
        dropped,
    )


def memory_needed(
    plan: Plan, params: PyTree, *, features: Features, config: Config, guided: bool = True
) -> int:
    """Returns the bytes that the finest level of a run takes, as its compiler reports them.

    Compiles the level's programs, for shapes alone; with a persistent compilation cache
    the run itself finds them there.
    """
    shape = plan.shapes[-1]
    picture = jax.ShapeDtypeStruct((*shape, 3), np.float32)
    style = jax.ShapeDtypeStruct((*plan.style_shapes[-1], 3), np.float32)
    copies = jax.eval_shape(lambda style: pyramid.style_copies(style, config), style)
    config = config.program()
    static = {"features": features, "config": config}
    arguments = (params, picture if guided else None, copies, Weights(1.0, 1.0, 1.0))
    targets = jax.eval_shape(functools.partial(energy.prepare, shape=shape, **static), *arguments)
    state = jax.eval_shape(
        lambda image: optimize.init(image, optimize.make_optimizer(config)), picture
    )
    memory = jax.eval_shape(lambda image: energy.no_memory(image, params, **static), picture)
    programs = (
        _prepare.lower(*arguments, shape=shape, **static),
        _step.lower(*state, memory, params, targets, **static),
    )
    return max(_bytes(program.compile().memory_analysis()) for program in programs)


def _bytes(analysis: Any) -> int:
    """Returns the bytes that a program holds at once."""
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return held + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes


def run(
    params: PyTree,
    content: Float[Array, "_ _ 3"] | None,
    style: Float[Array, "_ _ 3"],
    plan: Plan,
    *,
    features: Features,
    config: Config,
    initial: Float[Array, "_ _ 3"] | None = None,
    judge_matches: bool = False,
) -> Iterator[Progress]:
    """Runs the pyramid, yielding after every iteration.

    Args:
      params: parameters of the network.
      content: content picture of any size, sRGB in 0 to 1; None: un-guided synthesis.
      style: style picture of any size, sRGB in 0 to 1.
      plan: from `make_plan`.
      features: the network.
      config: settings.
      initial: picture to start from instead of what `config.init` says.
      judge_matches: whether to find the share of exact matches at the end of a level,
        which takes one more program and some seconds where they come from clusters.

    Yields:
      One record when a level starts (iteration 0) and one after each iteration.

    Raises:
      NonFiniteEnergyError: if the energy is not a number.
    """
    guide, style = _colored(content, style, config.color)
    levels = len(plan.shapes)
    program = config.program()
    progress = Progress(
        level=0,
        levels=levels,
        iteration=0,
        iterations=plan.iterations[0],
        image=_initial(guide, style, initial, plan.shapes[0], config),
        original=content,
        shape=plan.shapes[-1],
        config=config,
        **_NOTHING_SEEN,
    )
    for level, shape in enumerate(plan.shapes):
        start = dataclasses.replace(
            progress,
            level=level,
            iteration=0,
            iterations=plan.iterations[level],
            image=pyramid.resize(progress.image, shape),
            **_NOTHING_SEEN,
        )
        yield start
        targets = _prepare(
            params,
            None if guide is None else _at_size(guide, shape),
            pyramid.style_copies(_at_size(style, plan.style_shapes[level]), config),
            Weights(config.content_weight_at(level, levels), config.style_weight, config.tv_weight),
            shape=shape,
            features=features,
            config=program,
        )
        progress = start
        for progress in _run_level(start, params, targets, features=features, config=program):
            if judge_matches and progress.iteration == progress.iterations:
                share = _exact_matches(
                    progress.image, params, targets, features=features, config=program
                )
                progress = dataclasses.replace(progress, exact_matches=share)
            yield progress


def _run_level(
    progress: Progress, params: PyTree, targets: Targets, *, features: Features, config: Config
) -> Iterator[Progress]:
    """Yields the records of the iterations of one level, which starts at `progress`."""
    state = optimize.init(progress.image, optimize.make_optimizer(config))
    memory = energy.no_memory(progress.image, params, features=features, config=config)
    good = progress
    for iteration in range(progress.iterations):
        state, record, memory = _step(
            state.image,
            state.optimizer,
            state.iteration,
            memory,
            params,
            targets,
            features=features,
            config=config,
        )
        record = jax.device_get(record)
        if not record.finite:
            raise NonFiniteEnergyError(good)
        good = progress  # its energy was just found to be finite
        progress = dataclasses.replace(
            progress,
            iteration=iteration + 1,
            image=state.image,
            value=float(record.value),
            terms={name: float(term) for name, term in record.more.items()},
            gradient_norm=float(record.gradient_norm),
        )
        yield progress


_NOTHING_SEEN = {
    "value": math.nan,
    "terms": {},
    "gradient_norm": math.nan,
    "exact_matches": math.nan,
}


def _exact_matches(
    image: Array, params: PyTree, targets: Targets, *, features: Features, config: Config
) -> float:
    if all(style.index is None for style in targets.style.values()):
        return 1.0  # all pairs were compared; nothing to compile and run
    shares = _agreement(image, params, targets, features=features, config=config)
    return min(float(share) for share in shares.values())


@functools.partial(jax.jit, static_argnames="shape")
def _at_size(picture: Array, shape: tuple[int, int]) -> Array:
    return jnp.clip(pyramid.resize(picture, shape), 0.0, 1.0)


_prepare = jax.jit(energy.prepare, static_argnames=("shape", "features", "config"))


# The memories are donated; the picture is not, since progress records keep it.
@functools.partial(
    jax.jit,
    static_argnames=("features", "config"),
    donate_argnames=("optimizer_state", "memory"),
)
def _step(
    image: Array,
    optimizer_state: PyTree,
    iteration: Array,
    memory: dict[str, Assembled],
    params: PyTree,
    targets: Targets,
    *,
    features: Features,
    config: Config,
) -> tuple[optimize.State, optimize.Record, dict[str, Assembled]]:
    """Takes one step; returns its state, its record and the memory of the matches."""
    state, record = optimize.step(
        optimize.State(image, optimizer_state, iteration),
        params,
        targets,
        memory,
        iteration % config.match_every == 0,
        objective=functools.partial(energy.energy_and_memory, features=features, config=config),
        optimizer=optimize.make_optimizer(config),
    )
    terms, memory = record.more
    return state, record._replace(more=terms), memory


_agreement = jax.jit(energy.agreement, static_argnames=("features", "config"))


@functools.partial(jax.jit, static_argnames="choice")
def _colored(content: Array | None, style: Array, choice: str) -> tuple[Array | None, Array]:
    """Returns content and style with the colors that the transfer works on."""
    if content is None or choice == "none":
        return content, style
    if choice == "match":
        return color.match_distribution(content, style), style
    content, style = color.luminance(content), color.luminance(style)
    matched = color.match_distribution(style[..., :1], content[..., :1])
    return content, jnp.repeat(matched, 3, axis=-1)


def _initial(
    content: Array | None,
    style: Array,
    initial: Array | None,
    shape: tuple[int, int],
    config: Config,
) -> Array:
    if initial is not None:
        return _at_size(initial, shape)
    if content is not None and config.init == "content":
        return _at_size(content, shape)
    noise = jax.random.normal(jax.random.key(config.seed), (*shape, 3))
    return style.mean(axis=(0, 1)) + NOISE_LEVEL * noise


def _patches_fit(
    shape: tuple[int, int],
    style_shape: tuple[int, int],
    params: PyTree,
    features: Features,
    config: Config,
    needed: tuple[str, ...],
) -> bool:
    copies = jax.eval_shape(
        lambda style: pyramid.style_copies(style, config),
        jax.ShapeDtypeStruct((*style_shape, 3), np.float32),
    )
    # If a patch fits on the smallest height and width of all, it fits on every picture.
    smallest = np.min([shape, *(copy.shape[:2] for copy in copies)], axis=0)
    picture = jax.ShapeDtypeStruct((*smallest, 3), np.float32)
    layers = jax.eval_shape(features, params, picture)
    for name in needed:
        if name not in layers:
            raise ConfigError(f"the network has no layer {name!r}; it has {', '.join(layers)}")
    return min(min(layers[name].shape[:2]) for name in config.layers) >= config.patch_size
