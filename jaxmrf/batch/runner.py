"""Many jobs from files to files: grouped by shape, run as lanes, restartable.

Reading and writing pictures overlaps with computing. What is done is in the `Ledger`, so
that a batch can be killed at any moment and started again.
"""

import collections
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax

from jaxmrf import side_by_side
from jaxmrf.batch.claims import Claim
from jaxmrf.batch.events import BatchOptions, Event
from jaxmrf.batch.groups import Group, group
from jaxmrf.batch.ledger import Ledger
from jaxmrf.batch.lines import Line
from jaxmrf.batch.writer import Prepared, Writer
from jaxmrf.core.features import Network
from jaxmrf.core.run import lanes, programs
from jaxmrf.core.run.lanes import ProgramKey
from jaxmrf.errors import ConfigError, ImageError, StoppedError
from jaxmrf.jobs import inputs
from jaxmrf.jobs.job import resolved_for
from jaxmrf.machine import memory
from jaxmrf.networks.weights import Loaded

MOST_THREADS = 16
"""Threads that read pictures, and that write them, at most: more wait for Python's lock."""

BUSY_SECONDS = 0.3
"""Time between looks at pictures that another batch is painting."""


class _Chunk(NamedTuple):
    """Lines in flight: some are idle, if they were resumed and had been finished.

    Attributes:
      lines: that run side by side.
      places: of these in their group.
      claims: of these, by name.
      pictures: of these, being read.
      resume: the state that they go on from; None: the start.
    """

    lines: list[Line]
    places: list[int]
    claims: dict[str, Claim]
    pictures: list[Future]
    resume: lanes.Snapshot | None


class Batch:
    """One run over some lines of a manifest."""

    def __init__(
        self,
        ledger: Ledger,
        loaded: Loaded,
        options: BatchOptions,
        *,
        on_event: Callable[[Event], Any] = lambda event: None,
        on_message: Callable[[str], Any] = lambda message: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepares a run.

        Args:
          ledger: of the folder of outputs.
          loaded: from `weights.load`.
          options: how to run.
          on_event: called, from any thread, for every line.
          on_message: called with a line of text for the user.
          stop: asked after every iteration whether to save and stop.
        """
        self._ledger, self._loaded, self._options = ledger, loaded, options
        self._on_event, self._say, self._stop = on_event, on_message, stop
        self._mesh = side_by_side.local_mesh()
        self._readers, self._writing = (ThreadPoolExecutor(_threads()) for _ in range(2))
        self._writer = Writer(ledger, loaded, on_event, self._writing)

    def run(self, lines: Sequence[Line]) -> None:
        """Paints what is missing or changed, and failed lines if they are to be retried.

        Raises:
          StoppedError: if `stop` said so; lanes in flight are saved.
          FullError: if the disk is full.
        """
        record_of = self._ledger.records()

        def unplanned(line: Line, error: Exception) -> None:
            if not self._skip(line, record_of(line)):  # it may have failed before
                self._writer.fail(line, error)

        folders: set[str] = set()

        def wanted(line: Line) -> bool:
            folders.add(line.name.rpartition("/")[0])
            return not self._skip(line, record_of(line))

        # All that is done is told before anything is painted.
        groups = group(lines, self._loaded, self._options.bucket, unplanned, wanted)
        output_folders = [self._ledger.folder / folder for folder in folders]
        with self._readers, self._writing:
            self._ledger.clear_up(lines, output_folders)
            for members in groups:
                if members.lines:
                    self._run_group(members)
        self._writer.collect(wait=True)
        self._check()

    def _run_group(self, group: Group) -> None:
        key, lines = group.key, group.lines
        try:
            network, settings = resolved_for(lines[0].job, self._loaded)
            # In strips where a large picture would not fit otherwise.
            network = memory.fit(network, key.plan, settings, budget=None)
        except ConfigError as error:
            for line in lines:
                self._writer.fail(line, error)
            return
        # The same however much of the group is left.
        count = side_by_side.lane_count(
            key, settings, network, self._mesh, group.members, self._options.lanes
        )
        network = programs.placed(network, self._mesh, programs.SHARED)  # once, not by each chunk
        waiting, busy = collections.deque(range(len(lines))), collections.deque()
        following = self._next(group, waiting, busy, count)
        while following is not None:
            chunk, following = following, None
            try:
                # Read while the chunk before it is computed.
                following = self._next(group, waiting, busy, count)
                self._run_chunk(key, chunk, count, network)
            except (MemoryError, jax.errors.JaxRuntimeError) as error:
                if not side_by_side.is_out_of_memory(error):
                    raise
                self._give_back(chunk)
                if count <= self._mesh.size:
                    for line in chunk.lines:
                        self._writer.fail(line, MemoryError(side_by_side.NO_MEMORY))
                else:
                    if following is not None:
                        self._give_back(following)
                        waiting.extendleft(reversed(following.places))
                    waiting.extendleft(reversed(chunk.places))
                    following = None
                    count = side_by_side.whole(count // 2, self._mesh.size)
                    self._say(f"out of memory: going on with {count} lanes")
            except BaseException:
                for held in (chunk, following):
                    if held is not None:
                        self._give_back(held)
                raise
            if following is None:
                following = self._next(group, waiting, busy, count)
            if following is None and busy:
                self._say(f"waiting for {len(busy)} pictures that another batch is painting")
            while following is None and busy:
                time.sleep(BUSY_SECONDS)
                self._check()
                waiting, busy = busy, collections.deque()
                following = self._next(group, waiting, busy, count)

    def _skip(self, line: Line, record: dict[str, Any] | None) -> bool:
        """Returns whether a line with such a record needs no painting, and tells of it then."""
        if record is None or ("error" in record and self._options.retry):
            return False
        self._ledger.drop_state(line)
        self._on_event(Event("skipped", line, record))
        return True

    def _next(
        self,
        group: Group,
        waiting: collections.deque[int],
        busy: collections.deque[int],
        count: int,
    ) -> _Chunk | None:
        """Claims the next lines and begins to read their pictures; None if none are left.

        Args:
          group: of the lines.
          waiting: places of those that are left; those that are taken go.
          busy: gets the places of those that another batch is at.
          count: number of lanes.
        """
        taken: dict[int, tuple[Line, Claim]] = {}
        candidates = waiting
        while candidates and len(taken) < count:
            # The first one alone: what was saved together goes on together.
            most = count - len(taken) if taken else 1
            claimed = self._claimed(group.lines, candidates, busy, most)
            is_first = not taken
            self._ledger.refresh()
            for place, (line, claim) in claimed.items():
                # Another batch may have painted it just now.
                if self._skip(line, self._ledger.record(line)):
                    claim.release()
                else:
                    taken[place] = line, claim
            if is_first:
                for line, _ in taken.values():
                    beside = self._ledger.saved_beside(line, group.lines, waiting, count)
                    candidates = collections.deque(beside) or waiting
                    for place in beside:
                        waiting.remove(place)
        if candidates is not waiting:
            waiting.extendleft(reversed(candidates))
        if not taken:
            return None
        lines = [line for line, _ in taken.values()]
        resume = self._ledger.load_state(lines, count)
        pictures = [self._readers.submit(self._read, line, group.key) for line in lines]
        claims = {line.name: claim for line, claim in taken.values()}
        return _Chunk(lines, list(taken), claims, pictures, resume)

    def _claimed(
        self,
        lines: Sequence[Line],
        candidates: collections.deque[int],
        busy: collections.deque[int],
        most: int,
    ) -> dict[int, tuple[Line, Claim]]:
        """Returns the next candidates that no other batch is at, by place, with their claims."""
        claimed = {}
        while candidates and len(claimed) < most:
            place = candidates.popleft()
            line = lines[place]
            with self._writer.disk():
                claim = self._ledger.claim(line)
            if claim is None:
                busy.append(place)
            else:
                claimed[place] = line, claim
        return claimed

    def _read(self, line: Line, key: ProgramKey) -> Prepared:
        # Before the pictures: what changes after it is seen as changed by the next batch.
        identity = self._ledger.identity(line)
        pictures = inputs.load(line.job)
        _, settings = resolved_for(line.job, self._loaded)
        ready = side_by_side.prepare(pictures, inputs.shape_of(line.job), key, settings)
        return Prepared(ready, identity)

    def _run_chunk(self, key: ProgramKey, chunk: _Chunk, count: int, network: Network) -> None:
        started = time.monotonic()
        prepared: list[Prepared | None] = []
        for line, future in zip(chunk.lines, chunk.pictures, strict=True):
            try:
                prepared.append(future.result())
            except (ImageError, ConfigError) as error:
                self._writer.fail(line, error)
                prepared.append(None)
        if any(prepared):
            stages = side_by_side.run(
                [prepared_line and prepared_line.ready for prepared_line in prepared],
                key,
                network,
                mesh=self._mesh,
                count=count,
                resume=chunk.resume,
            )
            first = chunk.lines[
                [prepared_line is not None for prepared_line in prepared].index(True)
            ]
            last = self._watch(stages, first, chunk, count)
            if last is not None:
                seconds = time.monotonic() - started
                self._writer.deliver(key, chunk.lines, chunk.claims, prepared, last, seconds)
        else:
            self._give_back(chunk)

    def _watch(
        self, stages: Iterator[lanes.Stage], first: Line, chunk: _Chunk, count: int
    ) -> lanes.Stage | lanes.Snapshot | None:
        """Follows the iterations, saving states on the way.

        Returns:
          The last stage, or the saved state if it was the last.
        """
        last, unsaved, interval = chunk.resume, 0, self._options.checkpoint_every
        for stage in stages:
            last = stage
            unsaved += bool(stage.iteration)  # a start or a round of the decoder is none
            stopping = self._stop()
            if stage.snapshot is not None and (stopping or (interval and unsaved >= interval)):
                unsaved = 0
                with self._writer.disk():
                    self._ledger.save_state(first, chunk.lines, count, stage.snapshot())
            if stopping:
                raise StoppedError
            self._writer.collect()
        return last

    def _check(self) -> None:
        self._writer.collect()
        if self._stop():
            raise StoppedError

    def _give_back(self, chunk: _Chunk) -> None:
        for future in chunk.pictures:
            future.cancel()
        for claim in chunk.claims.values():
            claim.release()


def _threads() -> int:
    """Returns the number of threads that read, or write: as many as there are processors for."""
    processors = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    return min(max(2, len(processors)), MOST_THREADS)
