"""Many jobs from files to files: grouped by shape, run as lanes, restartable.

Reading and writing pictures overlaps with computing. What is done is in the `Ledger`, so
that a batch can be killed at any moment and started again.
"""

import collections
import contextlib
import errno
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import filelock
import jax
import numpy as np

from jaxmrf import api
from jaxmrf.batch.events import BatchOptions, Event, FullError, StoppedError
from jaxmrf.batch.groups import _config_of, final_shape, group
from jaxmrf.batch.ledger import Ledger
from jaxmrf.batch.manifest import Line
from jaxmrf.core import pyramid
from jaxmrf.core.run import lanes
from jaxmrf.errors import ConfigError, ImageError
from jaxmrf.files import atomic, image
from jaxmrf.files.guides import load_mask
from jaxmrf.files.image import Picture
from jaxmrf.jobs import inputs
from jaxmrf.jobs.inputs import padded
from jaxmrf.jobs.job import settings_of
from jaxmrf.machine import memory
from jaxmrf.networks import weights

THREADS = 4
"""That read and write pictures; decoding and encoding let go of Python's lock."""

MOST_LANES = 64
"""Lanes of a device that ``--lanes auto`` goes up to; more gain nothing on an accelerator."""

SHARE = 0.8
"""Of the device's memory that the lanes of ``--lanes auto`` may take by the estimate."""

BUSY_SECONDS = 0.3
"""Between looks at pictures that another batch is painting."""


class _Chunk(NamedTuple):
    """Lines in flight: some are idle, if they were resumed and had been finished."""

    lines: list[Line]
    locks: dict[str, filelock.FileLock]
    pictures: list[Future]
    resume: lanes.Snapshot | None


class _Prepared(NamedTuple):
    """A line ready to run, and what its inputs were when they were read."""

    lane: lanes.Lane
    alpha: np.ndarray | None
    identity: dict[str, Any] | None


class Batch:
    """One run over some lines of a manifest."""

    def __init__(
        self,
        ledger: Ledger,
        network: weights.Loaded,
        settings: BatchOptions,
        *,
        on_event: Callable[[Event], Any] = lambda event: None,
        on_message: Callable[[str], Any] = lambda message: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepares a run.

        Args:
          ledger: of the folder of outputs.
          network: from `weights.load`.
          settings: how to run.
          on_event: called, from any thread, for every line.
          on_message: called with a line of text for the user.
          stop: asked after every iteration whether to save and stop.
        """
        self._ledger, self._network, self._settings = ledger, network, settings
        self._on_event, self._say, self._stop = on_event, on_message, stop
        default = jax.config.jax_default_device
        self._devices = jax.local_devices(backend=None if default is None else default.platform)
        self._mesh = lanes.make_mesh(self._devices)
        self._full: OSError | None = None
        self._finishing: collections.deque[Future] = collections.deque()

    def run(self, lines: Sequence[Line]) -> None:
        """Paints what is missing or changed, and failed lines if they are to be retried.

        Raises:
          StoppedError: if `stop` said so; lanes in flight are saved.
          FullError: if the disk is full.
        """

        def unplanned(line: Line, error: Exception) -> None:
            if not self._skip(line):  # it may have failed before
                self._fail(line, error)

        groups = group(lines, self._network, self._settings.bucket, unplanned)
        # All that is done is told before anything is painted.
        left = [
            collections.deque(line for line in members if not self._skip(line))
            for _, members in groups
        ]
        with ThreadPoolExecutor(THREADS) as readers, ThreadPoolExecutor(THREADS) as writers:
            self._readers, self._writers = readers, writers
            for (shape, members), waiting in zip(groups, left, strict=True):
                if waiting:
                    self._run_group(shape, waiting, len(members))
        while self._finishing:
            self._finishing.popleft().result()
        self._check()

    def _run_group(
        self, shape: lanes.Shape, waiting: collections.deque[Line], members: int
    ) -> None:
        try:
            network = self._fitting(shape)
        except ConfigError as error:
            for line in waiting:
                self._fail(line, error)
            return
        count = self._lane_count(shape, members, network)
        busy: collections.deque[Line] = collections.deque()
        following = self._next(shape, waiting, busy, count)
        while following is not None:
            chunk, following = following, None
            try:
                # Read while the chunk before it is computed.
                following = self._next(shape, waiting, busy, count)
                self._run_chunk(shape, chunk, count, network)
            except (MemoryError, jax.errors.JaxRuntimeError) as error:
                if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                self._give_back(chunk)
                if count <= len(self._devices):
                    for line in chunk.lines:
                        self._fail(line, MemoryError("there is not enough memory for one picture"))
                else:
                    if following is not None:
                        self._give_back(following)
                        waiting.extendleft(reversed(following.lines))
                    waiting.extendleft(reversed(chunk.lines))
                    following, count = None, self._whole(count // 2)
                    self._say(f"out of memory: going on with {count} lanes")
            except BaseException:
                for held in (chunk, following):
                    if held is not None:
                        self._give_back(held)
                raise
            if following is None:
                following = self._next(shape, waiting, busy, count)
            if following is None and busy:
                self._say(f"waiting for {len(busy)} pictures that another batch is painting")
            while following is None and busy:
                time.sleep(BUSY_SECONDS)
                self._check()
                waiting, busy = busy, collections.deque()
                following = self._next(shape, waiting, busy, count)

    def _skip(self, line: Line) -> bool:
        """Whether a line needs no painting; says so then."""
        found = self._ledger.record(line)
        if found is None or ("error" in found and self._settings.retry):
            return False
        self._ledger.drop_state(line)
        self._on_event(Event("skipped", line, found))
        return True

    def _fitting(self, shape: lanes.Shape) -> weights.Loaded:
        """Returns the network, in strips where a large picture would not fit otherwise."""
        return memory.fit(
            api.with_pooling(self._network, shape.config),
            shape.plan,
            shape.config.with_copies(shape.copies),
            guided="content" in shape.has,
            budget=None,
        )

    def _whole(self, count: int) -> int:
        """Returns a number of lanes rounded up to the same number on every device."""
        return max(1, -(-count // len(self._devices))) * len(self._devices)

    def _lane_count(self, shape: lanes.Shape, members: int, network: weights.Loaded) -> int:
        """Returns how many lanes a group runs with, the same however much of it is left."""
        if self._settings.lanes is not None:
            return self._whole(self._settings.lanes)
        if self._devices[0].platform == "cpu":
            return len(self._devices)  # more lanes do not make a CPU faster
        needed = memory.OVERHEAD * memory.memory_needed(
            shape.plan,
            network.params,
            features=network.network,
            config=shape.config.with_copies(shape.copies),
            guided="content" in shape.has,
        )
        fitting = max(1, min(MOST_LANES, int(SHARE * memory.available() / needed)))
        return self._whole(min(fitting * len(self._devices), members))

    def _next(
        self,
        shape: lanes.Shape,
        waiting: collections.deque[Line],
        busy: collections.deque[Line],
        count: int,
    ) -> _Chunk | None:
        """Claims the next lines and begins to read their pictures; None if none are left."""
        locks: dict[str, filelock.FileLock] = {}
        lines: list[Line] = []
        candidates = waiting
        while candidates and len(lines) < count:
            line = candidates.popleft()
            if candidates is not waiting:
                waiting.remove(line)
            with self._disk():
                lock = self._ledger.claim(line)
            if lock is None:
                busy.append(line)
                continue
            if self._skip(line):  # another batch may have painted it just now
                lock.release()
                continue
            locks[line.name] = lock
            lines.append(line)
            if len(lines) == 1:  # what was saved together goes on together
                beside = self._ledger.saved_beside(line, waiting, count)
                candidates = collections.deque(beside) or waiting
        if not lines:
            return None
        resume = self._ledger.load_state(lines, count)
        pictures = [self._readers.submit(self._read, line, shape) for line in lines]
        return _Chunk(lines, locks, pictures, resume)

    def _read(self, line: Line, shape: lanes.Shape) -> _Prepared:
        # Before the pictures: what changes after it is seen as changed by the next batch.
        identity = self._ledger.identity(line)
        job, finest = line.job, shape.plan.shapes[-1]
        content = None if job.content is None else image.load(job.content)
        styles = [image.load(path).pixels for path in job.styles]
        initial = None if job.initial is None else image.load(job.initial).pixels
        final = final_shape(line)
        guides = inputs.load_guides(job, final, [style.shape[:2] for style in styles])
        if guides is not None:
            guides = guides._replace(picture=padded(guides.picture, final, finest))
        mask = None
        if job.mask is not None:
            mask = padded(load_mask(job.mask, final)[..., None], final, finest)[..., 0]
        pixels = None if content is None else padded(content.pixels, final, finest)
        alpha = None
        if content is not None and content.alpha is not None:
            alpha = np.asarray(pyramid.resize(content.alpha[..., None], final)[..., 0])
            alpha = np.clip(alpha, 0.0, 1.0)
        config = _config_of(line, self._network)
        lane = lanes.make_lane(pixels, styles, initial, shape, config, guides=guides, mask=mask)
        return _Prepared(lane, alpha, identity)

    def _run_chunk(
        self, shape: lanes.Shape, chunk: _Chunk, count: int, network: weights.Loaded
    ) -> None:
        started = time.monotonic()
        prepared: list[_Prepared | None] = []
        for line, future in zip(chunk.lines, chunk.pictures, strict=True):
            try:
                prepared.append(future.result())
            except (ImageError, ConfigError) as error:
                self._fail(line, error)
                prepared.append(None)
        good = [found for found in prepared if found is not None]
        if good:
            # Idle lanes are copies: a picture's bytes are those of the program of all lanes.
            full = [found or good[0] for found in prepared]
            full += [good[0]] * (count - len(full))
            stages = lanes.run(
                [found.lane for found in full],
                shape,
                network.params,
                features=network.network,
                mesh=self._mesh,
                resume=chunk.resume,
                trained=network.decoder,
            )
            first = chunk.lines[[found is not None for found in prepared].index(True)]
            last = self._watch(stages, first, chunk, count)
            self._deliver(shape, chunk, prepared, last, time.monotonic() - started)
        else:
            self._give_back(chunk)

    def _watch(
        self, stages: Iterator[lanes.Stage], first: Line, chunk: _Chunk, count: int
    ) -> lanes.Stage | None:
        """Follows the iterations, saving states on the way; returns the last stage."""
        last, every = None, self._settings.checkpoint_every
        for done, last in enumerate(stages, 1):
            stopping = self._stop()
            if stopping or (every and done % every == 0):
                with self._disk():
                    self._ledger.save_state(first, chunk.lines, count, last.snapshot())
            if stopping:
                raise StoppedError
            while self._finishing and self._finishing[0].done():
                self._finishing.popleft().result()  # an error of ours ends the batch
            if self._full is not None:
                self._check()
        return last

    def _deliver(
        self,
        shape: lanes.Shape,
        chunk: _Chunk,
        prepared: list[_Prepared | None],
        last: lanes.Stage | None,
        seconds: float,
    ) -> None:
        """Lets the pictures be written while the next chunk is computed."""
        if last is None:  # the saved state was the last
            images, value, finite = chunk.resume.arrays[0], chunk.resume.value, chunk.resume.finite
            terms: dict[str, np.ndarray] = {}
        else:
            images, value = np.asarray(last.images), last.value
            finite, terms = last.finite, last.terms
        writes = []
        for index, (line, found) in enumerate(zip(chunk.lines, prepared, strict=True)):
            if found is None:
                chunk.locks[line.name].release()
            elif not finite[index]:
                self._fail(line, ArithmeticError("the energy is not finite; try smaller weights"))
                chunk.locks[line.name].release()
            else:
                seen = {
                    "energy": float(value[index]) if np.isfinite(value[index]) else None,
                    "terms": {name: float(term[index]) for name, term in terms.items()},
                    "seconds": round(seconds, 3),
                    "lanes": len(images),
                }
                arguments = (line, shape, images[index], found, seen, chunk.locks[line.name])
                writes.append(self._writers.submit(self._write, *arguments))
        self._finishing.append(self._writers.submit(self._finish, chunk, writes))

    def _write(
        self,
        line: Line,
        shape: lanes.Shape,
        pixels: np.ndarray,
        found: _Prepared,
        seen: dict[str, Any],
        lock: filelock.FileLock,
    ) -> None:
        """Writes one picture, then its record: with the record it is done."""
        job = line.job
        try:
            config, final = _config_of(line, self._network), final_shape(line)
            picture = lanes.finished(pixels, found.lane, shape, config)[: final[0], : final[1]]
            settings = settings_of(job, self._network, final)
            kind = image.WRITABLE[job.output.suffix.lower()]
            with self._disk():
                job.output.parent.mkdir(parents=True, exist_ok=True)
                with atomic.write(job.output) as file:
                    file.write(image.encode(Picture(picture, found.alpha), kind, settings))
                seen = {**seen, "size": [final[1], final[0]]}
                record = self._ledger.write(line, seen, found.identity)
            self._on_event(Event("done", line, record))
        except FullError:
            return  # the batch stops by itself, see `_check`
        except (ImageError, OSError) as error:
            self._fail(line, error)
        finally:
            lock.release()

    def _finish(self, chunk: _Chunk, writes: list[Future]) -> None:
        """Drops the saved state once all pictures of a chunk are written."""
        for write in writes:
            write.result()
        if self._full is None:
            for line in chunk.lines:
                self._ledger.drop_state(line)

    def _fail(self, line: Line, error: Exception) -> None:
        with contextlib.suppress(FullError), self._disk():
            record = self._ledger.write_failure(line, str(error))
            self._on_event(Event("failed", line, record))

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """Notes that the disk is full, which ends the batch, not only one picture."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._full = error
            raise FullError(f"the disk is full: {self._ledger.folder}") from None

    def _check(self) -> None:
        if self._full is not None:
            raise FullError(f"the disk is full: {self._ledger.folder}")
        if self._stop():
            raise StoppedError

    def _give_back(self, chunk: _Chunk) -> None:
        for future in chunk.pictures:
            future.cancel()
        for lock in chunk.locks.values():
            lock.release()
