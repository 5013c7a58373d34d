"""Grids of settings: options with several values to lines of a batch, outputs to a sheet."""

import dataclasses
import functools
import hashlib
import itertools
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxmrf.batch import manifest
from jaxmrf.batch.groups import group
from jaxmrf.batch.lines import Line
from jaxmrf.core.config import Config, Shape
from jaxmrf.errors import ConfigError, ImageError
from jaxmrf.jobs import inputs, options
from jaxmrf.jobs.job import Job
from jaxmrf.networks.weights import Loaded

MOST_CELLS = 100


class Axis(NamedTuple):
    """An option with several values.

    Attributes:
      name: long name of the option.
      values: its values: texts; several names of files for a blend of styles.
    """

    name: str
    values: tuple[Any, ...]


def axes(texts: Mapping[str, str | Sequence[str]]) -> tuple[dict[str, Any], list[Axis]]:
    """Divides options by name into those with one value and those with several.

    See `options.alternatives` for what is between values. Where an option is given several
    times, such as the styles of a blend, each time may have several values.

    Raises:
      ConfigError: if no option has several values, or the grid is too large.

    Example:
      >>> axes({"seed": "1,2", "size": "256", "iterations": "60,30;20"})[1]
      [Axis(name='seed', values=('1', '2')), Axis(name='iterations', values=('60,30', '20'))]
    """
    fixed, grid = {}, []
    for name, value in texts.items():
        if isinstance(value, str):
            values = options.alternatives(name, value)
        else:
            values = list(itertools.product(*(options.alternatives(name, text) for text in value)))
        if len(values) > 1:
            grid.append(Axis(name, tuple(values)))
        else:
            fixed[name] = values[0]
    if not grid:
        raise ConfigError(
            "no option has several values; give one, such as --content-weight 0.1,0.3"
        )
    count = math.prod(len(axis.values) for axis in grid)
    if count > MOST_CELLS:
        raise ConfigError(f"the grid has {count} cells; it may have {MOST_CELLS}")
    return fixed, grid


def cells(grid: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """Yields the options of every cell, the last axis changing fastest."""
    for values in itertools.product(*(axis.values for axis in grid)):
        yield {axis.name: value for axis, value in zip(grid, values, strict=True)}


def lines(
    grid: Sequence[Axis], fixed: Mapping[str, Any], folder: Path, defaults: Mapping[str, Any]
) -> list[Line]:
    """Returns a line of a batch for every cell, in the order of `cells`.

    An output's name follows from the values of its cell alone, so that a larger grid finds
    what a smaller one has painted.

    Args:
      grid: options with several values.
      fixed: options with one value.
      folder: of the outputs.
      defaults: options that are in neither.

    Raises:
      ConfigError: if an option cannot be used.
    """
    cell_lines, faults = [], {}
    for number, cell in enumerate(cells(grid), 1):
        row = {**fixed, **cell, "output": _name(cell)}
        try:
            cell_lines.append(manifest.line(number, row, Path(), folder, defaults))
        except ConfigError as error:
            faults[number] = str(error)
    _refuse(grid, faults)
    return cell_lines


def shapes(grid: Sequence[Axis], lines: Sequence[Line]) -> list[Shape]:
    """Returns (height, width) of the output of every cell; only headers are read.

    Args:
      grid: options with several values.
      lines: of all cells.

    Raises:
      ImageError: if a content cannot be read.
      ConfigError: if a picture of these sides cannot be tiled; it names the cell, unless all
        have that fault.
    """
    cell_shapes, faults = [], {}
    for line in lines:
        try:
            cell_shapes.append(inputs.shape_of(line.job))
        except ConfigError as error:
            faults[line.number] = str(error)
    _refuse(grid, faults)
    return cell_shapes


def check(grid: Sequence[Axis], lines: Sequence[Line], loaded: Loaded, bucket: int) -> None:
    """Checks all that can be known of the cells before one is painted.

    Args:
      grid: options with several values.
      lines: of all cells.
      loaded: from `weights.load`.
      bucket: see `BatchOptions`.

    Raises:
      ConfigError: if a cell cannot be painted; it names the cell, unless all have that fault.
    """
    faults: dict[int, str] = {}

    def note(line: Line, error: Exception) -> None:
        faults.setdefault(line.number, str(error))

    # Cells share their files, and mostly their shapes.
    once = functools.cache(inputs.check)
    for line in lines:
        try:
            once(_files_of(line.job))
        except (ConfigError, ImageError) as error:
            note(line, error)
    group(lines, loaded, bucket, note)
    _refuse(grid, faults)


def _refuse(grid: Sequence[Axis], faults: Mapping[int, str]) -> None:
    """Raises the first fault, if there is one, with its cell unless all cells have it."""
    all_cells = list(cells(grid))
    alike = len(faults) == len(all_cells) and len(set(faults.values())) == 1
    for number, cell in enumerate(all_cells, 1):
        if number in faults:
            named = ", ".join(f"{flag_of(name)} {text_of(value)}" for name, value in cell.items())
            raise ConfigError(faults[number] if alike else f"the cell {named}: {faults[number]}")


def _files_of(job: Job) -> Job:
    """Returns a job with the files of another, and those of its options that its size needs."""
    config = Config(size=job.config.size, tileable=job.config.tileable)
    return dataclasses.replace(job, output=Path(), config=config)


def _name(cell: Mapping[str, Any]) -> str:
    """Returns the name of a cell's output, with a digest where values cannot be in it."""
    exact = "_".join(
        f"{flag_of(name)}-{'+'.join([value] if isinstance(value, str) else value)}"
        for name, value in cell.items()
    )
    name = re.sub(r"[^\w.,+-]", "-", exact, flags=re.ASCII)
    if name != exact or len(name) > 120:
        name = f"{name[:120]}-{hashlib.sha256(os.fsencode(exact)).hexdigest()[:12]}"
    return f"{name}.png"


def flag_of(name: str) -> str:
    """Returns an option as it is written on a command line, without dashes before it."""
    return name.replace("_", "-")


def text_of(value: Any) -> str:
    """Returns a value as text; of a file its name without folder."""
    if isinstance(value, str):
        return Path(value).name or value
    return " + ".join(map(text_of, value))
