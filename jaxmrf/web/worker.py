"""The process that computes: one JSON message per line in, one per line out.

A process of its own, that stays: its compiled programs stay too, and neither a crash nor
memory running out takes the server along. It ends when its standard input does.
"""

import contextlib
import dataclasses
import heapq
import itertools
import json
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxmrf import api, planning
from jaxmrf.analysis import suitability
from jaxmrf.core.features import Network
from jaxmrf.core.run.progress import Progress
from jaxmrf.errors import NOT_FINITE, ImageError, StoppedError, UserError
from jaxmrf.files import atomic, image, quiet
from jaxmrf.files.image import Picture
from jaxmrf.jobs import inputs, options, paint
from jaxmrf.jobs.job import Job
from jaxmrf.machine import device, memory, program_cache
from jaxmrf.networks import weights
from jaxmrf.planning import Planned
from jaxmrf.web import runs

Message = dict[str, Any]

THUMBNAIL_SIDE = 320

PREVIEW_SECONDS = 0.2
"""Least time between two previews."""

PREVIEW_SHARE = 15
"""Times that writing a preview takes before the next one is written."""

COMPILE_SECONDS = 3.0
"""Expected time to compile the programs of a level."""

_PRIORITY = {"quick": 0, "run": 1, "prepare": 2}


class Inbox:
    """Messages by priority: quick runs, other runs, and the last preparation asked for."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._numbers = itertools.count()
        self._heap: list[tuple[int, int, Message]] = []
        self.canceled: set[str] = set()

    def put(self, message: Message) -> None:
        """Adds a message; one that cancels is only noted."""
        with self._condition:
            if message["do"] == "cancel":
                self.canceled.add(message["id"])
                return
            priority = _PRIORITY[message["do"]]
            if message["do"] == "prepare":
                self._heap = [entry for entry in self._heap if entry[0] != priority]
                heapq.heapify(self._heap)
            heapq.heappush(self._heap, (priority, next(self._numbers), message))
            self._condition.notify()

    def take(self) -> Message:
        """Returns the next message, waiting for one."""
        with self._condition:
            self._condition.wait_for(lambda: self._heap)
            return heapq.heappop(self._heap)[2]

    def take_quick(self) -> Message | None:
        """Returns the next quick run if there is one."""
        with self._condition:
            if self._heap and self._heap[0][0] == _PRIORITY["quick"]:
                return heapq.heappop(self._heap)[2]
            return None


class Worker:
    """Computes the messages of an inbox.

    Args:
      inbox: what to do.
      send: takes what is to be told.
      weights_file: weights in place of all others.
      kind: of the device, as the command line has it.
    """

    def __init__(
        self,
        inbox: Inbox,
        send: Callable[[Message], None],
        weights_file: Path | None,
        kind: str,
    ) -> None:
        self._inbox, self._send = inbox, send
        self._weights_file, self._kind = weights_file, kind
        self._networks: dict[str, weights.Loaded] = {}
        self._preparing = False

    def serve(self) -> None:
        """Does what the inbox says, for ever."""
        while True:
            message = self._inbox.take()
            if message["do"] == "prepare":
                self._preparing = True
                with contextlib.suppress(UserError):
                    self._prepare(message)
                self._preparing = False
            else:
                self._run(message)

    def _loaded(self, values: dict[str, str]) -> weights.Loaded:
        name = values.get("network", "auto")
        if not self._networks:
            device.choose(self._kind)
        if name not in self._networks:
            self._networks[name] = weights.load(name, self._weights_file)
        return self._networks[name]

    def _prepare(self, message: Message) -> None:
        """Compiles the programs of the coarsest level, by its first iteration."""
        for progress in self._records(message, _job(message)):
            _at_its_size(progress)
            if progress.painted:
                return

    def _records(
        self, message: Message, job: Job, on_plan: Callable[[Planned], Any] = lambda planned: None
    ) -> Iterator[Progress]:
        """Yields the records of a run; none of a large one: its memory is looked into first."""
        shape = inputs.shape_of(job)
        if math.prod(shape) > memory.UNCHECKED_PIXELS:
            return
        pictures = inputs.load(job)
        yield from api.iterate(
            pictures.pixels,
            pictures.styles,
            shape,
            job.config,
            network=self._loaded(message["values"]).network,
            on_plan=on_plan,
        )

    def glance(self, message: Message) -> None:
        """Shows what a run starts from while it waits for a preparation to end.

        A compilation cannot be interrupted; this is for another thread than `serve`.
        """
        if message["do"] not in ("quick", "run") or not self._preparing:
            return
        with contextlib.suppress(UserError):  # the run itself will tell of them
            job = _job(message)
            report = _Report(message, job, self._send, lambda: 0.0)
            start = next(self._records(message, job, report.plan), None)
            if start is not None and self._preparing:
                report.progress(start)

    def _run(self, message: Message) -> None:
        """Runs a job and tells how it ended."""
        name = message["id"]
        try:
            job = _job(message)
            loaded = self._loaded(message["values"])
            report = _Report(message, job, self._send, self._between(message), loaded.network)
            named = zip((job.content, *job.styles), message["titles"], strict=True)
            paint.run(
                job,
                loaded,
                titles={path: title for path, title in named if path is not None},
                on_plan=report.plan,
                on_progress=report.progress,
            )
            state, text = "finished", ""
        except StoppedError as stopped:
            painted = stopped.progress.painted
            state, text = ("stopped" if painted else "canceled"), ""
            if not stopped.interrupted:
                state, text = (
                    "failed",
                    NOT_FINITE + (". The last good picture is kept" if painted else ""),
                )
        except KeyboardInterrupt:
            state, text = "canceled", ""
        except UserError as error:
            state, text = "failed", str(error)
        except Exception as error:
            traceback.print_exc()
            state, text = "failed", f"a fault of jaxmrf, see its terminal: {error!r}"[:500]
        if Path(message["output"]).exists():
            _write_thumbnail(Path(message["output"]))
        self._inbox.canceled.discard(name)
        self._send({"told": "end", "id": name, "state": state, "message": text})

    def _between(self, message: Message) -> Callable[[], float]:
        """Returns what to do between two iterations; it returns the seconds it took."""

        def between() -> float:
            started = time.monotonic()
            if message["id"] in self._inbox.canceled:
                raise KeyboardInterrupt
            while message["do"] == "run" and (quick := self._inbox.take_quick()):
                self._send({"told": "paused", "id": message["id"]})
                self._run(quick)
                self._send({"told": "resumed", "id": message["id"]})
            return time.monotonic() - started

        return between


class _Report:
    """Tells how far a run is, and writes its previews."""

    def __init__(
        self,
        message: Message,
        job: Job,
        send: Callable[[Message], None],
        between: Callable[[], float],
        network: Network | None = None,
    ) -> None:
        self._network = network
        self._id, self._job, self._send, self._between = message["id"], job, send, between
        self._preview = Path(message["preview"])
        self._costs: list[float] = []
        self._counts: list[int] = []
        self._worth_a_forecast = False
        self._started = time.monotonic()
        self._away = 0.0
        self._level_started = 0.0
        self._rate: float | None = None
        self._measured: dict[int, tuple[float, float]] = {}
        self._pictures = 0
        self._due = 0.0

    def plan(self, planned: Planned) -> None:
        plan, config = planned.plan, self._job.config
        self._costs = runs.level_costs(plan.shapes, config)
        self._counts = runs.steps(plan.iterations, config)
        self._worth_a_forecast = paint.is_worth_a_forecast(plan.shapes[-1], config)

    def progress(self, progress: Progress) -> None:
        """Tells of a record; raises KeyboardInterrupt if the run was canceled."""
        self._write_preview(progress)
        seconds = time.monotonic() - self._started - self._away
        told: Message = {
            "told": "progress",
            "id": self._id,
            "level": progress.level + 1,
            "levels": progress.levels,
            "iteration": progress.iteration,
            "iterations": progress.iterations,
            "energy": None if math.isnan(progress.value) else progress.value,
            "picture": self._pictures,
            "seconds": seconds,
            **self._position(progress, seconds),
        }
        self._send(told)
        if progress.painted and self._network is not None:
            network, self._network = self._network, None
            self._advise(network)
        self._away += self._between()

    def _advise(self, network: Network) -> None:
        """Tells what the command line would, but after the first picture is there."""
        started = time.monotonic()
        if self._worth_a_forecast and self._job.content is not None:
            paths = (self._job.content, *self._job.styles)
            content, style = (image.load(path).on_white() for path in paths)
            measured = planning.measure_suitability(content, style, self._job.config, network)
            text = suitability.advice(measured, varied=self._job.config.variety > 0)
            if text is not None:
                self._send({"told": "advice", "id": self._id, "text": text})
        self._away += time.monotonic() - started

    def _position(self, progress: Progress, seconds: float) -> Message:
        """Returns the part that is done, and the seconds that are left."""
        level, iteration = progress.level, progress.decoded + progress.iteration
        if iteration <= 1:  # the first iteration of a level includes the compilation
            self._level_started = seconds
        else:
            spent = seconds - self._level_started
            cost = (iteration - 1) * self._costs[level]
            self._rate = spent / cost
            self._measured[level] = (spent, cost)
        todo = runs.product(self._costs[level:], self._counts[level:])
        todo -= iteration * self._costs[level]
        total = runs.product(self._costs, self._counts)
        left = None
        if self._rate is not None:
            left = todo * self._rate + COMPILE_SECONDS * (progress.levels - 1 - level)
        done = 1.0 - todo / total if total else 1.0
        return {"done": done, "left": left, "rate": self._mean_rate()}

    def _mean_rate(self) -> float | None:
        """Returns the seconds per cost of all iterations but the first of each level."""
        if not self._measured:
            return None
        spent, cost = map(sum, zip(*self._measured.values(), strict=True))
        return spent / cost

    def _write_preview(self, progress: Progress) -> None:
        """Writes the picture at the size of its level, unless one was written just now."""
        started = time.monotonic()
        last = progress.iteration == progress.iterations
        if not last and progress.iteration > 1 and started < self._due:
            return
        content = image.encode(Picture(np.asarray(_at_its_size(progress))), "JPEG", {})
        with contextlib.suppress(OSError), atomic.write(self._preview) as file:
            file.write(content)
        self._pictures += 1
        ended = time.monotonic()
        self._due = ended + max(PREVIEW_SECONDS, PREVIEW_SHARE * (ended - started))


def _at_its_size(progress: Progress) -> Any:
    """Returns the picture as it would be delivered, but at the size of its level."""
    height, width, _ = progress.image.shape
    return dataclasses.replace(progress, shape=(height, width)).picture()


def _job(message: Message) -> Job:
    values = {name: value for name, value in message["values"].items() if name != "network"}
    files_of_it = {name: message[name] for name in ("content", "style", "output")}
    return options.job({**values, **files_of_it})


def _write_thumbnail(output: Path) -> None:
    with contextlib.suppress(OSError, ImageError):
        small = image.shown(output)
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        with atomic.write(output.with_name("thumbnail.jpg")) as file:
            small.save(file, "JPEG", quality=88)


def main() -> None:
    """Runs the process that computes; the first line has its options, see `Queue`."""
    quiet.in_this_program()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    one_at_a_time = threading.Lock()
    os.dup2(2, 1)  # whatever a library prints must not come between the messages

    def send(message: Message) -> None:
        with one_at_a_time:
            out.write(json.dumps(message) + "\n")
            out.flush()

    setup = json.loads(sys.stdin.readline())
    inbox = Inbox()
    weights_file = None if setup["weights"] is None else Path(setup["weights"])
    program_cache.enable()
    worker = Worker(inbox, send, weights_file, setup["device"] or "auto")

    def read() -> None:
        for line in sys.stdin:
            message = json.loads(line)
            inbox.put(message)
            threading.Thread(target=worker.glance, args=(message,), daemon=True).start()
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    worker.serve()


if __name__ == "__main__":
    main()
