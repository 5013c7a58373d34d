"""The progress of a run on a terminal."""

import math
import threading

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from jaxmrf.cli.terminal import console, say, shows_bars
from jaxmrf.core.run.progress import Progress as Record
from jaxmrf.machine import program_cache
from jaxmrf.machine.compilation import Compilation, Programs
from jaxmrf.networks.weights import Loaded
from jaxmrf.planning import Planned

WIDE = 100
"""Columns of a terminal from which on the terms of the energy are shown."""

SHORT_BAR = 8
"""Columns of the bar on a terminal that is not wide: the iteration and the time stay."""

PATIENCE = 5.0
"""Seconds of compilation after which a line says so where there is no bar."""

RUN = "run"
"""The kind of the programs of a run: they are expected anew at every level."""


class Remaining(ProgressColumn):
    """How long the run still takes, or that its programs are being compiled."""

    def __init__(self, compilation: Compilation) -> None:
        super().__init__(Column(no_wrap=True))
        self._compilation = compilation

    def render(self, task: Task) -> Text:
        """Returns the text; called whenever the line is drawn."""
        ongoing = self._compilation.ongoing()
        if ongoing is None:
            return Text(left(task.time_remaining))
        ready = "" if ongoing.ready_in is None else f", {left(ongoing.ready_in)}"
        return Text(f"compiling{ready}")


class Display:
    """A progress bar on a terminal, else one line per level."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._rounds = 0
        self._compilation = Compilation(
            {RUN: program_cache.read_numbers(program_cache.COMPILATION)}
        )
        self._compilation.expect(Programs(RUN, None))
        self._bar = progress_bar(console, self._compilation)
        self._task = self._bar.add_task("preparing", terms="", total=None)
        self._costs: list[int] = []
        self._patience = threading.Timer(PATIENCE, self._say_that_it_compiles)
        self._patience.daemon = True

    def __enter__(self) -> "Display":
        self._bar.start()
        if not shows_bars():
            self._patience.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patience.cancel()
        self._bar.stop()
        program_cache.write_numbers(program_cache.COMPILATION, self._compilation.usual[RUN])

    def plan(self, planned: Planned) -> None:
        """Announces network and levels; the bar advances by pixels times rounds and iterations."""
        plan, self._rounds = planned.plan, planned.settings.rounds
        features = self._loaded.features
        say(f"network {features.architecture} to {features.deepest} ({self._loaded.source})")
        if plan.dropped:
            say(f"left out {plan.dropped} coarse level(s): no patch fits there")
        self._costs = [height * width for height, width in plan.shapes]
        steps = [self._rounds + iterations for iterations in plan.iterations]
        total = sum(map(int.__mul__, self._costs, steps))
        self._bar.update(self._task, total=total)

    def progress(self, record: Record) -> None:
        """Shows the level, the round or iteration, and the terms of the energy."""
        is_start = not record.iteration and not record.decoded
        if is_start:
            self._compilation.expect(Programs(RUN, None))
        place = f" iteration {record.iteration}/{record.iterations}"
        if not record.iteration:
            place = f" round {record.decoded}/{self._rounds}" if record.decoded else ""
        position = f"level {record.level + 1}/{record.levels}{place}"
        terms = " ".join(f"{name} {value:.4g}" for name, value in sorted(record.terms.items()))
        advance = 0 if is_start else self._costs[record.level]
        self._bar.update(self._task, description=position, terms=terms, advance=advance)
        last = record.iteration == record.iterations and record.decoded == self._rounds
        if not shows_bars() and last:
            energy = f" energy {record.value:.4g} {terms}" if record.iterations else ""
            say(f"{position}{energy}")

    def _say_that_it_compiles(self) -> None:
        if self._compilation.ongoing() is not None:
            say("compiling; the next run of this size will find its programs")


def progress_bar(screen: Console, compilation: Compilation) -> Progress:
    """Returns the bar of a run; on a narrow terminal the bar is short.

    Args:
      screen: where it is drawn.
      compilation: what is being compiled.
    """
    columns = [TextColumn("{task.description}"), BarColumn(SHORT_BAR), Remaining(compilation)]
    if screen.width >= WIDE:
        columns[1:2] = BarColumn(), TextColumn("{task.fields[terms]}")
    return Progress(*columns, console=screen, disable=not shows_bars())


def left(seconds: float | None) -> str:
    """Returns a time that remains, in words; "" if it is not known.

    Example:
      >>> left(3.2), left(41), left(200), left(5000)
      ('a few seconds left', '45 seconds left', '4 minutes left', '1.4 hours left')
    """
    if seconds is None:
        return ""
    if seconds <= 5:
        return "a few seconds left"
    if seconds <= 55:
        return f"{5 * math.ceil(seconds / 5)} seconds left"
    if seconds <= 60:
        return "1 minute left"
    if seconds <= 3540:
        return f"{math.ceil(seconds / 60)} minutes left"
    return f"{seconds / 3600:.1f} hours left"
