"""Lines of a batch that take little memory: each is made anew whenever it is asked for."""

import dataclasses
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from jaxmrf.jobs.job import Job


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

    @property
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


class _Places(Sequence[Line]):
    """What lines have in common that are found by a number."""

    def _at(self, place: int) -> Line:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> list[Line]: ...
    def __getitem__(self, index: int | slice) -> Line | list[Line]:
        places = range(len(self))[index]
        return self._at(places) if isinstance(places, int) else [self._at(n) for n in places]

    def __iter__(self) -> Iterator[Line]:
        return map(self._at, range(len(self)))


class Rows(_Places):
    """The lines of rows of options, which are kept as text.

    Args:
      read: makes a line of its number and its row.
    """

    def __init__(self, read: Callable[[int, dict[str, Any]], Line]) -> None:
        self._read = read
        self._text, self._ends, self._numbers = bytearray(), array("Q"), array("Q")

    def append(self, number: int, row: dict[str, Any]) -> None:
        """Adds the row of a line."""
        self._text += json.dumps(row, separators=(",", ":")).encode()
        self._ends.append(len(self._text))
        self._numbers.append(number)

    def __len__(self) -> int:
        return len(self._ends)

    def _at(self, place: int) -> Line:
        start = self._ends[place - 1] if place else 0
        row = json.loads(self._text[start : self._ends[place]])
        return self._read(self._numbers[place], row)


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
