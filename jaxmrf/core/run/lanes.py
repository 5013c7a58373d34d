"""Many transfers of one shape as lanes of one vmapped step, spread over devices.

The same functions as in a single run, mapped over a leading lane axis and divided among
the devices of a mesh with one axis. Lanes do not see each other, so no device waits for
another: `shard_map` leaves no place for collectives.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, PyTree

from jaxmrf.core import color, energy
from jaxmrf.core.config import Config
from jaxmrf.core.decoder import Decoder
from jaxmrf.core.features import Features
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.pyramid import enlarged
from jaxmrf.core.run.inputs import (
    LevelInputs,
    decoder_rounds,
    initial_picture,
    level_inputs,
    make_inputs,
)
from jaxmrf.core.run.plan import Plan
from jaxmrf.core.run.progress import NOTHING_SEEN, Progress
from jaxmrf.core.run.step import advance, decoded, prepare_level

AXIS = "lane"
_LANES, _SHARED = PartitionSpec(AXIS), PartitionSpec()


@dataclasses.dataclass(frozen=True)
class Shape:
    """What lanes of one program have in common; lanes of equal `Shape` may run together.

    Attributes:
      plan: sizes and iterations of the levels.
      has: which pictures and weights there are beside the styles.
      copies: settings of the style copies, see `Config.copies`.
      config: settings that programs depend on, see `Config.program`.
      rounds: rounds of the decoder that a level starts with.
    """

    plan: Plan
    has: frozenset[str]
    copies: Config
    config: Config
    rounds: int = 0


@dataclasses.dataclass(frozen=True)
class Lane:
    """One transfer, ready to run.

    Attributes:
      levels: what each pyramid level is prepared from, coarsest first.
      start: picture that the coarsest level starts from, [h, w, 3].
      original: the content picture, None in un-guided synthesis.
      mask: where the result may differ from it; None: everywhere.
      finish: colors that the finished picture is brought to; None: it keeps its own.
    """

    levels: tuple[LevelInputs, ...]
    start: Float[np.ndarray, "h w 3"]
    original: Float[np.ndarray, "_ _ 3"] | None
    mask: Float[np.ndarray, "_ _"] | None = None
    finish: color.Finish | None = None


class Snapshot(NamedTuple):
    """The state of all lanes between two iterations, on the host; enough to go on from.

    Attributes:
      level: pyramid level, 0 is the coarsest.
      iteration: iterations done at this level.
      arrays: pictures, optimizer states and memories of the matches, in a fixed order.
      value: energy that the last iteration of each lane started from, [lanes].
      finite: whether each lane has been finite so far, [lanes].
    """

    level: int
    iteration: int
    arrays: list[np.ndarray]
    value: Float[np.ndarray, " lanes"]
    finite: Bool[np.ndarray, " lanes"]


@dataclasses.dataclass(frozen=True)
class Stage:
    """All lanes after an iteration.

    Attributes:
      level: pyramid level, 0 is the coarsest.
      iteration: iterations done at this level.
      images: pictures at the level's size, not clipped, [lanes, h, w, 3].
      value: energy that the iteration of each lane started from, [lanes].
      terms: weighted terms of that energy by name, each [lanes].
      gradient_norm: norm of its gradient, [lanes].
      finite: whether each lane has been finite so far, [lanes].
      snapshot: copies the whole state to the host.
    """

    level: int
    iteration: int
    images: Float[Array, "lanes h w 3"]
    value: Float[np.ndarray, " lanes"]
    terms: dict[str, Float[np.ndarray, " lanes"]]
    gradient_norm: Float[np.ndarray, " lanes"]
    finite: Bool[np.ndarray, " lanes"]
    snapshot: Callable[[], Snapshot]


def shape_of(
    plan: Plan,
    config: Config,
    *,
    guided: bool,
    labeled: bool = False,
    masked: bool = False,
    trained: Decoder | None = None,
) -> Shape:
    """Returns what a transfer has in common with those that can run beside it.

    Args:
      plan: of the transfer.
      config: its settings, from `transfer.settled`.
      guided: whether there is a content picture.
      labeled: whether there are guides.
      masked: whether there is a mask.
      trained: decoder of the network; None: there is none.
    """
    there = {"content": guided, "guides": labeled, "mask": masked, "blend": config.style_blend}
    return Shape(
        plan=dataclasses.replace(plan, dropped=0),
        has=frozenset(name for name, found in there.items() if found),
        copies=config.copies(),
        config=config.program(),
        rounds=decoder_rounds(config, trained),
    )


def make_lane(
    content: Float[Any, "_ _ 3"] | None,
    styles: Sequence[Float[Any, "_ _ 3"]],
    initial: Float[Any, "_ _ 3"] | None,
    shape: Shape,
    config: Config,
    *,
    guides: Guides | None = None,
    mask: Float[Any, "_ _"] | None = None,
) -> Lane:
    """Returns a transfer ready to run: pictures resampled and colored as in a single run.

    Args:
      content: content picture, sRGB in 0 to 1; None: un-guided synthesis.
      styles: style pictures, sRGB in 0 to 1.
      initial: picture to start from instead of what ``config.init`` says.
      shape: from `shape_of`.
      config: settings, from `transfer.settled`.
      guides: what is where, in the result and in each style.
      mask: where the result may differ from the content.
    """
    given = content, mask
    content, initial, mask, guides, styles = jax.tree.map(
        jnp.asarray, (content, initial, mask, guides, tuple(styles))
    )
    inputs = make_inputs(content, styles, config, guides=guides, mask=mask)
    levels = tuple(
        level_inputs(inputs, shape.plan, level, config) for level in range(len(shape.plan.shapes))
    )
    start = initial_picture(inputs, initial, shape.plan, config)
    levels, start, finish = jax.device_get((levels, start, inputs.finish))
    # Numbers as arrays, to be stacked with those of other lanes.
    levels = jax.tree.map(lambda leaf: np.asarray(leaf, getattr(leaf, "dtype", np.float32)), levels)
    return Lane(levels, start, *given, finish)


def make_mesh(devices: Sequence[jax.Device]) -> Mesh:
    """Returns the mesh whose one axis the lanes are divided along."""
    return Mesh(np.array(devices), (AXIS,))


def run(
    lanes: Sequence[Lane],
    shape: Shape,
    params: PyTree,
    *,
    features: Features,
    mesh: Mesh,
    resume: Snapshot | None = None,
    trained: Decoder | None = None,
) -> Iterator[Stage]:
    """Runs the pyramid for all lanes, yielding after every iteration.

    A level without iterations yields once, after its rounds of the decoder. A lane that stops
    being finite stays as it was, and the others go on.

    Args:
      lanes: of equal `shape`; their number is a multiple of the number of devices.
      shape: from `shape_of`.
      params: parameters of the network.
      features: the network.
      mesh: from `make_mesh`.
      resume: state to go on from instead of the start.
      trained: decoder of the network; None: there is none.
    """
    params, trained = jax.device_put((params, trained), NamedSharding(mesh, _SHARED))
    first = 0 if resume is None else resume.level
    finite = np.ones(len(lanes), bool) if resume is None else resume.finite
    images = _spread(np.stack([lane.start for lane in lanes]), mesh)
    for level in range(first, len(shape.plan.shapes)):
        config = shape.plan.program(level, shape.config)
        static = {"features": features, "config": config, "mesh": mesh}
        inputs = [lane.levels[level] for lane in lanes]
        inputs = _spread(jax.tree.map(lambda *leaves: np.stack(leaves), *inputs), mesh)
        targets = _prepare(params, inputs, shape=shape.plan.shapes[level], **static)
        begin = functools.partial(
            _begin, shape=shape.plan.shapes[level], rounds=shape.rounds, **static
        )
        done, iterations = 0, shape.plan.iterations[level]
        resumed = resume is not None and level == resume.level
        if resumed:
            structure = jax.tree.structure(jax.eval_shape(begin, images, params, trained, targets))
            state, memory = jax.tree.unflatten(structure, resume.arrays)
            image, optimizer, memory = _spread((state.image, state.optimizer, memory), mesh)
            state, done = state._replace(image=image, optimizer=optimizer), resume.iteration
        else:
            state, memory = begin(images, params, trained, targets)
        if not (iterations or resumed):
            unknown = np.full(len(lanes), np.nan, np.float32)
            yield _stage(state, memory, (level, 0), finite, unknown, {}, unknown)
        for iteration in range(done, iterations):
            state, record, memory = _advance(
                state.image, state.optimizer, state.iteration, memory, params, targets, **static
            )
            seen = jax.device_get(record)
            finite = finite & seen.finite
            position = level, iteration + 1
            seen = seen.value, seen.more, seen.gradient_norm
            yield _stage(state, memory, position, finite, *seen)
        images = state.image


def _stage(
    state: optimizers.State,
    memory: Any,
    position: tuple[int, int],
    finite: np.ndarray,
    value: np.ndarray,
    terms: dict[str, np.ndarray],
    gradient_norm: np.ndarray,
) -> Stage:
    def snapshot() -> Snapshot:
        leaves = jax.device_get(jax.tree.leaves((state, memory)))
        return Snapshot(*position, leaves, value, finite)

    return Stage(*position, state.image, value, terms, gradient_norm, finite, snapshot)


def program_text(
    lanes: Sequence[Lane], shape: Shape, params: PyTree, *, features: Features, mesh: Mesh
) -> str:
    """Returns the compiled step of the finest level as text, to see what devices exchange."""
    config = shape.plan.program(-1, shape.config)
    static = {"features": features, "config": config, "mesh": mesh}
    inputs = jax.tree.map(lambda *leaves: np.stack(leaves), *[lane.levels[-1] for lane in lanes])
    inputs = _spread(inputs, mesh)
    images = _spread(np.zeros((len(lanes), *shape.plan.shapes[-1], 3), np.float32), mesh)
    finest = {"shape": shape.plan.shapes[-1], **static}
    targets = _prepare(params, inputs, **finest)
    state, memory = _begin(images, params, None, targets, rounds=0, **finest)
    return _advance.lower(*state, memory, params, targets, **static).compile().as_text()


def finished(
    image: Float[Any, "h w 3"], lane: Lane, shape: Shape, config: Config
) -> Float[np.ndarray, "height width 3"]:
    """Returns the picture of a lane as it is delivered: sRGB in 0 to 1."""
    progress = Progress(
        level=len(shape.plan.shapes) - 1,
        levels=len(shape.plan.shapes),
        iteration=shape.plan.iterations[-1],
        iterations=shape.plan.iterations[-1],
        decoded=shape.rounds,
        image=jnp.asarray(image),
        original=None if lane.original is None else jnp.asarray(lane.original),
        mask=None if lane.mask is None else jnp.asarray(lane.mask),
        shape=shape.plan.shapes[-1],
        config=config,
        finish=lane.finish,
        **NOTHING_SEEN,
    )
    return np.asarray(progress.picture())


def _spread(tree: PyTree, mesh: Mesh) -> PyTree:
    return jax.device_put(tree, NamedSharding(mesh, _LANES))


def _over_lanes(function: Callable[..., Any], shared: tuple[bool, ...], mesh: Mesh) -> Any:
    """Maps a function over lanes on all devices; `shared` says which arguments all have.

    A device's only lane is not mapped, so that it computes what a single run does.
    """
    mapped = jax.vmap(function, in_axes=tuple(None if one else 0 for one in shared))

    def of_device(*arguments: Any) -> Any:
        own = [given for given, one in zip(arguments, shared, strict=True) if not one]
        if jax.tree.leaves(own)[0].shape[0] > 1:
            return mapped(*arguments)
        alone = (
            given if one else jax.tree.map(lambda leaf: leaf[0], given)
            for given, one in zip(arguments, shared, strict=True)
        )
        return jax.tree.map(lambda leaf: leaf[None], function(*alone))

    specs = tuple(_SHARED if one else _LANES for one in shared)
    return jax.shard_map(of_device, mesh=mesh, in_specs=specs, out_specs=_LANES, check_vma=False)


@functools.partial(jax.jit, static_argnames=("shape", "features", "config", "mesh"))
def _prepare(
    params: PyTree,
    inputs: LevelInputs,
    *,
    shape: tuple[int, int],
    features: Features,
    config: Config,
    mesh: Mesh,
) -> energy.Targets:
    one = functools.partial(prepare_level, shape=shape, features=features, config=config)
    return _over_lanes(one, (True, False), mesh)(params, inputs)


@functools.partial(jax.jit, static_argnames=("shape", "rounds", "features", "config", "mesh"))
def _begin(
    images: Array,
    params: PyTree,
    trained: Decoder | None,
    targets: energy.Targets,
    *,
    shape: tuple[int, int],
    rounds: int,
    features: Features,
    config: Config,
    mesh: Mesh,
) -> tuple[optimizers.State, dict[str, Any]]:
    """Returns the states and memories that a level starts from, after its decoder."""

    def one(
        image: Array, params: PyTree, trained: Decoder | None, targets: energy.Targets
    ) -> tuple[Any, ...]:
        image = enlarged(image, shape, config)
        for _ in range(rounds):
            image, _ = decoded(image, params, trained, targets, features=features, config=config)
        state = optimizers.init(image, optimizers.make_optimizer(config))
        memory = energy.no_memory(image, params, targets, features=features, config=config)
        return state.image, state.optimizer, memory

    image, optimizer, memory = _over_lanes(one, (False, True, True, False), mesh)(
        images, params, trained, targets
    )
    return optimizers.State(image, optimizer, jnp.zeros((), jnp.int32)), memory


# The pictures are not donated: who sees a stage may keep them.
@functools.partial(
    jax.jit,
    static_argnames=("features", "config", "mesh"),
    donate_argnames=("optimizer_state", "memory"),
)
def _advance(
    images: Array,
    optimizer_state: PyTree,
    iteration: Array,
    memory: dict[str, Any],
    params: PyTree,
    targets: energy.Targets,
    *,
    features: Features,
    config: Config,
    mesh: Mesh,
) -> tuple[optimizers.State, optimizers.Record, dict[str, Any]]:
    """Takes one step in every lane; all are at the same iteration, which is not mapped.

    So whether matches are found anew stays one condition for all, and is not computed
    both ways.
    """

    def one(*arguments: Any) -> tuple[Any, ...]:
        state, record, memory = advance(*arguments, features=features, config=config)
        return state.image, state.optimizer, record, memory

    shared = (False, False, True, False, True, False)
    image, optimizer, record, memory = _over_lanes(one, shared, mesh)(
        images, optimizer_state, iteration, memory, params, targets
    )
    return optimizers.State(image, optimizer, iteration + 1), record, memory
