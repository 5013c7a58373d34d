"""Which lines of a batch can run side by side."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxmrf.batch.lines import Distinct, Line, Part
from jaxmrf.core.config import Config, Shape
from jaxmrf.core.run.lanes import ProgramKey
from jaxmrf.errors import ConfigError, ImageError
from jaxmrf.files import image
from jaxmrf.networks.weights import Loaded
from jaxmrf.planning import resolved, result_shape
from jaxmrf.side_by_side import Planner

REMEMBERED = 2**16
"""Pictures and settings that are looked at once: many lines have the same ones."""


class Group(NamedTuple):
    """Lines that can run side by side.

    Attributes:
      key: of their programs.
      lines: those of them that are wanted.
      members: number of all of them.
    """

    key: ProgramKey
    lines: Part
    members: int


def group(
    lines: Sequence[Line],
    loaded: Loaded,
    bucket: int,
    on_failure: Callable[[Line, Exception], Any],
    wanted: Callable[[Line], bool] = lambda line: True,
) -> list[Group]:
    """Returns the lines by program, in order of their first one; only headers are read.

    Args:
      lines: of the batch.
      loaded: from `weights.load`.
      bucket: see `BatchOptions`.
      on_failure: called with a line that cannot be planned, and why.
      wanted: whether a line is to be among those of its group; asked once for each that can be
        planned.
    """
    parts: dict[int, Part] = {}
    members: dict[int, int] = {}
    keys = _Keys(loaded, bucket)
    for place, line in enumerate(lines):
        try:
            number = keys.number_of(line)
        except (ImageError, ConfigError) as error:
            on_failure(line, error)
            continue
        if number not in parts:
            parts[number], members[number] = Part(lines), 0
        members[number] += 1
        if wanted(line):
            parts[number].append(place)
    return [Group(keys.values[number], part, members[number]) for number, part in parts.items()]


class _Asked(NamedTuple):
    """What the key of a line follows from."""

    config: Config
    content: Shape | None
    shape: Shape | None
    styles: tuple[Shape, ...]
    has_start: bool
    labeled: bool
    masked: bool


class _Keys(Distinct[ProgramKey]):
    """Finds the keys of lines, by number; what lines have in common is found once."""

    def __init__(self, loaded: Loaded, bucket: int) -> None:
        super().__init__()
        self._loaded, self._planner = loaded, Planner(loaded.network, bucket)
        self._shape_of = functools.lru_cache(REMEMBERED)(image.shape_of)
        self._planned = functools.lru_cache(REMEMBERED)(self._plan)

    def number_of(self, line: Line) -> int:
        """Returns the number of a line's key.

        Raises:
          ImageError: if a header cannot be read, or the output would be too large.
          ConfigError: if a setting cannot be used with these pictures.
        """
        job = line.job
        asked = _Asked(
            job.config.with_seed(0),  # which has no part in it
            None if job.content is None else self._shape_of(job.content),
            job.shape,
            tuple(map(self._shape_of, job.styles)),
            job.initial is not None,
            job.content_guide is not None,
            job.mask is not None,
        )
        shape, number = self._planned(asked)
        image.check_size(job.output, shape)
        return number

    def _plan(self, asked: _Asked) -> tuple[Shape, int]:
        config, has_content = asked.config, asked.content is not None
        shape = asked.shape if asked.content is None else result_shape(asked.content, config)
        if shape is None:
            raise ConfigError("a picture without a photograph needs a width and a height")
        _, settings = resolved(
            config,
            self._loaded.network,
            asked.shape or (config.size,),
            has_content=has_content,
            has_start=asked.has_start,
        )
        key = self._planner.key(
            shape, asked.styles, settings, labeled=asked.labeled, masked=asked.masked
        )
        return shape, self.number(key)
