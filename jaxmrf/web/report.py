"""How far a run is: what the process that computes tells of it, and its previews."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmrf import planning
from jaxmrf.analysis import suitability
from jaxmrf.core.features import Network
from jaxmrf.core.run.progress import Progress
from jaxmrf.files import atomic, image
from jaxmrf.files.image import Picture
from jaxmrf.jobs import paint
from jaxmrf.jobs.job import Job
from jaxmrf.machine.compilation import Compilation, Programs
from jaxmrf.planning import Planned
from jaxmrf.web import messages, runs
from jaxmrf.web.messages import Painting, Position, Told
from jaxmrf.web.runs import LevelCost

PREVIEW_SECONDS = 0.2
"""Least time between two previews."""

PREVIEW_SHARE = 15
"""Times that writing a preview takes before the next one is written."""


class Away(NamedTuple):
    """Time in which a run was not computed.

    Attributes:
      seconds: all of it.
      compiled: what of it was compiling for others.
    """

    seconds: float
    compiled: float


class Clock:
    """Measures what a run does not do.

    Args:
      compilation: what is compiled meanwhile.
    """

    def __init__(self, compilation: Compilation) -> None:
        self._compilation = compilation
        self._started, self._compiled = time.monotonic(), compilation.seconds

    def away(self) -> Away:
        """Returns the time since this was made."""
        compiled = self._compilation.seconds - self._compiled
        return Away(time.monotonic() - self._started, compiled)


class Adviser:
    """Says what may help where pictures do not go together, and how long that takes.

    Attributes:
      seconds: what it took the last time, most of it compiling the first time.
    """

    def __init__(self) -> None:
        self.seconds = 3.0

    def advice(self, job: Job, network: Network) -> str | None:
        """Returns what the command line would say of a transfer; None: nothing."""
        started = time.monotonic()
        paths = (job.content, *job.styles)
        content, *styles = (image.load(path).on_white() for path in paths if path is not None)
        measured = planning.measure_suitability(content, styles, job.config, network)
        self.seconds = time.monotonic() - started
        return suitability.advice(measured, varied=job.config.variety > 0)


class Report:
    """Tells how far a run is, and writes its previews.

    Args:
      painting: the run.
      job: what it describes.
      send: takes what is to be told.
      compilation: what is compiled meanwhile.
      adviser: gives the advice.
      network: for the advice; None: none is given.
      lanes: lanes of its device that the run is one of.

    Attributes:
      programs: of each level, once there is a plan.
    """

    def __init__(
        self,
        painting: Painting,
        job: Job,
        send: Callable[[Told], None],
        compilation: Compilation,
        adviser: Adviser,
        network: Network | None = None,
        lanes: int = 1,
    ) -> None:
        self._network, self._compilation, self._lanes = network, compilation, lanes
        self._adviser = adviser
        self._id, self._job, self._send = painting["id"], job, send
        self._preview = Path(painting["preview"])
        self.programs: list[Programs] = []
        self._usual_rate = None if painting["rate"] is None else painting["rate"] * lanes
        self._levels: list[LevelCost] = []
        self._worth_a_forecast = False
        self._started = time.monotonic()
        self._away = 0.0
        self._compiled_before = compilation.seconds
        self._first = 0.0, 0.0
        self._measured: dict[int, tuple[float, float]] = {}
        self._pictures = 0
        self._due = 0.0

    def plan(self, planned: Planned) -> None:
        """Notes what the run is computed with."""
        self.programs = programs_of(planned)
        self._levels = runs.level_costs(planned)
        shape = planned.plan.shapes[-1]
        worth_it = paint.is_worth_a_forecast(shape, self._job.config)
        self._worth_a_forecast = worth_it and self._job.content is not None

    def progress(self, progress: Progress) -> None:
        """Tells of a record."""
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

    def was_away(self, away: Away) -> None:
        """Notes that something else was computed."""
        self._away += away.seconds
        self._compiled_before += away.compiled

    def _advise(self, network: Network) -> None:
        """Tells what the command line would, but after the first picture is there."""
        clock = Clock(self._compilation)
        text = self._adviser.advice(self._job, network) if self._worth_a_forecast else None
        if text is not None:
            self._send({"told": "advice", "id": self._id, "text": text})
        self.was_away(clock.away())

    def _position(self, progress: Progress) -> Position:
        """Returns how far a record is: the part that is done, and the seconds that are left."""
        seconds = time.monotonic() - self._started - self._away
        computed = seconds - (self._compilation.seconds - self._compiled_before)
        level = progress.level
        spent = self._levels[level].done(progress.decoded, progress.iteration)
        if progress.decoded + progress.iteration <= 1:
            # The first of a level has to be traced and compiled: it tells nothing of the others.
            self._first = computed, spent
        else:
            self._measured[level] = computed - self._first[0], spent - self._first[1]
        total = sum(cost.total for cost in self._levels)
        todo = sum(cost.total for cost in self._levels[level:]) - spent
        rate, left = self._rate(level), None
        if rate is not None:
            left = todo * rate + self._compilation.ahead(self.programs[level:])
            if self._worth_a_forecast and self._network is not None:
                left += self._adviser.seconds
        done = 1.0 - todo / total if total else 1.0
        return {
            "level": level + 1,
            "levels": progress.levels,
            "decoded": progress.decoded,
            "iteration": progress.iteration,
            "iterations": progress.iterations,
            "picture": self._pictures,
            "seconds": seconds,
            "done": done,
            "left": left,
            "rate": None if not self._measured else self._mean_rate() / self._lanes,
        }

    def _rate(self, level: int) -> float | None:
        """Returns the seconds per cost to go on with: of this level, of all, of earlier runs."""
        if level in self._measured:
            seconds, cost = self._measured[level]
            return seconds / cost
        return self._mean_rate() if self._measured else self._usual_rate

    def _mean_rate(self) -> float:
        """Returns the seconds per cost of all steps but the first of each level."""
        seconds, cost = map(sum, zip(*self._measured.values(), strict=True))
        return seconds / cost

    def _write_preview(self, progress: Progress) -> None:
        """Writes the picture at the size of its level, unless one was written just now."""
        started = time.monotonic()
        last = progress.iteration == progress.iterations
        if not last and progress.iteration > 1 and started < self._due:
            return
        content = image.encode(Picture(np.asarray(at_its_size(progress))), "JPEG", {})
        with contextlib.suppress(OSError), atomic.write(self._preview) as file:
            file.write(content)
        self._pictures += 1
        ended = time.monotonic()
        self._due = ended + max(PREVIEW_SECONDS, PREVIEW_SHARE * (ended - started))


def at_its_size(progress: Progress) -> Any:
    """Returns the picture as it would be delivered, but at the size of its level."""
    height, width, _ = progress.image.shape
    return dataclasses.replace(progress, shape=(height, width)).picture()


def programs_of(planned: Planned) -> list[Programs]:
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
            names=(
                "prepare",
                *["decode"] * (settings.rounds > 0),
                *["begin", "steps"] * (plan.iterations[level] > 0),
            ),
        )
        for level in range(len(plan.shapes))
    ]
