"""The process that computes: a message of `messages` per line in, one per line out.

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
from jaxmrf.errors import NOT_FINITE, ConfigError, ImageError, StoppedError, UserError
from jaxmrf.files import atomic, image, quiet
from jaxmrf.files.image import Picture
from jaxmrf.jobs import inputs, options, paint
from jaxmrf.jobs.job import Job
from jaxmrf.machine import device, memory, program_cache
from jaxmrf.machine.compilation import Compilation, Programs
from jaxmrf.networks import weights
from jaxmrf.planning import Planned
from jaxmrf.web import messages, runs
from jaxmrf.web.messages import Cancel, End, EndState, Order, Position, Setup, Told
from jaxmrf.web.networks import Networks

THUMBNAIL_SIDE = 320

PREVIEW_SECONDS = 0.2
"""Least time between two previews."""

PREVIEW_SHARE = 15
"""Times that writing a preview takes before the next one is written."""

NOTICED_SECONDS = 0.3
"""What is compiled in less time is not told."""

TELL_SECONDS = 0.5
"""Time between two messages that something is being compiled."""

_PRIORITY = {"quick": 0, "run": 1, "prepare": 2}


class Inbox:
    """Messages by priority: quick runs, other runs, and the last preparation asked for."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._numbers = itertools.count()
        self._heap: list[tuple[int, int, Order]] = []
        self.canceled: set[str] = set()

    def put(self, message: Order | Cancel) -> None:
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

    def take(self) -> Order:
        """Returns the next message, waiting for one."""
        with self._condition:
            self._condition.wait_for(lambda: self._heap)
            return heapq.heappop(self._heap)[2]

    def take_quick(self) -> Order | None:
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
        send: Callable[[Told], None],
        weights_file: Path | None,
        kind: str,
    ) -> None:
        self._inbox, self._send = inbox, send
        self._kind: str | None = kind
        self._networks: Networks[weights.Loaded] = Networks(weights_file, lambda loaded: loaded)
        self._compilation = Compilation()
        self._preparing = False
        self._waiting: str | None = None

    def serve(self) -> None:
        """Does what the inbox says, for ever; to be called in the thread that made it."""
        threading.Thread(target=self._tell_of_compiling, daemon=True).start()
        while True:
            message = self._inbox.take()
            if message["do"] == "prepare":
                self._preparing = True
                with contextlib.suppress(UserError):
                    self._prepare(message)
                self._preparing = False
            else:
                self._run(message)

    def _tell_of_compiling(self) -> None:
        """Tells, for ever, that a run waits for programs that are being compiled."""
        while True:
            time.sleep(TELL_SECONDS)
            self.tell_of_compiling()

    def tell_of_compiling(self) -> None:
        """Tells of it if one does; for another thread than `serve`."""
        ongoing, name = self._compilation.ongoing(), self._waiting
        if name is not None and ongoing is not None and ongoing.seconds >= NOTICED_SECONDS:
            self._send({"told": "compiling", "id": name, "ready_in": ongoing.ready_in})

    def _loaded(self, values: dict[str, str]) -> weights.Loaded:
        if self._kind is not None:
            device.choose(self._kind)
            self._kind = None
        return self._networks.get(values.get("network", "auto"))

    def _prepare(self, message: Order) -> None:
        """Compiles the programs of the coarsest level, by its first iteration."""

        def expect(planned: Planned) -> None:
            self._compilation.expect(_programs_of(planned)[0])

        for progress in self._records(message, _job(message), expect):
            _at_its_size(progress)
            if progress.painted:
                return

    def _records(
        self, message: Order, job: Job, on_plan: Callable[[Planned], Any]
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

    def glance(self, message: Order) -> None:
        """Shows what a run starts from while it waits for a preparation to end.

        A compilation cannot be interrupted; this is for another thread than `serve`.
        """
        if message["do"] == "prepare" or not self._preparing:
            return
        self._waiting = message["id"]
        with contextlib.suppress(UserError):  # the run itself will tell of them
            job = _job(message)
            report = _Report(message, job, self._send, lambda: 0.0, self._compilation)
            start = next(self._records(message, job, report.plan), None)
            if start is not None and self._preparing:
                report.progress(start)

    def _run(self, message: Order) -> None:
        """Runs a job and tells how it ended."""
        self._waiting = message["id"]
        self._compilation.expect(None)
        ended = self._ended(message)
        if Path(message["output"]).exists():
            _write_thumbnail(Path(message["output"]))
        self._inbox.canceled.discard(message["id"])
        self._waiting = None
        self._send(ended)

    def _ended(self, message: Order) -> End:
        """Runs a job and returns how it ended."""

        def end(state: EndState, text: str = "", control: str | None = None) -> End:
            return {
                "told": "end",
                "id": message["id"],
                "state": state,
                "message": text,
                "control": control or "",
            }

        try:
            self._paint(message)
        except StoppedError as stopped:
            painted = stopped.progress.painted
            if stopped.interrupted:
                return end("stopped" if painted else "canceled")
            return end("failed", NOT_FINITE + painted * ". The last good picture is kept")
        except KeyboardInterrupt:
            return end("canceled")
        except ConfigError as error:
            return end("failed", str(error), error.option)
        except UserError as error:
            return end("failed", str(error))
        except Exception as error:
            traceback.print_exc()
            return end("failed", f"a fault of jaxmrf, see its terminal: {error!r}"[:500])
        return end("finished")

    def _paint(self, message: Order) -> None:
        """Runs a job, telling how far it is."""
        job = _job(message)
        loaded = self._loaded(message["values"])
        between = self._between(message)
        report = _Report(message, job, self._send, between, self._compilation, loaded.network)

        def see(progress: Progress) -> None:
            if not progress.decoded and not progress.iteration:
                self._compilation.expect(report.programs[progress.level])
            if progress.complete:
                self._compilation.complete()
            report.progress(progress)

        named = zip((job.content, *job.styles), message["titles"], strict=True)
        paint.run(
            job,
            loaded,
            titles={path: title for path, title in named if path is not None},
            on_plan=report.plan,
            on_progress=see,
        )

    def _between(self, message: Order) -> Callable[[], float]:
        """Returns what to do between two iterations; it returns the seconds it took."""

        def between() -> float:
            started = time.monotonic()
            if message["id"] in self._inbox.canceled:
                raise KeyboardInterrupt
            while message["do"] == "run" and (quick := self._inbox.take_quick()):
                self._send({"told": "paused", "id": message["id"]})
                programs = self._compilation.expect(None)
                self._run(quick)
                self._compilation.expect(programs)
                self._waiting = message["id"]
                self._send({"told": "resumed", "id": message["id"]})
            return time.monotonic() - started

        return between


class _Report:
    """Tells how far a run is, and writes its previews.

    Attributes:
      programs: of each level, once there is a plan.
    """

    def __init__(
        self,
        message: Order,
        job: Job,
        send: Callable[[Told], None],
        between: Callable[[], float],
        compilation: Compilation,
        network: Network | None = None,
    ) -> None:
        self._network, self._compilation = network, compilation
        self._id, self._job, self._send, self._between = message["id"], job, send, between
        self._preview = Path(message["preview"])
        self.programs: list[Programs] = []
        self._costs: list[float] = []
        self._counts: list[int] = []
        self._worth_a_forecast = False
        self._started = time.monotonic()
        self._away = 0.0
        self._compiled_before = compilation.seconds
        self._level_started = 0.0
        self._rate: float | None = None
        self._measured: dict[int, tuple[float, float]] = {}
        self._pictures = 0
        self._due = 0.0

    def plan(self, planned: Planned) -> None:
        """Notes what the run is computed with."""
        self.programs = _programs_of(planned)
        self._costs, self._counts = runs.level_costs(planned)
        shape = planned.plan.shapes[-1]
        self._worth_a_forecast = paint.is_worth_a_forecast(shape, self._job.config)

    def progress(self, progress: Progress) -> None:
        """Tells of a record; raises KeyboardInterrupt if the run was canceled."""
        self._write_preview(progress)
        told: messages.Progress = {
            "told": "progress",
            "id": self._id,
            "position": self._position(progress),
            "energy": None if math.isnan(progress.value) else progress.value,
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

    def _position(self, progress: Progress) -> Position:
        """Returns how far a record is: the part that is done, and the seconds that are left."""
        seconds = time.monotonic() - self._started - self._away
        computed = seconds - (self._compilation.seconds - self._compiled_before)
        level, iteration = progress.level, progress.decoded + progress.iteration
        if iteration <= 1:  # the first of a level has to be prepared, traced and compiled
            self._level_started = computed
        else:
            spent = computed - self._level_started
            cost = (iteration - 1) * self._costs[level]
            self._rate = spent / cost
            self._measured[level] = (spent, cost)
        todo = runs.product(self._costs[level:], self._counts[level:])
        todo -= iteration * self._costs[level]
        total = runs.product(self._costs, self._counts)
        left = None
        if self._rate is not None:
            left = todo * self._rate + self._compilation.ahead(self.programs[level:])
        done = 1.0 - todo / total if total else 1.0
        return {
            "level": level + 1,
            "levels": progress.levels,
            "iteration": progress.iteration,
            "iterations": progress.iterations,
            "picture": self._pictures,
            "seconds": seconds,
            "done": done,
            "left": left,
            "rate": self._mean_rate(),
        }

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


def _programs_of(planned: Planned) -> list[Programs]:
    """Returns what the programs of each level depend on."""
    network, settings, plan = planned
    return [
        Programs(
            kind=(
                network.features,
                plan.program(level, settings.program),
                settings.rounds,
                plan.iterations[level] > 0,
            ),
            sizes=(plan.shapes[level], plan.style_shapes[level]),
        )
        for level in range(len(plan.shapes))
    ]


def _job(message: Order) -> Job:
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

    def send(message: Told) -> None:
        with one_at_a_time:
            out.write(json.dumps(message) + "\n")
            out.flush()

    setup: Setup = json.loads(sys.stdin.readline())
    inbox = Inbox()
    weights_file = None if setup["weights"] is None else Path(setup["weights"])
    program_cache.enable()
    worker = Worker(inbox, send, weights_file, setup["device"] or "auto")

    def read() -> None:
        for line in sys.stdin:
            message: Order | Cancel = json.loads(line)
            inbox.put(message)
            if message["do"] != "cancel":
                threading.Thread(target=worker.glance, args=(message,), daemon=True).start()
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    worker.serve()


if __name__ == "__main__":
    main()
