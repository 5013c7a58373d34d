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
from typing import Any, Literal, NamedTuple

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

MATCHING = 6e-6
"""Passes of a pixel that it takes to compare it with one pixel of the painting: matching takes
0.9 of a pass at 384×384 pixels."""

MOST_COMPARED = 2e5
"""Pixels of the painting beyond which it is compared by clusters."""

RATES = 10
"""Runs that the expected time of others is taken from."""

MAX_ATTEMPTS = 2
"""How often a run is started that does not end by itself."""

MAX_CURVE = 240
"""Points of the energy curve; beyond them every second one is left out."""

ROLES = ("content", "style", "content_guide", "style_guide", "mask")
"""What a picture of a run is for; the names are those of the options."""

SEVERAL = ("style", "style_guide")
"""Of these a run can have several."""

_PREFIX = "run-"


@dataclasses.dataclass
class Run:
    """One run: what was asked for, and how far it is.

    Attributes:
      id: opaque name, and that of its folder.
      created: Unix time.
      inputs: ids of its pictures by what they are for, one of `ROLES`.
      titles: their names on the command line.
      values: options that were chosen, as text.
      command: the equivalent command line.
      width: of the result in pixels.
      height: of the result in pixels.
      cost: of all levels, see `LevelCost`.
      quick: whether it goes before others.
      program: what the programs depend on that compute it; runs of a group that have it in
        common can be computed side by side.
      group: name of the runs that were asked for together with it; "" if none were.
      lanes: lanes of its device that it was one of; alone, it has the bytes of the command line.
      state: where it is.
      message: what went wrong, for people.
      control: name of the control that can mend it; "" if none can.
      attempts: how often it was started.
      level: pyramid level it is at, from 1; 0 before the first.
      levels: number of pyramid levels.
      decoded: rounds of the decoder done at this level.
      iteration: iterations done at this level.
      iterations: iterations of this level.
      all_iterations: iterations done at all levels.
      done: part of the cost that is done, 0 to 1.
      seconds: time it has computed.
      left: seconds until it ends, None if not known.
      compiling: whether it waits for programs that are being compiled.
      ready_in: seconds until they are, None if not known.
      rate: seconds per unit of cost, without what is compiled; None if not known.
      picture: number of the latest preview; 0 without one.
      level_starts: where in the curve each level starts.
      curve: (iteration of all, energy) pairs, thinned out.
      finished: Unix time of its end.
      advice: what may help if the pictures do not go together.
    """

    id: str
    created: float
    inputs: dict[str, list[str]]
    titles: dict[str, list[str]]
    values: dict[str, str]
    command: str
    width: int
    height: int
    cost: float
    quick: bool
    program: str = ""
    group: str = ""
    lanes: int = 1
    state: State = "waiting"
    message: str = ""
    control: str = ""
    attempts: int = 0
    level: int = 0
    levels: int = 0
    decoded: int = 0
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

    @property
    def name(self) -> str:
        """What its picture is called, without an ending."""
        photograph, paintings = (
            [Path(title).stem for title in self.titles.get(role, ())]
            for role in ("content", "style")
        )
        return " ".join([*photograph, "in the manner of", " and ".join(paintings)])

    def forget_progress(self) -> None:
        """Puts the run back to where it was before it was started."""
        fresh = {field.name: field for field in dataclasses.fields(self)}
        for name in (
            *("level", "levels", "decoded", "iteration", "iterations", "all_iterations"),
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


def as_options(inputs: Mapping[str, Sequence[str]]) -> dict[str, str | list[str]]:
    """Returns the paths of a run's pictures as options, see `jobs.options.job`.

    Args:
      inputs: paths by what they are for.
    """
    return {
        role: list(paths) if role in SEVERAL else paths[0]
        for role, paths in inputs.items()
        if paths
    }


def new_id() -> str:
    """Returns a name that cannot be guessed."""
    return secrets.token_urlsafe(12)


class LevelCost(NamedTuple):
    """What a level costs, in passes of one pixel through the network.

    Attributes:
      prepared: to prepare its targets.
      round: a round of the decoder.
      iteration: an iteration.
      rounds: how many it has.
      iterations: how many it has.
    """

    prepared: float
    round: float
    iteration: float
    rounds: int
    iterations: int

    def done(self, decoded: int, iteration: int) -> float:
        """Returns the cost of so many rounds and iterations; the first takes the targets along."""
        begun = self.prepared if decoded + iteration else 0.0
        return begun + decoded * self.round + iteration * self.iteration

    @property
    def total(self) -> float:
        """The cost of the whole level."""
        return self.done(self.rounds, self.iterations)


def level_costs(planned: Planned) -> list[LevelCost]:
    """Returns what the levels of a run cost, coarsest first.

    Counted in operations: a pass and its gradient are three passes, the decoder about one; the
    comparison of patches grows with the pixels of both pictures (docs/design.md).
    """
    plan, settings = planned.plan, planned.settings
    copies = (2 * settings.copies.rotations + 1) * (2 * settings.copies.scales + 1)
    costs = []
    for shape, styles, iterations in zip(
        plan.shapes, plan.style_shapes, plan.iterations, strict=True
    ):
        pixels, style_pixels = math.prod(shape), copies * sum(map(math.prod, styles))
        matching = MATCHING * min(style_pixels, MOST_COMPARED)
        costs.append(
            LevelCost(
                prepared=float(pixels + style_pixels),
                round=pixels * (2.0 + matching),
                iteration=pixels * (3.0 + matching / settings.program.match_every),
                rounds=settings.rounds,
                iterations=iterations,
            )
        )
    return costs


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
        return Run(**_by_role(json.loads(record.read_bytes())))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _by_role(values: dict[str, Any]) -> dict[str, Any]:
    """Returns a record with pictures by role, also one of 0.2.0, which had two of them."""
    if "inputs" in values:
        return values
    pictures = ("content", "style")
    inputs = {name: [values.pop(name)] for name in pictures}
    titles = {name: [values.pop(f"{name}_title")] for name in pictures}
    # What it cost was counted in another unit.
    return {**values, "inputs": inputs, "titles": titles, "rate": None}


def beside(first: Run, line: Sequence[Run]) -> list[Run]:
    """Returns a run and those of its group in line that can be computed beside it."""
    if not first.group or not first.program:
        return [first]
    key = (first.group, first.program, first.quick)
    return [run for run in line if (run.group, run.program, run.quick) == key]
