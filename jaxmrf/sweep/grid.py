"""Grids of settings: options with several values to lines of a batch, outputs to a sheet."""

import dataclasses
import functools
import hashlib
import itertools
import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from jaxmrf import api
from jaxmrf.batch import manifest
from jaxmrf.batch.groups import group
from jaxmrf.batch.manifest import Line
from jaxmrf.core import pyramid
from jaxmrf.core.config import Config
from jaxmrf.errors import ConfigError, ImageError
from jaxmrf.files import guides, image
from jaxmrf.jobs import inputs, options
from jaxmrf.jobs.job import Job
from jaxmrf.networks import weights

MOST_CELLS = 100

LARGEST_CELL = 512
"""Longest side of a picture on the sheet; larger ones are shown smaller."""

FONT_SHARE, SMALLEST_FONT = 0.065, 11
"""Height of the letters, of the longest side of a cell, and at least in pixels."""

INPUT_SHARE = 0.4
"""Height of the content and the styles in the corner, of that of a cell."""

MOST_LETTERS = 32
"""Of a value on the sheet; of longer ones the middle is left out."""

PAPER, INK, FAULT = "white", "#222222", "#aa0000"


class Axis(NamedTuple):
    """An option with several values.

    Attributes:
      name: long name of the option.
      values: its values: texts; several names of files for a blend of styles.
    """

    name: str
    values: tuple[Any, ...]


def axes(given: Mapping[str, str | Sequence[str]]) -> tuple[dict[str, Any], list[Axis]]:
    """Divides options by name into those with one value and those with several.

    See `options.alternatives` for what is between values. Where an option is given several
    times, such as the styles of a blend, each time may have several values.

    Raises:
      ConfigError: if no option has several values, or the grid is too large.

    Example:
      >>> axes({"seed": "1,2", "size": "256", "iterations": "60,30;20"})[1]
      [Axis(name='seed', values=('1', '2')), Axis(name='iterations', values=('60,30', '20'))]
    """
    fixed, found = {}, []
    for name, value in given.items():
        if isinstance(value, str):
            values = options.alternatives(name, value)
        else:
            values = list(itertools.product(*(options.alternatives(name, one) for one in value)))
        if len(values) > 1:
            found.append(Axis(name, tuple(values)))
        else:
            fixed[name] = values[0]
    if not found:
        raise ConfigError(
            "no option has several values; give one, such as --content-weight 0.1,0.3"
        )
    count = math.prod(len(axis.values) for axis in found)
    if count > MOST_CELLS:
        raise ConfigError(f"the grid has {count} cells; it may have {MOST_CELLS}")
    return fixed, found


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
    found, faults = [], {}
    for number, cell in enumerate(cells(grid), 1):
        row = {**fixed, **cell, "output": _name(cell)}
        try:
            found.append(manifest.line(number, row, Path(), folder, defaults))
        except ConfigError as error:
            faults[number] = str(error)
    _refuse(grid, faults)
    return found


def check(
    grid: Sequence[Axis], lines: Sequence[Line], network: weights.Loaded, bucket: int
) -> None:
    """Checks all that can be known of the cells before one is painted.

    Args:
      grid: options with several values.
      lines: of all cells.
      network: from `weights.load`.
      bucket: see `batch.Settings`.

    Raises:
      ConfigError: if a cell cannot be painted; it names the cell, unless all have that fault.
    """
    faults: dict[int, str] = {}

    def note(line: Line, error: Exception) -> None:
        faults.setdefault(line.number, str(error))

    # Cells share their files, and mostly their shapes.
    once = functools.cache(_check_inputs)
    for line in lines:
        try:
            once(*_inputs(line.job))
        except (ConfigError, ImageError) as error:
            note(line, error)
    group(lines, network, bucket, note)
    _refuse(grid, faults)


def _refuse(grid: Sequence[Axis], faults: Mapping[int, str]) -> None:
    """Raises the first fault, if there is one, with its cell unless all cells have it."""
    every = list(cells(grid))
    alike = len(faults) == len(every) and len(set(faults.values())) == 1
    for number, cell in enumerate(every, 1):
        if number in faults:
            named = ", ".join(f"{_flag(name)} {_text(value)}" for name, value in cell.items())
            raise ConfigError(faults[number] if alike else f"the cell {named}: {faults[number]}")


def _inputs(job: Job) -> tuple[Job, tuple[int, int]]:
    """Returns a job that has the files of another and no settings, and the result's shape."""
    shape = job.shape
    if job.content is not None:
        shape = api.result_shape(image.shape_of(job.content), job.config)
    return dataclasses.replace(job, output=Path(), config=Config(), shape=None), shape


def _check_inputs(job: Job, shape: tuple[int, int]) -> None:
    if job.initial is not None:
        image.shape_of(job.initial)
    inputs.load_guides(job, shape, [image.shape_of(path) for path in job.styles])
    if job.mask is not None:
        guides.load_mask(job.mask, shape)


def _name(cell: Mapping[str, Any]) -> str:
    """Returns the name of a cell's output, with a digest where values cannot be in it."""
    exact = "_".join(
        f"{_flag(name)}-{'+'.join([value] if isinstance(value, str) else value)}"
        for name, value in cell.items()
    )
    name = re.sub(r"[^\w.,+-]", "-", exact, flags=re.ASCII)
    if name != exact or len(name) > 120:
        name = f"{name[:120]}-{hashlib.sha256(exact.encode()).hexdigest()[:12]}"
    return f"{name}.png"


class Layout(NamedTuple):
    """Where things are on a sheet, in pixels: (x, y) and (width, height).

    Attributes:
      size: of the sheet.
      font: height of the letters.
      corners: upper left corners of the cells, in the order of `cells`.
      cell: size of the largest picture in a cell.
      rows: for each row the middle of the right border of its name.
      columns: for each column the middle of the lower border of its name.
      inputs: upper left corners of the pictures that all cells are made from.
    """

    size: tuple[int, int]
    font: int
    corners: tuple[tuple[int, int], ...]
    cell: tuple[int, int]
    rows: tuple[tuple[int, int], ...]
    columns: tuple[tuple[int, int], ...]
    inputs: tuple[tuple[int, int], ...]


def layout(
    grid: Sequence[Axis], cell: tuple[int, int], inputs: Sequence[tuple[int, int]] = ()
) -> Layout:
    """Returns where things are: the last axis between columns, the others between rows.

    Rows and columns are as wide as their names need, if that is more than a cell.

    Args:
      grid: options with several values.
      cell: (width, height) of the largest picture in a cell.
      inputs: (width, height) of pictures for the upper left corner of the sheet.
    """
    font = _font_size(cell)
    gap = font // 2
    rows, columns = ([_extent(name, font) for name in names] for names in _names(grid))
    beside = sum(width + gap for width, _ in inputs)
    left = gap + max(beside, *(width + gap for width, _ in rows))
    top = 2 * gap + max(height for _, height in (*inputs, *columns))
    pitch = [
        gap + max(cell[0], *(width for width, _ in columns)),
        gap + max(cell[1], *(height for _, height in rows)),
    ]
    xs = [left + index * pitch[0] for index in range(len(columns))]
    ys = [top + index * pitch[1] for index in range(len(rows))]
    offsets = itertools.accumulate((width + gap for width, _ in inputs), initial=gap)
    return Layout(
        size=(xs[-1] + pitch[0], ys[-1] + pitch[1]),
        font=font,
        corners=tuple((x + (pitch[0] - gap - cell[0]) // 2, y) for y in ys for x in xs),
        cell=cell,
        rows=tuple((left - gap, y + (pitch[1] - gap) // 2) for y in ys),
        columns=tuple((x + (pitch[0] - gap) // 2, top - gap) for x in xs),
        inputs=tuple((x, gap) for x, _ in zip(offsets, inputs, strict=False)),
    )


def plan(
    grid: Sequence[Axis], lines: Sequence[Line], shapes: Sequence[tuple[int, int]]
) -> tuple[Layout, list[Image.Image]]:
    """Returns where things are, and the content and styles for the corner, if all cells share them.

    Args:
      grid: options with several values.
      lines: of all cells.
      shapes: (height, width) of their outputs.

    Raises:
      ImageError: if a picture cannot be read.
    """
    cell = tuple(map(max, zip(*(_shown(shape) for shape in shapes), strict=True)))
    pictures = [
        _opened(path)
        for name in ("content", "style")
        if name not in [axis.name for axis in grid]
        for path in lines[0].inputs.get(name, ())
    ]
    height = max(1, round(INPUT_SHARE * cell[1]))
    small = [
        one.resize((max(1, round(one.width * height / one.height)), height)) for one in pictures
    ]
    return layout(grid, cell, [one.size for one in small]), small


def sheet(
    grid: Sequence[Axis],
    places: Layout,
    outputs: Sequence[Path | str],
    inputs: Sequence[Image.Image] = (),
) -> Image.Image:
    """Returns the labeled sheet.

    Args:
      grid: options with several values.
      places: from `plan`.
      outputs: the picture of every cell, or what went wrong.
      inputs: the pictures of the corner, from `plan`.

    Raises:
      ImageError: if a picture cannot be read.
    """
    paper = Image.new("RGB", places.size, PAPER)
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(places.font)
    names = _names(grid)
    for name, at in zip(names[0], places.rows, strict=True):
        pen.multiline_text(at, name, INK, font, anchor="rm", align="right")
    for name, at in zip(names[1], places.columns, strict=True):
        pen.multiline_text(at, name, INK, font, anchor="md", align="center")
    for picture, at in zip(inputs, places.inputs, strict=True):
        paper.paste(picture, at)
    for output, at in zip(outputs, places.corners, strict=True):
        if isinstance(output, Path):
            picture = _opened(output)
            paper.paste(picture.resize(_shown(picture.size[::-1])), at)
        else:
            pen.multiline_text(at, _folded(output, places), FAULT, font)
    return paper


def _names(grid: Sequence[Axis]) -> list[list[str]]:
    """Returns what is written beside the rows and above the columns."""
    return [
        ["\n".join(f"{_flag(n)}\n{_short(_text(v))}" for n, v in cell.items()) for cell in chosen]
        for chosen in (cells(grid[:-1]), cells(grid[-1:]))
    ]


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _text(value: Any) -> str:
    """Returns a value as text; of a file its name without folder."""
    if isinstance(value, str):
        return Path(value).name or value
    return " + ".join(map(_text, value))


def _short(text: str) -> str:
    if len(text) <= MOST_LETTERS:
        return text
    return f"{text[: MOST_LETTERS // 2]}…{text[1 - MOST_LETTERS // 2 :]}"


def _font_size(cell: tuple[int, int]) -> int:
    return max(SMALLEST_FONT, round(FONT_SHARE * max(cell)))


def _extent(text: str, font: int) -> tuple[int, int]:
    """Returns (width, height) of a text in pixels."""
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    box = pen.multiline_textbbox((0, 0), text, ImageFont.load_default(font))
    return (math.ceil(box[2]), math.ceil(box[3])) if text else (0, 0)


def _folded(text: str, places: Layout) -> str:
    """Returns a text in lines that fit into a cell."""
    width, height = _extent(text, places.font)
    letters = int(0.9 * places.cell[0] / (width / len(text)))
    most = max(1, int(places.cell[1] / (1.4 * height)))
    return textwrap.fill(text, max(4, letters), max_lines=most, placeholder="…")


def _shown(shape: tuple[int, int]) -> tuple[int, int]:
    """Returns (width, height) on the sheet of a picture of (height, width) `shape`."""
    height, width = shape if max(shape) <= LARGEST_CELL else pyramid.fit(*shape, LARGEST_CELL)
    return width, height


def _opened(path: Path) -> Image.Image:
    return Image.fromarray((image.load(path).pixels * 255).round().astype("uint8"))
