"""The run of pictures of one shape side by side, coarse to fine: the lanes of one program.

Every function of `step` is mapped over a leading lane axis, which is divided among the devices
of a mesh. Lanes do not see each other, so no device waits for another: `shard_map` leaves no
place for collectives. A single picture (`loop`) is one lane without a mesh.

On CPUs the host loops over steps, since a step inside `lax.scan` is slower there
(docs/design.md); accelerators are given chunks of several steps, so that they need not wait
for the host.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, PyTree

from jaxmrf.core import color
from jaxmrf.core.features import Network
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.run import programs
from jaxmrf.core.run.inputs import LevelPictures, initial_picture, level_pictures, make_pictures
from jaxmrf.core.run.plan import Plan
from jaxmrf.core.run.progress import NOTHING_SEEN, Progress
from jaxmrf.core.settings import CopySettings, Program, Settings

LONGEST_CHUNK = 10
"""Iterations of a level that an accelerator does in one program, at most."""

CHUNK_PIXELS = 2**22
"""Pixels of the pictures that such a program hands out, at most: what starts slowly is the
program of a small picture."""


@dataclasses.dataclass(frozen=True)
class ProgramKey:
    """What lanes of one program have in common; lanes of equal key may run together.

    Attributes:
      plan: sizes and iterations of the levels.
      has: which pictures and weights there are beside the styles.
      copies: settings of the style copies.
      program: settings that compiled programs depend on.
      rounds: rounds of the decoder that a level starts with.
      pooling: of the network.
    """

    plan: Plan
    has: frozenset[str]
    copies: CopySettings
    program: Program
    rounds: int = 0
    pooling: str = "max"


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

    levels: tuple[LevelPictures, ...]
    start: Float[np.ndarray, "h w 3"]
    original: Float[Any, "_ _ 3"] | None
    mask: Float[Any, "_ _"] | None = None
    finish: color.Finish | None = None


class Snapshot(NamedTuple):
    """The state of all lanes between two iterations, on the host; enough to go on from.

    Attributes:
      level: pyramid level, 0 is the coarsest.
      iteration: iterations done at this level.
      arrays: pictures and states of optimizer and style losses, in a fixed order.
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
    """All lanes when a level starts, after a round of the decoder, or after an iteration.

    Attributes:
      level: pyramid level, 0 is the coarsest.
      decoded: rounds of the decoder done at this level.
      iteration: iterations done at this level.
      images: pictures at the level's size, not clipped, [lanes, h, w, 3]; of one lane without
        a mesh a list of it.
      value: energy that the iteration of each lane started from, [lanes]; not a number before.
      terms: weighted terms of that energy by name, each [lanes].
      gradient_norm: norm of its gradient, [lanes].
      finite: whether each lane has been finite so far, [lanes].
      decodable: whether all that the decoder made of each lane was finite, [lanes].
      snapshot: copies the whole state to the host; None where there is none to go on from.
      exact_matches: share of matches of each lane that are the nearest of all, [lanes].
    """

    level: int
    decoded: int
    iteration: int
    images: Float[Array, "lanes h w 3"] | list[Float[Array, "h w 3"]]
    value: Float[np.ndarray, " lanes"]
    terms: dict[str, Float[np.ndarray, " lanes"]]
    gradient_norm: Float[np.ndarray, " lanes"]
    finite: Bool[np.ndarray, " lanes"]
    decodable: Bool[np.ndarray, " lanes"]
    snapshot: Callable[[], Snapshot] | None = None
    exact_matches: Callable[[], Float[np.ndarray, " lanes"]] | None = None


def key_of(plan: Plan, settings: Settings, *, labeled: bool, masked: bool) -> ProgramKey:
    """Returns the key of a transfer, which those that can run beside it share.

    Args:
      plan: of the transfer.
      settings: its settings.
      labeled: whether there are guides.
      masked: whether there is a mask.
    """
    inputs = {
        "content": settings.has_content,
        "guides": labeled,
        "mask": masked,
        "blend": settings.config.style_blend,
    }
    return ProgramKey(
        plan=dataclasses.replace(plan, dropped=0),
        has=frozenset(name for name, present in inputs.items() if present),
        copies=settings.copies,
        program=settings.program,
        rounds=settings.rounds,
        pooling=settings.config.pooling,
    )


def make_lane(
    content: Float[Any, "_ _ 3"] | None,
    styles: Sequence[Float[Any, "_ _ 3"]],
    initial: Float[Any, "_ _ 3"] | None,
    plan: Plan,
    settings: Settings,
    *,
    guides: Guides | None = None,
    mask: Float[Any, "_ _"] | None = None,
) -> Lane:
    """Returns a transfer ready to run: its pictures resampled and colored.

    Args:
      content: content picture, sRGB in 0 to 1; None: un-guided synthesis.
      styles: style pictures, sRGB in 0 to 1.
      initial: picture to start from instead of what `Config.init` says.
      plan: sizes of the levels.
      settings: of the transfer.
      guides: what is where, in the result and in each style.
      mask: where the result may differ from the content.
    """
    original, original_mask = content, mask
    content, initial, mask, guides, styles = jax.tree.map(
        jnp.asarray, (content, initial, mask, guides, tuple(styles))
    )
    pictures = make_pictures(content, styles, settings.config, guides=guides, mask=mask)
    levels = tuple(
        level_pictures(pictures, plan, level, settings) for level in range(len(plan.shapes))
    )
    start = initial_picture(pictures, initial, plan, settings.config)
    levels, start, finish = jax.device_get((levels, start, pictures.finish))
    # Numbers as arrays, to be stacked with those of other lanes.
    levels = jax.tree.map(lambda leaf: np.asarray(leaf, getattr(leaf, "dtype", np.float32)), levels)
    return Lane(levels, start, original, original_mask, finish)


def run(
    lanes: Sequence[Lane],
    key: ProgramKey,
    network: Network,
    *,
    mesh: Mesh | None = None,
    resume: Snapshot | None = None,
) -> Iterator[Stage]:
    """Runs the pyramid for all lanes.

    A lane that stops being finite stays as it was, and the others go on.

    Args:
      lanes: of equal `key`; their number is a multiple of the number of devices.
      key: from `key_of`.
      network: the network.
      mesh: from `programs.make_mesh`; None: a single lane on the default device.
      resume: state of lanes of a mesh to go on from instead of the start.

    Yields:
      All lanes when a level starts, after each round of the decoder, and after each iteration.
    """
    network = programs.placed(network, mesh, programs.SHARED)
    good = np.ones(len(lanes), bool)
    starts = _stacked([lane.start for lane in lanes], mesh)
    stage = _level_start(0, _for_stage(starts, mesh), good, good)
    if resume is not None:
        stage = dataclasses.replace(
            stage,
            level=resume.level,
            decoded=key.rounds,
            iteration=resume.iteration,
            images=programs.placed(resume.arrays[0], mesh, programs.LANES),
            value=resume.value,
            finite=resume.finite,
        )
    for level in range(stage.level, len(key.plan.shapes)):
        own = resume if resume is not None and level == resume.level else None
        if own is not None and own.iteration == key.plan.iterations[level]:
            continue  # it was saved at its end
        stages = _run_level(lanes, key, network, mesh, own, stage, level)
        for stage in stages:
            yield stage


def _level_start(
    level: int,
    images: Array | list[Array],
    finite: Bool[np.ndarray, " lanes"],
    decodable: Bool[np.ndarray, " lanes"],
) -> Stage:
    """Returns the stage of lanes at the start of a level, when no energy is known."""
    nothing = np.full(len(finite), np.nan, np.float32)
    return Stage(level, 0, 0, images, nothing, {}, nothing, finite, decodable)


def _run_level(
    lanes: Sequence[Lane],
    key: ProgramKey,
    network: Network,
    mesh: Mesh | None,
    resume: Snapshot | None,
    stage: Stage,
    level: int,
) -> Iterator[Stage]:
    """Yields the stages of a level, see `run`; `stage` is the last one of the level before."""
    shape, iterations = key.plan.shapes[level], key.plan.iterations[level]
    static = {"program": key.plan.program(level, key.program), "mesh": mesh}
    if resume is None:
        images = programs.enlarge(
            _of_stage(stage, mesh), shape=shape, tileable=key.program.tileable, mesh=mesh
        )
        stage = _level_start(level, _for_stage(images, mesh), stage.finite, stage.decodable)
        yield stage
    pictures = _stacked([lane.levels[level] for lane in lanes], mesh)
    # Stages refer to this, and not to what is in it: it is gone when the next level is prepared.
    held = {"targets": programs.prepare(network, pictures, shape=shape, **static)}
    for decoded in range(1, 1 + (key.rounds if resume is None else 0)):
        image, finite = programs.decode(network, _of_stage(stage, mesh), held["targets"], **static)
        stage = dataclasses.replace(
            stage,
            decoded=decoded,
            images=_for_stage(image, mesh),
            decodable=stage.decodable & np.asarray(finite),
        )
        yield stage
    if not iterations:
        return
    begin = functools.partial(
        programs.begin, network, _of_stage(stage, mesh), held["targets"], **static
    )
    state, loss_state = begin() if resume is None else _restored(resume, begin, mesh)
    (device, *_) = state.image.devices()
    lanes_of_device = len(lanes) // (1 if mesh is None else mesh.size)
    pixels = math.prod(shape) * lanes_of_device
    count = chunk_length(device.platform, pixels, iterations - stage.iteration)
    for first in range(stage.iteration, iterations, count):
        state, loss_state, images, records = programs.steps(
            network, *state, loss_state, held["targets"], count=count, **static
        )
        held["states"] = state, loss_state
        records = jax.device_get(records)
        for place in range(count):
            record = jax.tree.map(lambda leaf, place=place: leaf[place], records)
            stage = dataclasses.replace(
                stage,
                iteration=first + place + 1,
                images=_for_stage(images[place], mesh),
                value=record.value.reshape(-1),
                terms={name: term.reshape(-1) for name, term in record.more.items()},
                gradient_norm=record.gradient_norm.reshape(-1),
                finite=stage.finite & record.finite,
                snapshot=None,
                exact_matches=lambda images=images[place]: np.reshape(
                    programs.exact_matches(network, images, held["targets"], **static), -1
                ),
            )
            if place == count - 1 and mesh is not None:
                saved = functools.partial(_snapshot, held, stage)
                stage = dataclasses.replace(stage, snapshot=saved)
            yield stage
    held.clear()


def _stacked(trees: Sequence[PyTree], mesh: Mesh | None) -> PyTree:
    """Returns what the lanes have, as the programs take it, on their devices."""
    if mesh is None:
        (tree,) = trees
    else:
        tree = jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
    return programs.placed(tree, mesh, programs.LANES)


def _for_stage(images: Array, mesh: Mesh | None) -> Array | list[Array]:
    """Returns the pictures of a program as a stage has them, by lane."""
    return [images] if mesh is None else images


def _of_stage(stage: Stage, mesh: Mesh | None) -> Any:
    """Returns the pictures of a stage as the programs take them."""
    return stage.images[0] if mesh is None else stage.images


def _snapshot(held: Mapping[str, PyTree], stage: Stage) -> Snapshot:
    arrays = jax.device_get(jax.tree.leaves(held["states"]))
    return Snapshot(stage.level, stage.iteration, arrays, stage.value, stage.finite)


def _restored(
    resume: Snapshot, begin: Callable[[], tuple[optimizers.State, PyTree]], mesh: Mesh | None
) -> tuple[optimizers.State, PyTree]:
    """Returns the saved states of a level, in the structure of those that it would begin with."""
    structure = jax.tree.structure(jax.eval_shape(begin))
    state, loss_state = jax.tree.unflatten(structure, resume.arrays)
    image, optimizer, loss_state = programs.placed(
        (state.image, state.optimizer, loss_state), mesh, programs.LANES
    )
    return state._replace(image=image, optimizer=optimizer), loss_state


def chunk_length(platform: str, pixels: int, iterations: int) -> int:
    """Returns how many iterations of a level go into one program: a divisor of their number.

    Args:
      platform: of the device.
      pixels: of the pictures of one iteration.
      iterations: that are left.

    Example:
      >>> chunk_length("gpu", 384 * 298, 15), chunk_length("cpu", 384 * 298, 15)
      (5, 1)
    """
    if platform == "cpu":
        return 1
    longest = min(LONGEST_CHUNK, CHUNK_PIXELS // pixels)
    return max((n for n in range(1, longest + 1) if iterations % n == 0), default=1)


def progress_of(
    stage: Stage, place: int, lane: Lane, key: ProgramKey, settings: Settings
) -> Progress:
    """Returns the progress record of a lane.

    Args:
      stage: of all lanes.
      place: of the lane among them.
      lane: what it was made of.
      key: of all lanes.
      settings: of the lane.
    """
    progress = _progress(stage.images[place], lane, key, settings, stage.level)
    progress = dataclasses.replace(
        progress,
        iteration=stage.iteration,
        decoded=stage.decoded,
        undecodable=not stage.decodable[place],
    )
    if not stage.iteration:
        return progress
    return dataclasses.replace(
        progress,
        value=float(stage.value[place]),
        terms={name: float(term[place]) for name, term in stage.terms.items()},
        gradient_norm=float(stage.gradient_norm[place]),
    )


def finished(
    image: Float[Any, "h w 3"], lane: Lane, key: ProgramKey, settings: Settings
) -> Float[np.ndarray, "height width 3"]:
    """Returns the picture of a lane as it is delivered: sRGB in 0 to 1."""
    return np.asarray(_progress(image, lane, key, settings, -1).picture())


def _progress(
    image: Float[Any, "h w 3"], lane: Lane, key: ProgramKey, settings: Settings, level: int
) -> Progress:
    """Returns the record of a lane at the end of a level, of which nothing was seen."""
    iterations = key.plan.iterations[level]
    return Progress(
        level=range(len(key.plan.shapes))[level],
        levels=len(key.plan.shapes),
        iteration=iterations,
        iterations=iterations,
        decoded=key.rounds,
        image=image,
        original=lane.original,
        mask=lane.mask,
        shape=key.plan.shapes[-1],
        config=settings.config,
        finish=lane.finish,
        **NOTHING_SEEN,
    )


def lowered(key: ProgramKey, pictures: LevelPictures, network: Network) -> list[jax.stages.Lowered]:
    """Returns the programs that the finest level of a single picture runs, not yet compiled.

    Args:
      key: from `key_of`.
      pictures: shapes of what the level is prepared from.
      network: the network.
    """
    shape, iterations = key.plan.shapes[-1], key.plan.iterations[-1]
    static = {"program": key.plan.program(-1, key.program), "mesh": None}
    pictures = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), np.float32), pictures)
    image = jax.ShapeDtypeStruct((*shape, 3), np.float32)
    prepare = functools.partial(programs.prepare, shape=shape, **static)
    targets = jax.eval_shape(prepare, network, pictures)
    level_programs = [programs.prepare.lower(network, pictures, shape=shape, **static)]
    if key.rounds:
        level_programs.append(programs.decode.lower(network, image, targets, **static))
    if iterations:
        begin = functools.partial(programs.begin, **static)
        state, loss_state = jax.eval_shape(begin, network, image, targets)
        level_programs.append(
            programs.steps.lower(network, *state, loss_state, targets, count=1, **static)
        )
    return level_programs


def program_text(
    lanes: Sequence[Lane], key: ProgramKey, network: Network, mesh: Mesh
) -> str | None:
    """Returns the compiled step of the finest level as text, to see what devices exchange.

    None if the compiler does not tell.
    """
    shape = key.plan.shapes[-1]
    static = {"program": key.plan.program(-1, key.program), "mesh": mesh}
    pictures = _stacked([lane.levels[-1] for lane in lanes], mesh)
    targets = programs.prepare(network, pictures, shape=shape, **static)
    zeros = [np.zeros((*shape, 3), np.float32)] * len(lanes)
    state, loss_state = programs.begin(network, _stacked(zeros, mesh), targets, **static)
    steps = programs.steps.lower(network, *state, loss_state, targets, count=1, **static)
    return steps.compile().as_text()
