"""The cells of a sweep on one labeled sheet."""

import itertools
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from jaxmrf.batch.lines import Line
from jaxmrf.core import pyramid
from jaxmrf.core.config import Shape
from jaxmrf.files import image
from jaxmrf.sweep.grid import Axis, cells, flag_of, text_of

LARGEST_CELL = 512
"""Longest side of a picture on the sheet; larger ones are shown smaller."""

FONT_SHARE, SMALLEST_FONT = 0.065, 11
"""Height of the letters, of the longest side of a cell, and at least in pixels."""

INPUT_SHARE = 0.4
"""Height of the content and the styles in the corner, of that of a cell."""

MOST_LETTERS = 32
"""Letters of a value on the sheet; of longer ones the middle is left out."""

PAPER, INK, FAULT = "white", "#222222", "#aa0000"


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
    grid: Sequence[Axis], lines: Sequence[Line], shapes: Sequence[Shape]
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
        image.shown(path)
        for name in ("content", "style")
        if name not in [axis.name for axis in grid]
        for path in lines[0].inputs.get(name, ())
    ]
    height = max(1, round(INPUT_SHARE * cell[1]))
    small = [
        picture.resize((max(1, round(picture.width * height / picture.height)), height))
        for picture in pictures
    ]
    return layout(grid, cell, [picture.size for picture in small]), small


def draw(
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
            picture = image.shown(output)
            paper.paste(picture.resize(_shown(picture.size[::-1])), at)
        else:
            pen.multiline_text(at, _folded(output, places), FAULT, font)
    return paper


def _names(grid: Sequence[Axis]) -> list[list[str]]:
    """Returns what is written beside the rows and above the columns."""
    return [
        [
            "\n".join(f"{flag_of(n)}\n{_short(text_of(v))}" for n, v in cell.items())
            for cell in chosen
        ]
        for chosen in (cells(grid[:-1]), cells(grid[-1:]))
    ]


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


def _shown(shape: Shape) -> tuple[int, int]:
    """Returns (width, height) on the sheet of a picture of (height, width) `shape`."""
    height, width = shape
    if max(shape) > LARGEST_CELL:
        height, width = pyramid.fit(height, width, LARGEST_CELL)
    return width, height
