"""One coarse-to-fine run: pictures in, a progress record per iteration out.

Everything under one step is one compiled program. On CPUs the host loops over steps, since a
step inside `lax.scan` is slower there (docs/design.md); accelerators are given chunks of
several steps, so that they need not wait for the host.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxmrf.core import color, decoder, energy, pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.decoder import Decoder
from jaxmrf.core.energy import Region, Targets, Weights
from jaxmrf.core.features import Features
from jaxmrf.core.losses import mrf, style_losses
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.core.matching import matchers
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.pyramid import at_size, copies_of_all, enlarged, mask_at
from jaxmrf.errors import ConfigError

MAX_STYLE_PIXELS = 100_000_000

NOISE_LEVEL = 0.1
"""Standard deviation of the noise that ``init="noise"`` starts from, around
the style's mean color. The authors use 0.001 of a pixel range of 256."""


TILE = 16
"""Sides of tileable pictures are multiples of this: the step of the deepest layers."""

MAX_STYLES = 16

LONGEST_CHUNK = 10
"""Iterations of a level that an accelerator does in one program, at most."""

CHUNK_PIXELS = 2**22
"""Pixels of the pictures that such a program hands out, at most: what starts slowly is the
program of a small picture."""


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
      style_shapes: (height, width) of each style at each level.
      iterations: iterations of each level.
      dropped: number of coarse levels left out because no patch fits there.
    """

    shapes: tuple[tuple[int, int], ...]
    style_shapes: tuple[tuple[tuple[int, int], ...], ...]
    iterations: tuple[int, ...]
    dropped: int

    def program(self, level: int, config: Config) -> Config:
        """Returns the settings that the compiled programs of a level depend on."""
        return config.program().for_level(self.iterations[level])


@dataclasses.dataclass(frozen=True)
class Progress:
    """The state of a run after an iteration.

    Attributes:
      level: pyramid level, 0 is the coarsest.
      levels: number of levels.
      iteration: iterations done at this level.
      iterations: iterations planned at this level.
      decoded: rounds of match and decode done at this level, before its iterations.
      image: the picture at the level's size, sRGB, not clipped, [h, w, 3].
      value: energy of the picture that the iteration started from; not a number, and
        without terms, before the first iteration of a level.
      terms: weighted terms of that energy by name.
      gradient_norm: Euclidean norm of its gradient.
      exact_matches: share of matches that are the nearest style patches of all, of the
        worse layer; known after the last iteration of a level if `run` is asked to judge
        matches, else not a number.
      original: the content picture, None in un-guided synthesis.
      mask: where the picture may change, in 0 to 1; None: everywhere.
      shape: (height, width) of the finished picture.
      config: settings of the run.
      finish: colors that the finished picture is brought to; None: it keeps its own.
      undecodable: whether the decoder has made something that is not finite, which was
        left out.
    """

    level: int
    levels: int
    iteration: int
    iterations: int
    decoded: int
    image: Float[Array, "h w 3"]
    value: float
    terms: dict[str, float]
    gradient_norm: float
    exact_matches: float
    original: Float[Array, "_ _ 3"] | None
    mask: Float[Array, "_ _"] | None
    shape: tuple[int, int]
    config: Config
    finish: color.Finish | None = None
    undecodable: bool = False

    @property
    def painted(self) -> bool:
        """Whether any iteration or round was done, at this level or a coarser one."""
        return self.level > 0 or self.iteration > 0 or self.decoded > 0

    @property
    def complete(self) -> bool:
        """Whether this is the last record of its level."""
        return self.iteration == self.iterations and (self.iteration > 0 or self.decoded > 0)

    def picture(self) -> Float[Array, "height width 3"]:
        """Returns the picture as it would be delivered now: final size, sRGB in 0 to 1."""
        image = jnp.clip(enlarged(self.image, self.shape, self.config), 0.0, 1.0)
        if self.original is None:
            return image
        original = at_size(self.original, self.shape)
        if self.config.color == "keep":
            image = color.with_chrominance_of(image, original)
        where = None if self.mask is None else mask_at(self.mask, self.shape)
        if self.finish is not None:
            image = _finished(image, self.finish, self.config.final_strength(), where)
        if where is not None:
            image = jnp.where(where, image, original)
        return image


def make_plan(
    shape: tuple[int, int],
    style_shapes: Sequence[tuple[int, int]],
    params: PyTree,
    *,
    features: Features,
    config: Config,
    guided: bool = True,
) -> Plan:
    """Returns the levels of a run, leaving out coarse ones on which no patch fits.

    Args:
      shape: (height, width) of the result.
      style_shapes: (height, width) of each style picture as it is.
      params: parameters of the network.
      features: the network.
      config: settings.
      guided: whether there is a content picture.

    Raises:
      ConfigError: if no patch fits at the finest level, the network lacks a layer, the
        styles are too many or too large, or there is no such matcher or optimizer.
    """
    check_settings(config, len(style_shapes))
    levels = pyramid.level_count(shape, config)
    iterations = config.iterations_per_level(levels)
    shapes = pyramid.level_shapes(shape, levels)
    if config.tileable:
        shapes = [tuple(-(-side // TILE) * TILE for side in each) for each in shapes]
        if shapes[-1] != tuple(shape):
            height, width = shapes[-1]
            raise ConfigError(
                f"the sides of a tileable picture must be multiples of {TILE}, {shape[1]}×"
                f"{shape[0]} are not; try {width}x{height}"
            )
    longest = max(1, round(max(shape) * config.style_scale))
    of_each_style = [
        pyramid.level_shapes(pyramid.fit(*style_shape, longest), levels)
        for style_shape in style_shapes
    ]
    of_each_level = list(zip(*of_each_style, strict=True))
    for height, width in of_each_level[-1]:
        if height * width > MAX_STYLE_PIXELS:
            raise ConfigError(
                f"the style would have {width}×{height} pixels; choose a smaller style_scale"
            )
    # Levels grow, so all behind the first on which a patch fits have room for one too.
    dropped = 0
    while not _patches_fit(
        shapes[dropped], of_each_level[dropped], params, features, config, guided
    ):
        dropped += 1
        if dropped == levels:
            height, width = of_each_level[-1][0]
            raise ConfigError(
                f"not even one patch of {config.patch_size} features fits: result "
                f"{shape[1]}×{shape[0]}, style {width}×{height} pixels; "
                "choose a larger size or a smaller patch"
            )
    return Plan(
        tuple(shapes[dropped:]),
        tuple(of_each_level[dropped:]),
        tuple(iterations[dropped:]),
        dropped,
    )


def run(
    params: PyTree,
    content: Float[Array, "_ _ 3"] | None,
    styles: Sequence[Float[Array, "_ _ 3"]],
    plan: Plan,
    *,
    features: Features,
    config: Config,
    initial: Float[Array, "_ _ 3"] | None = None,
    guides: Guides | None = None,
    mask: Float[Array, "_ _"] | None = None,
    trained: Decoder | None = None,
    judge_matches: bool = False,
) -> Iterator[Progress]:
    """Runs the pyramid, yielding after every round of the decoder and every iteration.

    Args:
      params: parameters of the network.
      content: content picture of any size, sRGB in 0 to 1; None: un-guided synthesis.
      styles: style pictures of any size, sRGB in 0 to 1.
      plan: from `make_plan`.
      features: the network.
      config: settings.
      initial: picture to start from instead of what `config.init` says.
      guides: what is where, in the result and in each style; of any size.
      mask: where the result may differ from the content (above 0.5); of any size.
      trained: decoder of the network, for `Config.decoder_rounds`; None: there is none.
      judge_matches: whether to find the share of exact matches at the end of a level,
        which takes one more program and some seconds where they come from clusters.

    Yields:
      One record when a level starts (iteration 0), one after each round of the decoder, and
      one after each iteration.

    Raises:
      NonFiniteEnergyError: if the energy is not a number.
    """
    guided, started = content is not None, initial is not None
    config = settled(config, guided=guided, started=started, trained=trained)
    inputs = make_inputs(content, styles, config, guides=guides, mask=mask)
    levels = len(plan.shapes)
    rounds = decoder_rounds(config, trained)
    progress = Progress(
        level=0,
        levels=levels,
        iteration=0,
        iterations=plan.iterations[0],
        decoded=0,
        image=initial_picture(inputs, initial, plan, config),
        original=content,
        mask=mask,
        shape=plan.shapes[-1],
        config=config,
        finish=inputs.finish,
        **NOTHING_SEEN,
    )
    for level, shape in enumerate(plan.shapes):
        start = dataclasses.replace(
            progress,
            level=level,
            iteration=0,
            iterations=plan.iterations[level],
            decoded=0,
            image=enlarged(progress.image, shape, config),
            **NOTHING_SEEN,
        )
        yield start
        program = plan.program(level, config)
        targets = jit_prepare(
            params,
            level_inputs(inputs, plan, level, config),
            shape=shape,
            features=features,
            config=program,
        )
        for done in range(1, rounds + 1):
            image, finite = jit_decode(
                start.image, params, trained, targets, features=features, config=program
            )
            undecodable = start.undecodable or not finite
            start = dataclasses.replace(start, image=image, decoded=done, undecodable=undecodable)
            yield start
        progress = start
        for progress in _run_level(start, params, targets, features=features, config=program):
            if judge_matches and progress.iteration == progress.iterations:
                share = _exact_matches(
                    progress.image, params, targets, features=features, config=program
                )
                progress = dataclasses.replace(progress, exact_matches=share)
            yield progress
        del targets  # or they would be held while those of the next level are prepared


class Inputs(NamedTuple):
    """The pictures of a run in the colors that it works on, each of any size.

    Attributes:
      content: content picture; None: un-guided synthesis.
      styles: style pictures.
      guides: what is where; None: anything goes anywhere.
      mask: where the picture may change; None: everywhere.
      original: what stays elsewhere.
      finish: colors that the finished picture is brought to; None: it keeps its own.
    """

    content: Float[Array, "_ _ 3"] | None
    styles: tuple[Float[Array, "_ _ 3"], ...]
    guides: Guides | None = None
    mask: Float[Array, "_ _"] | None = None
    original: Float[Array, "_ _ 3"] | None = None
    finish: color.Finish | None = None


def settled(
    config: Config, *, guided: bool, started: bool, trained: Decoder | None = None
) -> Config:
    """Returns the settings with the choices made that depend on what a run starts from.

    Args:
      config: settings.
      guided: whether there is a content picture.
      started: whether there is a picture to start from instead of what `config.init` says.
      trained: decoder of the network; None: there is none.
    """
    noise = config.init == "noise" or (config.init == "content" and not guided)
    decoded = decoder_rounds(config, trained) > 0
    return config.starting(plainly=decoded or (noise and not started))


def make_inputs(
    content: Float[Array, "_ _ 3"] | None,
    styles: Sequence[Float[Array, "_ _ 3"]],
    config: Config,
    *,
    guides: Guides | None = None,
    mask: Float[Array, "_ _"] | None = None,
) -> Inputs:
    """Returns the pictures of a run in the colors that it works on.

    Args:
      content: content picture of any size, sRGB in 0 to 1; None: un-guided synthesis.
      styles: style pictures of any size, sRGB in 0 to 1.
      config: settings, of which the color and the weights of the styles matter.
      guides: what is where; of any size.
      mask: where the result may differ from the content (above 0.5); of any size.
    """
    styles, blend = tuple(styles), _blend(config)
    painted = _colored(content, styles, blend, config.color)
    finish = None if content is None else _finish(content, styles, blend)
    return Inputs(*painted, guides, mask, None if mask is None else content, finish)


def decoder_rounds(config: Config, trained: Decoder | None) -> int:
    """Returns how many rounds of match and decode a level starts with.

    None where there is nothing to decode: no decoder, or a style loss that does not match its
    layers; and none in a tileable picture, which the decoder knows nothing of.

    Args:
      config: settings.
      trained: decoder of the network; None: there is none.
    """
    matched = "mrf" in config.style_losses() and set(decoder.LAYERS) <= set(config.layers)
    if trained is None or not matched or config.tileable:
        return 0
    return config.decoder_rounds


def level_weights(config: Config, level: int, levels: int) -> Weights:
    """Returns the weights of the terms at pyramid level `level` of `levels`."""
    return Weights(
        config.content_weight_at(level, levels),
        {name: config.style_weight * each for name, each in config.style_losses().items()},
        config.tv_weight,
        config.anchor,
        config.content_share,
    )


class LevelInputs(NamedTuple):
    """What the targets of one pyramid level are prepared from, see `energy.prepare`."""

    content: Float[Array, "*_ h w 3"] | None
    styles: tuple[Float[Array, "*_ _ _ 3"], ...]
    weights: Weights
    blend: Float[Array, "*_ styles"] | None
    guides: Guides | None
    region: Region | None


def level_inputs(inputs: Inputs, plan: Plan, level: int, config: Config) -> LevelInputs:
    """Returns what the targets of a pyramid level are prepared from, at its size.

    Args:
      inputs: from `make_inputs`.
      plan: from `make_plan`.
      level: 0 is the coarsest.
      config: settings.
    """
    shape, style_shapes = plan.shapes[level], plan.style_shapes[level]

    def copies_of(pictures: Sequence[Array]) -> tuple[Array, ...]:
        sized = (at_size(*each) for each in zip(pictures, style_shapes, strict=True))
        return tuple(copies_of_all(list(sized), config=config.copies()))

    styles = copies_of(inputs.styles)
    blend, guides, region = _blend(config), inputs.guides, None
    if blend is not None:
        blend = jnp.repeat(blend, len(styles) // len(style_shapes))
    if guides is not None:
        guides = Guides(at_size(guides.picture, shape), copies_of(guides.styles))
    if inputs.mask is not None:
        region = Region(mask_at(inputs.mask, shape), at_size(inputs.original, shape))
    content = None if inputs.content is None else at_size(inputs.content, shape)
    weights = level_weights(config, level, len(plan.shapes))
    return LevelInputs(content, styles, weights, blend, guides, region)


def prepare_level(
    params: PyTree,
    inputs: LevelInputs,
    *,
    shape: tuple[int, int],
    features: Features,
    config: Config,
) -> Targets:
    """Returns the targets of a pyramid level.

    Args:
      params: parameters of the network.
      inputs: from `level_inputs`.
      shape: (height, width) of the picture at this level.
      features: the network.
      config: settings.

    Raises:
      ValueError: if a patch does not fit into the features of a style copy.
      KeyError: if the network has no such layer.
      ConfigError: if there is no such style loss or matcher.
    """
    content, styles, weights, *more = inputs
    named = dict(zip(("blend", "guides", "region"), more, strict=True))
    return energy.prepare(
        params, content, styles, weights, shape=shape, features=features, config=config, **named
    )


def decoded(
    image: Float[Array, "h w 3"],
    params: PyTree,
    trained: Decoder,
    targets: Targets,
    *,
    features: Features,
    config: Config,
) -> tuple[Float[Array, "h w 3"], Bool[Array, ""]]:
    """Returns the picture that the decoder makes of what is put together at the matches.

    Args:
      image: the picture so far, sRGB.
      params: parameters of the network.
      trained: decoder of the network.
      targets: of this level, from `prepare_level`.
      features: the network.
      config: settings.

    Returns:
      The new picture, sRGB in 0 to 1, or the old one if that is not finite; and whether it is.
    """
    layers = energy.activations(image, params, targets, features=features, config=config)
    found = mrf.painted(layers, targets.style["mrf"], config)
    wanted = {name: found[name].features for name in decoder.LAYERS}
    slow = decoder.slow_colors({name: found[name].colors for name in decoder.LAYERS})
    painted = jnp.clip(decoder.decode(trained, wanted, slow, image.shape[:2]), 0.0, 1.0)
    finite = jnp.isfinite(painted).all()
    return jnp.where(finite, painted, image), finite


jit_decode = jax.jit(decoded, static_argnames=("features", "config"))


def _run_level(
    progress: Progress, params: PyTree, targets: Targets, *, features: Features, config: Config
) -> Iterator[Progress]:
    """Yields the records of the iterations of one level, which starts at `progress`."""
    state = optimizers.init(progress.image, optimizers.make_optimizer(config))
    memory = energy.no_memory(progress.image, params, targets, features=features, config=config)
    (device,) = progress.image.devices()
    chunk = chunk_length(device.platform, progress.image.shape[:2], progress.iterations)
    good = progress
    for done in range(0, progress.iterations, chunk):
        state, memory, images, records = jit_steps(
            *state, memory, params, targets, count=chunk, features=features, config=config
        )
        records = jax.device_get(records)
        for place in range(chunk):
            record = jax.tree.map(lambda leaf, place=place: leaf[place], records)
            if not record.finite:
                raise NonFiniteEnergyError(good)
            good = progress  # its energy was just found to be finite
            progress = dataclasses.replace(
                progress,
                iteration=done + place + 1,
                image=images[place],
                value=float(record.value),
                terms={name: float(term) for name, term in record.more.items()},
                gradient_norm=float(record.gradient_norm),
            )
            yield progress


def chunk_length(platform: str, shape: tuple[int, int], iterations: int) -> int:
    """Returns how many iterations of a level go into one program: a divisor of their number.

    Example:
      >>> chunk_length("gpu", (384, 298), 15), chunk_length("cpu", (384, 298), 15)
      (5, 1)
    """
    if platform == "cpu":
        return 1
    longest = min(LONGEST_CHUNK, CHUNK_PIXELS // math.prod(shape))
    return max((n for n in range(1, longest + 1) if iterations % n == 0), default=1)


NOTHING_SEEN = {
    "value": math.nan,
    "terms": {},
    "gradient_norm": math.nan,
    "exact_matches": math.nan,
}


def _exact_matches(
    image: Array, params: PyTree, targets: Targets, *, features: Features, config: Config
) -> float:
    matched = targets.style.get("mrf")
    if matched is None or mrf.compares_all(matched, config):
        return 1.0  # nothing to compile and run
    shares = _agreement(image, params, targets, features=features, config=config)
    return min(float(share) for share in shares.values())


def _blend(config: Config) -> Array | None:
    """Returns the weights of the styles, the largest one; None: all the same."""
    if not config.style_blend:
        return None
    return jnp.asarray(config.style_blend, jnp.float32) / max(config.style_blend)


jit_prepare = jax.jit(prepare_level, static_argnames=("shape", "features", "config"))


def advance(
    image: Float[Array, "h w 3"],
    optimizer_state: PyTree,
    iteration: Int[Array, ""],
    memory: dict[str, Any],
    params: PyTree,
    targets: Targets,
    *,
    features: Features,
    config: Config,
) -> tuple[optimizers.State, optimizers.Record, dict[str, Any]]:
    """Takes one step of a pyramid level; pure, compiled by `run`.

    Args:
      image: the picture, sRGB, not clipped.
      optimizer_state: from `optimize.init` or the last step.
      iteration: number of steps taken at this level, int32.
      memory: of the style losses, from `energy.no_memory` or the last step.
      params: parameters of the network.
      targets: of this level, from `prepare_level`.
      features: the network.
      config: settings.

    Returns:
      The state with the new picture, the record of the picture that it started from, and the
      memory for the next step.
    """
    state, record = optimizers.step(
        optimizers.State(image, optimizer_state, iteration),
        params,
        targets,
        memory,
        iteration % config.match_every == 0,
        objective=functools.partial(energy.energy_and_memory, features=features, config=config),
        optimizer=optimizers.make_optimizer(config),
    )
    terms, memory = record.more
    return state, record._replace(more=terms), memory


# The memories are donated; the picture is not, since progress records keep it.
@functools.partial(
    jax.jit,
    static_argnames=("count", "features", "config"),
    donate_argnames=("optimizer_state", "memory"),
)
def jit_steps(
    image: Float[Array, "h w 3"],
    optimizer_state: PyTree,
    iteration: Int[Array, ""],
    memory: dict[str, Any],
    params: PyTree,
    targets: Targets,
    *,
    count: int,
    features: Features,
    config: Config,
) -> tuple[optimizers.State, dict[str, Any], Array | list[Array], optimizers.Record]:
    """Takes `count` steps, see `advance`.

    Returns:
      The last state and memory; the picture and the record of each step.
    """

    def one(carry: tuple[optimizers.State, dict[str, Any]], _: None) -> tuple[Any, Any]:
        state, memory = carry
        state, record, memory = advance(
            *state, memory, params, targets, features=features, config=config
        )
        return (state, memory), (state.image, record)

    carry = optimizers.State(image, optimizer_state, iteration), memory
    if count > 1:
        (state, memory), (images, records) = lax.scan(one, carry, length=count)
        return state, memory, images, records
    (state, memory), (image, record) = one(carry, None)
    return state, memory, [image], jax.tree.map(lambda leaf: leaf[None], record)


@functools.partial(jax.jit, static_argnames=("features", "config"))
def _agreement(
    image: Array, params: PyTree, targets: Targets, *, features: Features, config: Config
) -> dict[str, Array]:
    layers = energy.activations(image, params, targets, features=features, config=config)
    return mrf.agreement(layers, targets.style["mrf"], config)


_finish = jax.jit(color.finish)
_finished = jax.jit(color.finished)


@functools.partial(jax.jit, static_argnames="choice")
def _colored(
    content: Array | None, styles: tuple[Array, ...], blend: Array | None, choice: str
) -> tuple[Array | None, tuple[Array, ...]]:
    """Returns content and styles with the colors that the transfer works on."""
    if content is None or choice == "none":
        return content, styles
    if choice == "match":
        return color.match_distribution(content, styles, blend), styles
    if choice == "histogram":
        return color.match_histogram(content, styles, blend), styles
    content = color.luminance(content)
    lights = (color.luminance(style)[..., :1] for style in styles)
    matched = (color.match_distribution(light, (content[..., :1],)) for light in lights)
    return content, tuple(jnp.repeat(light, 3, axis=-1) for light in matched)


def initial_picture(
    inputs: Inputs, initial: Float[Array, "_ _ 3"] | None, plan: Plan, config: Config
) -> Float[Array, "h w 3"]:
    """Returns the picture that the coarsest level starts from, [h, w, 3].

    Args:
      inputs: from `make_inputs`.
      initial: picture to start from instead of what `config.init` says, of any size.
      plan: from `make_plan`.
      config: settings.
    """
    shape, key = plan.shapes[0], jax.random.key(config.seed)
    if initial is not None:
        return at_size(initial, shape)
    if inputs.content is not None and config.init == "content":
        return at_size(inputs.content, shape)
    styles = [at_size(*each) for each in zip(inputs.styles, plan.style_shapes[0], strict=True)]
    if config.init == "shuffle":
        return pyramid.shuffled(styles, shape, key)
    mean = sum(style.mean(axis=(0, 1)) for style in styles) / len(styles)
    return mean + NOISE_LEVEL * jax.random.normal(key, (*shape, 3))


def check_settings(config: Config, count: int) -> None:
    """Checks what can be known of settings before pictures and network are seen.

    Args:
      config: settings.
      count: number of styles.

    Raises:
      ConfigError: if styles and their weights do not go together, or there is no such style
        loss, matcher or optimizer.
    """
    style_losses.chosen(config)
    matchers.chosen(config)
    optimizers.make_optimizer(config)
    if not 0 < count <= MAX_STYLES:
        raise ConfigError(f"there are {count} styles; give 1 to {MAX_STYLES}")
    if config.style_blend and len(config.style_blend) != count:
        raise ConfigError(
            f"style_blend has {len(config.style_blend)} weights for {count} style(s); "
            "give one for each"
        )


def _patches_fit(
    shape: tuple[int, int],
    style_shapes: Sequence[tuple[int, int]],
    params: PyTree,
    features: Features,
    config: Config,
    guided: bool,
) -> bool:
    styles = [jax.ShapeDtypeStruct((*each, 3), np.float32) for each in style_shapes]
    copies = jax.eval_shape(functools.partial(copies_of_all, config=config.copies()), styles)
    # If a patch fits on the smallest height and width of all, it fits on every picture.
    smallest = np.min([shape, *(copy.shape[:2] for copy in copies)], axis=0)
    picture = jax.ShapeDtypeStruct((*smallest, 3), np.float32)
    layers = jax.eval_shape(features, params, picture)
    for name in (
        *style_losses.layers(config),
        *config.layers,
        *([config.content_layer] if guided else ()),
    ):
        if name not in layers:
            raise ConfigError(f"the network has no layer {name!r}; it has {', '.join(layers)}")
    return min(min(layers[name].shape[:2]) for name in config.layers) >= config.patch_size
