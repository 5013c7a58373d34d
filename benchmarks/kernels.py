"""The kernels that a device spends its time in, from a trace of jax's profiler."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax

COMPUTING = ("Stream", "XLA Ops")
"""What the lines of a device's plane start with that kernels and operations are on: of a GPU,
of a TPU. Others repeat them by module or step."""


def largest(function: Callable[[], Any], count: int = 5) -> dict[str, float]:
    """Returns the milliseconds of all kernels of a call, and of the largest by name.

    Args:
      function: what is traced, compiled before.
      count: of the kernels that are named.

    Raises:
      RuntimeError: if there are none in the trace.
    """
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            jax.block_until_ready(function())
        (file,) = Path(folder).rglob("*.xplane.pb")
        spent, calls = _spent(jax.profiler.ProfileData.from_file(str(file)))
    if not spent:
        raise RuntimeError("the trace has no kernels")
    rows = {"all kernels, ms": spent.total() / 1e6, "kernels": calls.total()}
    for name, nanoseconds in spent.most_common(count):
        rows[f"{name} ({calls[name]} times), ms"] = nanoseconds / 1e6
    return rows


def _spent(data: Any) -> tuple[Counter[str], Counter[str]]:
    """Returns nanoseconds and calls of the kernels of all devices, else of the host, by name."""
    spent, calls = Counter(), Counter()
    planes = list(data.planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    lines = [
        list(line.events)
        for plane in devices
        for line in plane.lines
        if line.name.startswith(COMPUTING)
    ]
    if not any(lines):
        lines = [
            [event for event in line.events if "hlo_op" in dict(event.stats)]
            for plane in planes
            for line in plane.lines
        ]
    for events in lines:
        for event, nanoseconds in _alone(events):
            operation = dict(event.stats).get("hlo_op", event.name)
            name = event.name if operation == event.name else f"{event.name} of {operation}"
            spent[name] += nanoseconds
            calls[name] += 1
    return spent, calls


def _alone(events: Iterable[Any]) -> Iterator[tuple[Any, float]]:
    """Yields events of one line with their nanoseconds without those of events within them."""
    within: list[list[Any]] = []
    for event in sorted(events, key=lambda event: (event.start_ns, -event.duration_ns)):
        while within and within[-1][0].end_ns <= event.start_ns:
            yield tuple(within.pop())
        if within:
            within[-1][1] -= event.duration_ns
        within.append([event, event.duration_ns])
    for entry in within:
        yield tuple(entry)
