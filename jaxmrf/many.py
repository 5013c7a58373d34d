"""Many pairs of pictures as lanes of as few programs as they need, over all devices."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmrf import planning, side_by_side
from jaxmrf.api import Result, as_loaded, check_not_traced
from jaxmrf.core.config import Config, Shape
from jaxmrf.core.features import Network
from jaxmrf.core.presets import configured
from jaxmrf.core.run.lanes import ProgramKey, Stage, progress_of
from jaxmrf.core.run.progress import NonFiniteEnergyError
from jaxmrf.core.settings import Settings
from jaxmrf.errors import ConfigError, PairsError, UserError
from jaxmrf.files import pictures
from jaxmrf.files.record import record_of
from jaxmrf.files.sources import Sources
from jaxmrf.machine import memory
from jaxmrf.networks.weights import Loaded
from jaxmrf.side_by_side import Planner, Ready

Pair = Iterable[Any] | Mapping[str, Any]
"""Content and style; or a mapping with these, other pictures and settings of its own by name."""

PICTURES = ("content", "style", "initial", "content_guide", "style_guide", "guides", "mask")
"""What a mapping may have beside settings, as the arguments of `transfer`."""

READERS = 4
"""Threads that read pictures while others are painted."""

MOST_FAULTS = 20
"""Faults of pairs that are told at once."""


class _Task(NamedTuple):
    """A pair that is to be painted."""

    index: int
    sources: Sources
    shape: Shape
    settings: Settings
    key: ProgramKey


class _Group(NamedTuple):
    """Pairs that can be painted side by side, and the network as they need it."""

    key: ProgramKey
    network: Network
    tasks: list[_Task]


def transfer_many(
    pairs: Iterable[Pair],
    config: Config | None = None,
    *,
    network: Network | Loaded | None = None,
    lanes: int | None = None,
    bucket: int = 1,
    callback: Callable[[int, Result], Any] = lambda index, result: None,
    **options: Any,
) -> list[Result]:
    """Paints many pairs, side by side where their sizes and settings allow it.

    Each result is that of `transfer`, but for rounding (and for what is beyond the sides that
    `bucket` rounds up). Pairs of equal sizes whose settings differ in weights, seed or colors
    share a program. Pictures are read while others are painted.

    Args:
      pairs: (content, style) each, of the kinds that `transfer` takes; or a mapping with
        ``content``, ``style`` and whatever differs for this pair: settings by name, ``initial``,
        ``mask``, ``content_guide``, ``style_guide``, ``guides``.
      config: settings of all pairs; None: those of `options` alone.
      network: as for `transfer`.
      lanes: pairs that are painted at once; None: as many as the memory of the devices allows,
        one for each CPU device.
      bucket: sides are rounded up to a multiple of this, so that similar sizes share programs;
        results are cut to their size again. 1: not.
      callback: called with the index of a pair and its result as soon as it is finished.
      **options: settings by their names in `Config`, on top of `config`, ``preset`` and
        ``alpha``, see `jaxmrf.core.presets.between`.

    Returns:
      The results, in the order of the pairs.

    Raises:
      ConfigError: if a setting, or a picture of any pair, cannot be used; nothing is painted then.
      PairsError: if a file could be opened but not be read, an energy was not a number, or memory
        did not suffice; raised when all others are painted, and has their results.

    Example:
      >>> pixels = np.random.default_rng(0).random((3, 40, 40, 3), np.float32)
      >>> pairs = [(pixels[0], pixels[2]), {"content": pixels[1], "style": pixels[2], "seed": 1}]
      >>> [result.image.shape for result in transfer_many(pairs, size=32, effort="quick")]
      [(32, 32, 3), (32, 32, 3)]
    """
    pairs = list(pairs)
    check_not_traced("transfer_many", pairs, network, options)
    side_by_side.check_number("lanes", lanes, 1)
    side_by_side.check_number("bucket", bucket, 1)
    configured(config, options, ("lanes", "bucket"))  # what is wrong for all pairs is told once
    loaded = as_loaded(network)
    groups = _groups(pairs, config, options, loaded.network, bucket)
    results: list[Result | None] = [None] * len(pairs)
    errors: dict[int, Exception] = {}
    with ThreadPoolExecutor(READERS) as pool:
        painter = _Painter(loaded, lanes, pool)
        for group in groups:
            for index, result in painter.paint(group):
                if isinstance(result, Exception):
                    errors[index] = result
                    continue
                results[index] = result
                callback(index, result)
    if errors:
        raise PairsError(errors, results)
    return [result for result in results if result is not None]


def _parts(pair: Pair) -> tuple[Sources, dict[str, Any]]:
    """Returns the pictures of a pair, and the settings that are its own."""
    if not isinstance(pair, Mapping):
        both = () if isinstance(pair, str) or not isinstance(pair, Iterable) else tuple(pair)
        if len(both) != 2:
            raise ConfigError("it must be a content and a style, or a mapping with these")
        return Sources.of(both[1], both[0]), {}
    for name in ("content", "style"):
        if pair.get(name) is None:
            raise ConfigError(f"the {name} is missing")
    given = {name: pair[name] for name in PICTURES if name in pair}
    return Sources.of(**given), {name: pair[name] for name in pair if name not in given}


def _groups(
    pairs: Sequence[Pair],
    config: Config | None,
    options: Mapping[str, Any],
    network: Network,
    bucket: int,
) -> list[_Group]:
    """Returns what is to be painted by program, in order of the first pair of each.

    Raises:
      ConfigError: if a pair cannot be painted; it tells of all that cannot.
    """
    planner, faults = Planner(network, bucket), []
    groups: dict[ProgramKey, _Group] = {}
    for index, pair in enumerate(pairs):
        try:
            sources, own = _parts(pair)
            chosen = configured(config, {**options, **own}, PICTURES)
            task = _task(index, sources, chosen, network, planner)
            if task.key not in groups:
                pooled = planning.with_pooling(network, chosen)
                fitting = memory.fit(pooled, task.key.plan, task.settings, budget=None)
                groups[task.key] = _Group(task.key, fitting, [])
            groups[task.key].tasks.append(task)
        except UserError as error:
            faults.append(f"pair {index}: {error}")
    if faults:
        left = len(faults) - MOST_FAULTS
        more = [f"and {left} more"] if left > 0 else []
        raise ConfigError("\n".join([*faults[:MOST_FAULTS], *more]))
    return list(groups.values())


def _task(
    index: int, sources: Sources, config: Config, network: Network, planner: Planner
) -> _Task:
    shape = planning.result_shape(pictures.shape_of(sources.content, "content"), config)
    style_shapes = sources.check(shape)
    _, settings = planning.resolved(config, network, shape, has_start=sources.initial is not None)
    labeled = sources.guides is not None or sources.content_guide is not None
    masked = sources.mask is not None
    key = planner.key(shape, style_shapes, settings, labeled=labeled, masked=masked)
    return _Task(index, sources, shape, settings, key)


class _Painter:
    """Paints groups, one chunk of lanes after another, and reads the next one meanwhile.

    Args:
      loaded: the network.
      lanes: pairs that are painted at once; None: as many as memory allows.
      pool: threads that read.
    """

    def __init__(self, loaded: Loaded, lanes: int | None, pool: ThreadPoolExecutor) -> None:
        self._loaded, self._lanes, self._pool = loaded, lanes, pool
        self._mesh = side_by_side.local_mesh()
        self._reading: dict[int, Future[Ready]] = {}

    def paint(self, group: _Group) -> Iterator[tuple[int, Result | Exception]]:
        """Yields the results of a group by the index of their pair, or why there is none."""
        count, waiting = self._lane_count(group), collections.deque(group.tasks)
        while waiting:
            for task in itertools.islice(waiting, 2 * count):
                if task.index not in self._reading:
                    self._reading[task.index] = self._pool.submit(_ready, task)
            chunk = list(itertools.islice(waiting, count))
            try:
                results = self._paint_chunk(group, chunk, count)
            except (MemoryError, jax.errors.JaxRuntimeError) as error:
                if not side_by_side.is_out_of_memory(error):
                    raise
                if count > self._mesh.size:
                    count = side_by_side.whole(count // 2, self._mesh.size)
                    continue
                results = [MemoryError(side_by_side.NO_MEMORY)] * len(chunk)
            for task, result in zip(chunk, results, strict=True):
                waiting.popleft()
                del self._reading[task.index]
                yield task.index, result

    def _lane_count(self, group: _Group) -> int:
        settings, members = group.tasks[0].settings, len(group.tasks)
        return side_by_side.lane_count(
            group.key, settings, group.network, self._mesh, members, self._lanes
        )

    def _paint_chunk(
        self, group: _Group, chunk: Sequence[_Task], count: int
    ) -> list[Result | Exception]:
        """Paints pairs, one a lane; returns the results, or why there is none."""
        prepared = [self._prepared(task) for task in chunk]
        ready = [None if isinstance(run, UserError) else run for run in prepared]
        if not any(ready):
            return [run for run in prepared if isinstance(run, UserError)]
        stages = side_by_side.run(ready, group.key, group.network, mesh=self._mesh, count=count)
        last = collections.deque(stages, maxlen=1).pop()
        return [
            run if isinstance(run, UserError) else self._result(task, run, last, place)
            for place, (task, run) in enumerate(zip(chunk, prepared, strict=True))
        ]

    def _prepared(self, task: _Task) -> Ready | UserError:
        try:
            return self._reading[task.index].result()
        except UserError as error:
            return error

    def _result(self, task: _Task, ready: Ready, last: Stage, place: int) -> Result | Exception:
        progress = progress_of(last, place, ready.lane, task.key, task.settings)
        if not last.finite[place]:
            return NonFiniteEnergyError(progress)
        height, width = task.shape
        image = np.asarray(progress.picture())[:height, :width]
        config, loaded = task.settings.config, self._loaded
        record = record_of(task.sources, task.shape, config, loaded.network, loaded.sha256)
        return Result(image, progress.on_host(), ready.alpha, record)


def _ready(task: _Task) -> Ready:
    inputs = task.sources.read(task.shape)
    return side_by_side.prepare(inputs, task.shape, task.key, task.settings)
