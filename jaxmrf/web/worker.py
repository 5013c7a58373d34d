"""The process that computes: a message of `messages` per line in, one per line out.

A process of its own, that stays: its compiled programs stay too, and neither a crash nor
memory running out takes the server along. It ends when its standard input does.
"""

import collections
import contextlib
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

from jaxmrf import api, side_by_side
from jaxmrf.core.features import Network
from jaxmrf.core.run.progress import Progress
from jaxmrf.errors import NOT_FINITE, ConfigError, ImageError, StoppedError, UserError
from jaxmrf.files import atomic, image, quiet
from jaxmrf.jobs import inputs, options, paint, paint_many
from jaxmrf.jobs.job import Job
from jaxmrf.jobs.paint_many import Ended
from jaxmrf.machine import device, memory, program_cache
from jaxmrf.machine.compilation import Compilation
from jaxmrf.networks import weights
from jaxmrf.planning import Planned
from jaxmrf.web import checks, runs
from jaxmrf.web.messages import Cancel, EndState, Order, Painting, Setup, Told
from jaxmrf.web.networks import Networks
from jaxmrf.web.report import Adviser, Away, Clock, Report, at_its_size, programs_of

THUMBNAIL_SIDE = 320

NOTICED_SECONDS = 0.3
"""What is compiled in less time is not told."""

TELL_SECONDS = 0.5
"""Time between two messages that something is being compiled."""

EARLIER = "programs of earlier processes"
"""Kind of what was measured before this process began."""

Member = tuple[Painting, Job]
"""A run of an order."""

_PRIORITY = {"quick": 0, "run": 1, "prepare": 2}


class Inbox:
    """Messages by priority: quick runs, other runs, or the last preparation asked for."""

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
            # The last preparation counts; it would be in the way of runs behind the one to come.
            self._heap = [entry for entry in self._heap if entry[0] != _PRIORITY["prepare"]]
            heapq.heapify(self._heap)
            priority = _PRIORITY[message["do"]]
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
      lanes: runs that are computed side by side; None: what suits the device.
    """

    def __init__(
        self,
        inbox: Inbox,
        send: Callable[[Told], None],
        weights_file: Path | None,
        kind: str,
        lanes: int | None = None,
    ) -> None:
        self._inbox, self._send, self._lanes = inbox, send, lanes
        self._kind: str | None = kind
        self._networks: Networks[weights.Loaded] = Networks(weights_file, lambda loaded: loaded)
        self._compilation = Compilation(
            {EARLIER: program_cache.read_numbers(program_cache.COMPILATION)}
        )
        self._adviser = Adviser()
        self._preparing = False
        self._waiting: list[str] = []

    def serve(self) -> None:
        """Does what the inbox says, for ever; to be called in the thread that made it."""
        self._send({"told": "ready", "lanes": self._most_lanes()})
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
                usual = self._compilation.usual.values()
                program_cache.write_numbers(
                    program_cache.COMPILATION, dict(collections.ChainMap(*usual))
                )

    def _tell_of_compiling(self) -> None:
        """Tells, for ever, that a run waits for programs that are being compiled."""
        while True:
            time.sleep(TELL_SECONDS)
            self.tell_of_compiling()

    def tell_of_compiling(self) -> None:
        """Tells of it if one does; for another thread than `serve`."""
        ongoing, names = self._compilation.ongoing(), self._waiting
        if ongoing is not None and ongoing.seconds >= NOTICED_SECONDS:
            for name in names:
                self._send({"told": "compiling", "id": name, "ready_in": ongoing.ready_in})

    def _choose_device(self) -> None:
        if self._kind is not None:
            device.choose(self._kind)
            self._kind = None

    def _most_lanes(self) -> int:
        """Returns how many runs an order may have, as far as that follows from the device."""
        if self._lanes is not None:
            return self._lanes
        try:
            self._choose_device()
        except UserError:
            return 1  # whoever runs something is told why
        return side_by_side.most_lanes(side_by_side.local_mesh())

    def _loaded(self, values: dict[str, str]) -> weights.Loaded:
        self._choose_device()
        return self._networks.get(values.get("network", "auto"))

    def _prepare(self, message: Order) -> None:
        """Compiles the programs of the coarsest level, by its first iteration."""

        def expect(planned: Planned) -> None:
            self._compilation.expect(programs_of(planned)[0])

        (painting,) = message["runs"]
        for progress in self._records(painting, _job(painting), expect):
            at_its_size(progress)
            if progress.painted:
                return

    def _records(
        self, painting: Painting, job: Job, on_plan: Callable[[Planned], Any]
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
            guides=pictures.guides,
            mask=pictures.mask,
            network=self._loaded(painting["values"]).network,
            on_plan=on_plan,
        )

    def glance(self, message: Order) -> None:
        """Shows what a run starts from while it waits for a preparation to end.

        A compilation cannot be interrupted; this is for another thread than `serve`.
        """
        if message["do"] == "prepare" or not self._preparing:
            return
        painting = message["runs"][0]
        self._waiting = [painting["id"]]
        with contextlib.suppress(UserError):  # the run itself will tell of them
            job = _job(painting)
            report = self._report(painting, job)
            start = next(self._records(painting, job, report.plan), None)
            if start is not None and self._preparing:
                report.progress(start)

    def _run(self, order: Order) -> None:
        """Computes an order and tells how its runs ended."""
        paintings = order["runs"]
        self._waiting = [painting["id"] for painting in paintings]
        self._compilation.expect(None)
        if len(paintings) == 1:
            self._paint(order)
        else:
            self._paint_side_by_side(order)
        self._waiting = []

    def _paint(self, order: Order) -> None:
        """Computes an order of one run."""
        (painting,) = order["runs"]
        names = [painting["id"]]
        error: Ended = None
        try:
            job, loaded = _job(painting), self._loaded(painting["values"])
            report = self._report(painting, job, loaded.network)

            def see(progress: Progress) -> None:
                self._expect(report, progress)
                report.progress(progress)
                self._check(painting)
                report.was_away(self._give_way(order, names))

            titles = _titles(painting)
            paint.run(job, loaded, titles=titles, on_plan=report.plan, on_progress=see)
        except (Exception, KeyboardInterrupt) as raised:
            error = raised
        self._end(painting, error)

    def _paint_side_by_side(self, order: Order) -> None:
        """Computes an order of several runs, as many at once as there are lanes."""
        paintings = order["runs"]
        try:
            jobs = [_job(painting) for painting in paintings]
            loaded = self._loaded(paintings[0]["values"])
            count = paint_many.lane_count(jobs[0], loaded, len(jobs), self._lanes)
        except Exception as error:
            for painting in paintings:
                self._end(painting, error)
            return
        waiting = list(zip(paintings, jobs, strict=True))
        while waiting:
            members, waiting[:count] = waiting[:count], []
            self._paint_lanes(order, members, waiting, loaded, count)

    def _paint_lanes(
        self,
        order: Order,
        members: list[Member],
        waiting: list[Member],
        loaded: weights.Loaded,
        count: int,
    ) -> None:
        """Computes runs that share their lanes; what concerns all goes by the first of them."""
        paintings, jobs = zip(*members, strict=True)
        left = dict(enumerate(paintings))
        lanes = max(1, count // side_by_side.local_mesh().size)
        reports = [
            self._report(painting, job, None if place else loaded.network, lanes)
            for place, (painting, job) in enumerate(members)
        ]

        def planned(plan: Planned) -> None:
            for report in reports:
                report.plan(plan)

        def see(place: int, progress: Progress) -> None:
            leads = place == min(left)
            if leads:
                self._expect(reports[place], progress)
            reports[place].progress(progress)
            if leads:
                self._drop_canceled(waiting)
                away = self._give_way(order, [painting["id"] for painting in left.values()])
                for report in reports:
                    report.was_away(away)
            self._check(left[place])

        def end(place: int, error: Ended) -> None:
            self._end(left.pop(place), error, lanes)
            self._waiting = [painting["id"] for painting in left.values()]

        titles: dict[Path, str] = {}
        for painting in paintings:
            titles |= _titles(painting)
        try:
            paint_many.run(
                jobs, loaded, count, titles=titles, on_plan=planned, on_progress=see, on_end=end
            )
        except Exception as error:
            for place in list(left):
                end(place, error)

    def _drop_canceled(self, waiting: list[Member]) -> None:
        """Ends runs of an order whose turn it is not yet, if they were canceled."""
        for member in list(waiting):
            if member[0]["id"] in self._inbox.canceled:
                waiting.remove(member)
                self._end(member[0], KeyboardInterrupt())

    def _report(
        self, painting: Painting, job: Job, network: Network | None = None, lanes: int = 1
    ) -> Report:
        advised = network if painting["advise"] else None
        return Report(painting, job, self._send, self._compilation, self._adviser, advised, lanes)

    def _expect(self, report: Report, progress: Progress) -> None:
        """Notes which programs come next."""
        if not progress.decoded and not progress.iteration:
            self._compilation.expect(report.programs[progress.level])
        if progress.complete:
            self._compilation.complete()

    def _check(self, painting: Painting) -> None:
        """Raises KeyboardInterrupt if a run was canceled."""
        if painting["id"] in self._inbox.canceled:
            raise KeyboardInterrupt

    def _give_way(self, order: Order, names: list[str]) -> Away:
        """Computes quick runs that came meanwhile; returns the time that this took."""
        clock = Clock(self._compilation)
        while order["do"] == "run" and (quick := self._inbox.take_quick()):
            for name in names:
                self._send({"told": "paused", "id": name})
            programs = self._compilation.expect(None)
            self._run(quick)
            self._compilation.expect(programs)
            self._waiting = names
            for name in names:
                self._send({"told": "resumed", "id": name})
        return clock.away()

    def _end(self, painting: Painting, error: Ended, lanes: int = 1) -> None:
        """Tells how a run ended."""
        output = Path(painting["output"])
        if output.exists():
            _write_thumbnail(output)
        self._inbox.canceled.discard(painting["id"])
        state, text, control = _outcome(error)
        self._send(
            {
                "told": "end",
                "id": painting["id"],
                "state": state,
                "message": checks.named(text, _titles(painting)),
                "control": control or "",
                "lanes": lanes,
            }
        )


def _outcome(error: Ended) -> tuple[EndState, str, str | None]:
    """Returns what is told of a run that ended so: its state, words, and a control."""
    match error:
        case None:
            return "finished", "", None
        case StoppedError(interrupted=True):
            return ("stopped" if error.progress.painted else "canceled"), "", None
        case StoppedError():
            kept = ". The last good picture is kept" if error.progress.painted else ""
            return "failed", NOT_FINITE + kept, None
        case KeyboardInterrupt():
            return "canceled", "", None
        case ConfigError():
            return "failed", str(error), error.option
        case UserError():
            return "failed", str(error), None
    traceback.print_exception(error)
    return "failed", f"a fault of jaxmrf, see its terminal: {error!r}"[:500], None


def _titles(painting: Painting) -> dict[Path, str]:
    return {Path(path): title for path, title in painting["titles"].items()}


def _job(painting: Painting) -> Job:
    values = {name: value for name, value in painting["values"].items() if name != "network"}
    files_of_it = runs.as_options(painting["inputs"])
    return options.job({**values, **files_of_it, "output": painting["output"]})


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
    worker = Worker(inbox, send, weights_file, setup["device"] or "auto", setup["lanes"])

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
