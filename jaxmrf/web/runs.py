"""The runs of the page: their records on disk, what they cost, and whose turn it is."""

import contextlib
import dataclasses
import json
import math
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from jaxmrf.files import atomic
from jaxmrf.planning import Planned

FileName = Literal["out.png", "preview.jpg", "thumbnail.jpg"]
State = Literal[
    "waiting", "running", "paused", "finished", "stopped", "canceled", "failed", "interrupted"
]
ENDED: tuple[State, ...] = ("finished", "stopped", "canceled", "failed", "interrupted")
"""``stopped`` was canceled and keeps its picture, ``canceled`` has none; ``interrupted``
lost the server more often than `MAX_ATTEMPTS`."""

QUICK_SIDE = 256
"""A run whose longest side has at most this many pixels is quick."""

RATES = 10
"""Runs that the expected time of others is taken from."""

MAX_ATTEMPTS = 2
"""How often a run is started that does not end by itself."""

MAX_CURVE = 240
"""Points of the energy curve; beyond them every second one is left out."""

_PREFIX = "run-"


@dataclasses.dataclass
class Run:
    """One run: what was asked for, and how far it is.

    Attributes:
      id: opaque name, and that of its folder.
      created: Unix time.
      content: id of the photograph.
      style: id of the painting.
      content_title: name of the photograph.
      style_title: name of the painting.
      values: options that were chosen, as text.
      command: the equivalent command line.
      width: of the result in pixels.
      height: of the result in pixels.
      cost: pixels times rounds and iterations times style copies, over all levels.
      quick: whether it goes before others.
      state: where it is.
      message: what went wrong, for people.
      control: name of the control that can mend it; "" if none can.
      attempts: how often it was started.
      level: pyramid level it is at, from 1; 0 before the first.
      levels: number of pyramid levels.
      iteration: iterations done at this level.
      iterations: iterations of this level.
      all_iterations: iterations done at all levels.
      done: part of the cost that is done, 0 to 1.
      seconds: time it has computed.
      left: seconds until it ends, None if not known.
      compiling: whether it waits for programs that are being compiled.
      ready_in: seconds until they are, None if not known.
      rate: seconds per unit of cost of its iterations, without what is compiled before
        them; None if not known.
      picture: number of the latest preview; 0 without one.
      level_starts: where in the curve each level starts.
      curve: (iteration of all, energy) pairs, thinned out.
      finished: Unix time of its end.
      advice: what may help if the pictures do not go together.
    """

    id: str
    created: float
    content: str
    style: str
    content_title: str
    style_title: str
    values: dict[str, str]
    command: str
    width: int
    height: int
    cost: float
    quick: bool
    state: State = "waiting"
    message: str = ""
    control: str = ""
    attempts: int = 0
    level: int = 0
    levels: int = 0
    iteration: int = 0
    iterations: int = 0
    all_iterations: int = 0
    done: float = 0.0
    seconds: float = 0.0
    left: float | None = None
    compiling: bool = False
    ready_in: float | None = None
    rate: float | None = None
    picture: int = 0
    level_starts: list[int] = dataclasses.field(default_factory=list)
    curve: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    finished: float | None = None
    advice: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the run."""
        return self.state in ENDED

    def forget_progress(self) -> None:
        """Puts the run back to where it was before it was started."""
        fresh = {field.name: field for field in dataclasses.fields(self)}
        for name in (
            *("level", "levels", "iteration", "iterations", "all_iterations"),
            *("done", "seconds", "left", "compiling", "ready_in", "rate", "picture"),
        ):
            setattr(self, name, fresh[name].default)
        self.level_starts, self.curve = [], []

    def add_point(self, iteration: int, energy: float) -> None:
        """Adds a point to the curve, which never has more than `MAX_CURVE`."""
        self.curve.append((iteration, float(f"{energy:.5g}")))
        if len(self.curve) > MAX_CURVE:
            del self.curve[1:-1:2]


class Archive:
    """The runs in a folder, each in one of its own.

    Args:
      folder: where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.runs: dict[str, Run] = {}
        for place in folder.glob(f"{_PREFIX}*"):
            run = _read(place / "run.json")
            if run is None:
                shutil.rmtree(place, ignore_errors=True)
            else:
                self.runs[run.id] = run

    def file(self, run: Run, name: FileName) -> Path:
        """Returns the path of a file of a run."""
        return self._place(run) / name

    def _place(self, run: Run) -> Path:
        return self._folder / f"{_PREFIX}{run.id}"

    def add(self, run: Run) -> None:
        """Keeps a new run.

        Raises:
          OSError: if it cannot be written.
        """
        self._place(run).mkdir()
        self.runs[run.id] = run
        self.save(run)

    def save(self, run: Run) -> None:
        """Writes the record of a run.

        Raises:
          OSError: if it cannot be written.
        """
        with atomic.write(self._place(run) / "run.json") as file:
            file.write(json.dumps(dataclasses.asdict(run)).encode())

    def remove(self, run: Run) -> None:
        """Removes a run and all its files."""
        del self.runs[run.id]
        shutil.rmtree(self._place(run), ignore_errors=True)

    def resume(self) -> None:
        """Puts runs that a server left unfinished in line again, or gives them up."""
        for run in self.runs.values():
            if run.ended:
                continue
            if run.state != "waiting":
                restart(run, "the server ended while it ran")
            with contextlib.suppress(OSError):
                self.save(run)


def restart(run: Run, reason: str) -> None:
    """Puts a run back in line that did not end by itself, or gives it up."""
    run.message = reason
    if run.attempts < MAX_ATTEMPTS:
        run.forget_progress()
        run.state = "waiting"
    else:
        run.state, run.finished, run.left = "interrupted", time.time(), None


def new_id() -> str:
    """Returns a name that cannot be guessed."""
    return secrets.token_urlsafe(12)


def level_costs(planned: Planned) -> tuple[list[float], list[int]]:
    """Returns the cost of a round or an iteration of each level, and how many it has of both."""
    plan, settings = planned.plan, planned.settings
    copies = (2 * settings.copies.rotations + 1) * (2 * settings.copies.scales + 1)
    costs = [float(math.prod(shape) * copies) for shape in plan.shapes]
    return costs, [settings.rounds + count for count in plan.iterations]


def product(costs: Sequence[float], counts: Sequence[int]) -> float:
    """Returns the cost of so many steps of each level."""
    return sum(cost * count for cost, count in zip(costs, counts, strict=True))


def usual_rate(runs: Iterable[Run]) -> float | None:
    """Returns the seconds per unit of cost of the latest runs that finished.

    Large runs count for more: small ones spend most of their time beside the iterations.
    """
    measured = sorted(
        (run for run in runs if run.state == "finished" and run.rate is not None and run.cost),
        key=lambda run: run.finished or 0.0,
    )[-RATES:]
    total = sum(run.cost for run in measured)
    seconds = sum(run.rate * run.cost for run in measured if run.rate is not None)
    return seconds / total if total else None


def in_line(runs: Mapping[str, Run]) -> list[Run]:
    """Returns the runs that wait, in their order: quick ones first, then the oldest."""
    waiting = [run for run in runs.values() if run.state == "waiting"]
    return sorted(waiting, key=lambda run: (not run.quick, run.created))


def _read(record: Path) -> Run | None:
    try:
        return Run(**json.loads(record.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
