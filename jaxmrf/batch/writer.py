"""Finished pictures and failures on their way to disk, beside the computing."""

import collections
import contextlib
import errno
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from jaxmrf.batch.claims import Claim
from jaxmrf.batch.events import Event
from jaxmrf.batch.ledger import Ledger
from jaxmrf.batch.lines import Line
from jaxmrf.core.run import lanes
from jaxmrf.core.run.lanes import ProgramKey
from jaxmrf.errors import NOT_FINITE, FullError, ImageError
from jaxmrf.files import atomic, image
from jaxmrf.files.image import Picture
from jaxmrf.jobs.job import record_of
from jaxmrf.networks.weights import Loaded
from jaxmrf.side_by_side import Ready


class Prepared(NamedTuple):
    """A line ready to run, and what its inputs were when they were read.

    Attributes:
      ready: its run.
      identity: digests of the inputs; None if they cannot be read.
    """

    ready: Ready
    identity: dict[str, Any] | None


class Writer:
    """Writes pictures and records of a batch; a full disk ends all of it, not one picture.

    Args:
      ledger: of the folder of outputs.
      loaded: from `weights.load`.
      on_event: called, from any thread, for every line.
      pool: threads that write.
    """

    def __init__(
        self,
        ledger: Ledger,
        loaded: Loaded,
        on_event: Callable[[Event], Any],
        pool: ThreadPoolExecutor,
    ) -> None:
        self._ledger, self._loaded, self._on_event, self._pool = ledger, loaded, on_event, pool
        self._finishing: collections.deque[Future] = collections.deque()
        self._full = False

    def collect(self, *, wait: bool = False) -> None:
        """Raises what went wrong while writing: errors of ours, or that the disk is full.

        Args:
          wait: whether to wait until everything is written.
        """
        while self._finishing and (wait or self._finishing[0].done()):
            self._finishing.popleft().result()
        if self._full:
            raise FullError(self._ledger.folder)

    def deliver(
        self,
        key: ProgramKey,
        lines: list[Line],
        claims: dict[str, Claim],
        prepared: list[Prepared | None],
        last: lanes.Stage | lanes.Snapshot,
        seconds: float,
    ) -> None:
        """Lets the pictures be written while the next chunk is computed.

        Args:
          key: of the lanes.
          lines: a line for each lane that is not idle.
          claims: of the lines by name; they are released.
          prepared: what the lanes were made of; None of a line that failed.
          last: the lanes at their end.
          seconds: that they took.
        """
        value, finite = last.value, last.finite
        terms: dict[str, np.ndarray] = {}
        if isinstance(last, lanes.Stage):
            images, terms = np.asarray(last.images), last.terms
        else:
            images = last.arrays[0]
        writes = []
        for index, (line, prepared_line) in enumerate(zip(lines, prepared, strict=True)):
            if prepared_line is None:
                claims[line.name].release()
            elif not finite[index]:
                self.fail(line, ArithmeticError(NOT_FINITE))
                claims[line.name].release()
            else:
                seen = {
                    "energy": float(value[index]) if np.isfinite(value[index]) else None,
                    "terms": {name: float(term[index]) for name, term in terms.items()},
                    "seconds": round(seconds, 3),
                    "lanes": len(images),
                }
                arguments = (line, key, images[index], prepared_line, seen, claims[line.name])
                writes.append(self._pool.submit(self._write, *arguments))
        self._finishing.append(self._pool.submit(self._finish, lines, writes))

    def _write(
        self,
        line: Line,
        key: ProgramKey,
        pixels: np.ndarray,
        prepared: Prepared,
        seen: dict[str, Any],
        claim: Claim,
    ) -> None:
        """Writes one picture, then its record: with the record it is done."""
        job = line.job
        try:
            ready = prepared.ready
            height, width = ready.shape
            picture = lanes.finished(pixels, ready.lane, key, ready.settings)[:height, :width]
            made_by = record_of(job, self._loaded, ready.shape)
            kind = image.WRITABLE[job.output.suffix.lower()]
            content = image.encode(Picture(picture, ready.alpha), kind, made_by)
            with self.disk():
                job.output.parent.mkdir(parents=True, exist_ok=True)
                self._ledger.forget(line)
                with atomic.write(job.output) as file:
                    file.write(content)
                seen = {**seen, "size": [width, height]}
                digest = hashlib.sha256(content).hexdigest()
                record = self._ledger.write(line, seen, prepared.identity, digest)
            self._on_event(Event("done", line, record))
        except FullError:
            return  # the batch stops by itself, see `collect`
        except (ImageError, OSError) as error:
            self.fail(line, error)
        finally:
            claim.release()

    def _finish(self, lines: list[Line], writes: list[Future]) -> None:
        """Drops the saved state once all pictures of a chunk are written."""
        for write in writes:
            write.result()
        if not self._full:
            for line in lines:
                self._ledger.drop_state(line)

    def fail(self, line: Line, error: Exception) -> None:
        """Records that a line failed, and why."""
        with contextlib.suppress(FullError), self.disk():
            record = self._ledger.write_failure(line, str(error))
            self._on_event(Event("failed", line, record))

    @contextlib.contextmanager
    def disk(self) -> Iterator[None]:
        """Notes that the disk is full, which ends the batch, not only one picture."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._full = True
            raise FullError(self._ledger.folder) from None
