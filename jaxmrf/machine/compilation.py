"""What is being compiled, as JAX tells of it, and how long that took for earlier runs."""

import collections
import threading
import time
from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.monitoring

LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"
"""JAX's event just before a program is compiled, or read from the cache of programs."""

COMPILED = "/jax/core/compile/backend_compile_duration"
"""JAX's event just after it."""

READ = "/jax/compilation_cache/cache_hits"
"""JAX's event between the two where a program was read and not compiled."""


UNKNOWN_SECONDS = 3.0
"""What compiling a program is expected to take that was never measured."""

READING_SECONDS = 0.3
"""What reading one takes."""


Usual = Mapping[Hashable, Mapping[str, float]]
"""Seconds that compiling takes, by kind and name of the program."""


class Programs(NamedTuple):
    """The programs of a level.

    Attributes:
      kind: what they depend on but for the sizes of pictures, which change how long compiling
        takes by little.
      sizes: these.
      names: what they are called, as far as that is known before.
    """

    kind: Hashable
    sizes: Hashable
    names: tuple[str, ...] = ()


class Ongoing(NamedTuple):
    """A program that is being compiled.

    Attributes:
      seconds: since when.
      ready_in: seconds until all of its level are compiled, by earlier times; None: not known,
        or overdue.
    """

    seconds: float
    ready_in: float | None


class Compilation:
    """What the thread compiles that this was made in.

    Args:
      usual: what earlier processes measured.

    Attributes:
      seconds: all that compiling and reading programs has taken.
      usual: what compiling took the last time.
    """

    def __init__(self, usual: Usual = MappingProxyType({})) -> None:
        self.seconds = 0.0
        self.usual = {kind: dict(seconds) for kind, seconds in usual.items()}
        self._thread = threading.get_ident()
        self._expected: Programs | None = None
        self._done: set[str] = set()
        self._here: set[Programs] = set()
        self._since: tuple[str, float] | None = None
        self._read = self._last_was_read = False
        jax.monitoring.register_event_duration_secs_listener(self._hear_duration)
        jax.monitoring.register_event_listener(self._hear)

    def expect(self, programs: Programs | None) -> Programs | None:
        """Notes which programs come next; returns those that came until now."""
        before, self._expected, self._done = self._expected, programs, set()
        return before

    def complete(self) -> None:
        """Notes that no more of those that are expected have to be compiled."""
        if self._expected is not None:
            self._here.add(self._expected)

    def ahead(self, levels: Sequence[Programs]) -> float:
        """Returns the seconds that compiling will take, by earlier times.

        Args:
          levels: programs of those that come, the one that is under way first.
        """
        of_any = collections.ChainMap(*self.usual.values())
        seconds = 0.0
        for number, programs in enumerate(levels):
            if programs in self._here:
                continue
            done = self._done if number == 0 else set()
            # Those of another kind take about as long.
            usual = {name: of_any.get(name, UNKNOWN_SECONDS) for name in programs.names}
            usual |= self.usual.get(programs.kind, {})
            left = [usual[name] for name in usual.keys() - done]
            # Where one was on disk, the others of the run are.
            seconds += READING_SECONDS * len(left) if self._last_was_read else sum(left)
        return seconds

    def ongoing(self) -> Ongoing | None:
        """Returns what is being compiled, None if nothing is; for any thread."""
        since = self._since
        if since is None:
            return None
        name, started = since
        seconds = time.monotonic() - started
        kind = None if self._expected is None else self._expected.kind
        usual = dict(self.usual.get(kind, {}))
        if name not in usual:
            return Ongoing(seconds, None)
        left = sum(usual[other] for other in usual.keys() - self._done) - seconds
        return Ongoing(seconds, left if left > 0 else None)

    def _hear(self, event: str, **more: Any) -> None:
        if event == READ and threading.get_ident() == self._thread:
            self._read = True

    def _hear_duration(self, event: str, duration_secs: float, **more: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        name = str(more.get("fun_name")).removeprefix("jit(").removesuffix(")")
        if event == LOWERED:
            self._since = name, time.monotonic()
        elif event == COMPILED:
            self.seconds += duration_secs
            if not self._read and self._expected is not None:
                self.usual.setdefault(self._expected.kind, {})[name] = duration_secs
            self._done.add(name)
            self._last_was_read = self._read
            self._since, self._read = None, False
