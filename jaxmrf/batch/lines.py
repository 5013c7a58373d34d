"""Lines of a batch, which take little memory: each is made anew whenever it is asked for."""

import abc
import dataclasses
import functools
import itertools
import operator
import os
from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from jaxmrf.core.config import Config
from jaxmrf.jobs.job import Job

_REST = operator.attrgetter("shape", "initial", "content_guide", "style_guides", "mask")
"""Fields of a job that most lines have in common, which follow `content` among all of them."""


@dataclasses.dataclass(frozen=True)
class Line:
    """One transfer of a batch.

    Attributes:
      number: its line, from 1; for pairs of folders the number of the pair.
      name: the output, relative to the folder of all outputs, with ``/``.
      job: what to paint.
    """

    number: int
    name: str
    job: Job

    @functools.cached_property
    def files(self) -> tuple[Path, ...]:
        """All pictures that are read."""
        return tuple(itertools.chain.from_iterable(self.inputs.values()))

    @functools.cached_property
    def inputs(self) -> dict[str, list[Path]]:
        """The pictures that are read, by what they are for."""
        job = self.job
        single = {
            "content": job.content,
            "initial": job.initial,
            "content_guide": job.content_guide,
            "mask": job.mask,
        }
        pictures = {name: [path] for name, path in single.items() if path is not None}
        lists = {"style": job.styles, "style_guide": job.style_guides}
        return pictures | {name: list(paths) for name, paths in lists.items() if paths}


Value = TypeVar("Value", bound=Hashable)


class _Places(Sequence[Line]):
    """What lines have in common that are found by a number."""

    @abc.abstractmethod
    def _at(self, place: int) -> Line:
        """Returns the line at a place."""

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> list[Line]: ...
    def __getitem__(self, index: int | slice) -> Line | list[Line]:
        places = range(len(self))[index]
        return self._at(places) if isinstance(places, int) else [self._at(n) for n in places]

    def __iter__(self) -> Iterator[Line]:
        return map(self._at, range(len(self)))


class Distinct(Generic[Value]):
    """Values that many lines have in common, by number."""

    def __init__(self) -> None:
        self._numbers: dict[Value, int] = {}
        self.values: list[Value] = []

    def number(self, value: Value) -> int:
        """Returns the number of a value, a new one if it is new."""
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class Rows(_Places):
    """Lines in columns: what many have in common is kept once.

    Args:
      folder: of the outputs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names, self._ends = bytearray(), array("Q")
        self._numbers, self._seeds = array("Q"), array("Q")
        self._columns = [array("I") for _ in range(4)]
        self._configs, self._rest = Distinct[Config](), Distinct[tuple[Any, ...]]()
        self._contents = Distinct[Path | None]()
        self._styles = Distinct[tuple[Path, ...]]()

    def append(self, line: Line) -> None:
        """Adds a line."""
        job = line.job
        self._names += os.fsencode(line.name)
        self._ends.append(len(self._names))
        self._numbers.append(line.number)
        self._seeds.append(job.config.seed)
        numbers = (
            self._configs.number(job.config.with_seed(0)),
            self._contents.number(job.content),
            self._styles.number(job.styles),
            self._rest.number(_REST(job)),
        )
        for column, number in zip(self._columns, numbers, strict=True):
            column.append(number)

    def __len__(self) -> int:
        return len(self._ends)

    def _at(self, place: int) -> Line:
        start = self._ends[place - 1] if place else 0
        name = os.fsdecode(bytes(self._names[start : self._ends[place]]))
        config, content, styles, rest = (column[place] for column in self._columns)
        settings, seed = self._configs.values[config], self._seeds[place]
        job = Job(  # by place, which is sooner
            self._styles.values[styles],
            self._folder / name,
            settings.with_seed(seed) if seed else settings,
            self._contents.values[content],
            *self._rest.values[rest],
        )
        return Line(self._numbers[place], name, job)


class Part(_Places):
    """Some of other lines.

    Args:
      lines: the others.
      places: of those that are taken, in them.
    """

    def __init__(self, lines: Sequence[Line], places: Iterable[int] = ()) -> None:
        self._lines, self._chosen = lines, array("Q", places)

    def append(self, place: int) -> None:
        """Takes one more."""
        self._chosen.append(place)

    def __len__(self) -> int:
        return len(self._chosen)

    def _at(self, place: int) -> Line:
        return self._lines[self._chosen[place]]
