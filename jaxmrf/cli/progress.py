"""The progress of a run on a terminal."""

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jaxmrf.cli.terminal import console, say
from jaxmrf.core.run.progress import Progress as Record
from jaxmrf.networks.weights import Loaded
from jaxmrf.planning import Planned


class Display:
    """A progress bar on a terminal, else one line per level."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._rounds = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[terms]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("preparing", terms="", total=None)
        self._costs: list[int] = []

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

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
        place = f"iteration {record.iteration}/{record.iterations}"
        if not record.iteration and record.decoded:
            place = f"round {record.decoded}/{self._rounds}"
        position = f"level {record.level + 1}/{record.levels} {place}"
        terms = " ".join(f"{name} {value:.4g}" for name, value in sorted(record.terms.items()))
        advance = self._costs[record.level] if record.iteration or record.decoded else 0
        self._bar.update(self._task, description=position, terms=terms, advance=advance)
        last = record.iteration == record.iterations and record.decoded == self._rounds
        if not console.is_terminal and last:
            energy = f" energy {record.value:.4g} {terms}" if record.iterations else ""
            say(f"{position}{energy}")
