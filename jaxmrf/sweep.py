"""Grids of settings: options with several values to lines of a batch, outputs to a sheet."""

import itertools
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from jaxmrf import image, manifest, options
from jaxmrf.config import ConfigError
from jaxmrf.manifest import Line

MOST_CELLS = 100

LARGEST_CELL = 512
"""Longest side of a picture on the sheet; larger ones are shown smaller."""

FONT_SHARE = 0.065
"""Height of the letters, of the longest side of a cell."""

PAPER, INK, FAULT = "white", "#222222", "#aa0000"


class Axis(NamedTuple):
    """An option with several values.

    Attributes:
      name: long name of the option.
      values: texts of its values.
    """

    name: str
    values: tuple[str, ...]


def axes(given: Mapping[str, str]) -> tuple[dict[str, str], list[Axis]]:
    """Divides options by name into those with one value and those with several.

    Values stand between commas, or between semicolons for options that take lists.

    Raises:
      ConfigError: if an option is unknown, no option has several values, or the grid is
        too large.

    Example:
      >>> axes({"seed": "1,2", "size": "256", "iterations": "60,30;20"})[1]
      [Axis(name='seed', values=('1', '2')), Axis(name='iterations', values=('60,30', '20'))]
    """
    fixed, found = {}, []
    for name, text in given.items():
        options.check_name(name)
        separator = ";" if ";" in text or options.takes_list(name) else ","
        values = tuple(
            dict.fromkeys(part.strip() for part in text.split(separator) if part.strip())
        )
        if len(values) > 1:
            found.append(Axis(name, values))
        else:
            fixed[name] = text
    if not found:
        raise ConfigError(
            "no option has several values; give one, such as --content-weight 0.1,0.3"
        )
    count = math.prod(len(axis.values) for axis in found)
    if count > MOST_CELLS:
        raise ConfigError(f"the grid has {count} cells; it may have {MOST_CELLS}")
    return fixed, found


def lines(
    content: Path,
    styles: Sequence[Path],
    grid: Sequence[Axis],
    fixed: Mapping[str, Any],
    folder: Path,
) -> list[Line]:
    """Returns a line of a batch for every cell, the last axis changing fastest.

    Raises:
      ConfigError: if an option cannot be used; all faults.
    """
    pictures = {"content": str(content), "style": [str(style) for style in styles]}
    rows = [
        {**pictures, **cell, "output": f"{number:03}.png"}
        for number, cell in enumerate(cells(grid), 1)
    ]
    return manifest.checked(enumerate(rows, 1), Path(), folder, fixed, source="the grid")


def cells(grid: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """Yields the options of every cell, the last axis changing fastest."""
    for values in itertools.product(*(axis.values for axis in grid)):
        yield {axis.name: value for axis, value in zip(grid, values, strict=True)}


class Layout(NamedTuple):
    """Where things are on a sheet, in pixels.

    Attributes:
      columns: number of columns: the values of the last axis.
      cell: (width, height) of a picture.
      left: width of the names of the rows.
      top: height of the names of the columns.
      gap: between pictures.
    """

    columns: int
    cell: tuple[int, int]
    left: int
    top: int
    gap: int

    def corner(self, number: int) -> tuple[int, int]:
        """Returns the (x, y) of the upper left corner of a cell."""
        row, column = divmod(number, self.columns)
        step = [side + self.gap for side in self.cell]
        return self.left + column * step[0], self.top + row * step[1]


def sheet(grid: Sequence[Axis], outputs: Sequence[Path | str]) -> tuple[Image.Image, Layout]:
    """Returns the labeled sheet, and where its cells are.

    Args:
      grid: what differs: the last axis between columns, the others between rows.
      outputs: the picture of every cell, or what went wrong.
    """
    pictures = [_small(output) if isinstance(output, Path) else None for output in outputs]
    sizes = [picture.size for picture in pictures if picture is not None] or [(256, 256)]
    cell = tuple(max(sides) for sides in zip(*sizes, strict=True))
    font = ImageFont.load_default(max(11, round(FONT_SHARE * max(cell))))
    *outer, inner = grid
    column_names = [f"{_shown(inner.name)} {value}" for value in inner.values]
    row_names = ["\n".join(f"{_shown(n)} {v}" for n, v in row.items()) for row in cells(outer)]
    line = font.getbbox("Ag|")[3]
    gap = line // 2
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = max(round(pen.multiline_textbbox((0, 0), name, font)[2]) for name in row_names)
    layout = Layout(len(column_names), cell, left + gap if left else gap, line + 2 * gap, gap)
    rows = len(row_names)
    size = (layout.corner(layout.columns - 1)[0], layout.corner((rows - 1) * layout.columns)[1])
    paper = Image.new(
        "RGB", tuple(at + side + gap for at, side in zip(size, cell, strict=True)), PAPER
    )
    pen = ImageDraw.Draw(paper)
    for column, name in enumerate(column_names):
        pen.text((layout.corner(column)[0], gap), _cut(name, cell[0], font), INK, font)
    for row, name in enumerate(row_names):
        pen.multiline_text((gap // 2, layout.corner(row * layout.columns)[1]), name, INK, font)
    for number, (picture, output) in enumerate(zip(pictures, outputs, strict=True)):
        if picture is not None:
            paper.paste(picture, layout.corner(number))
        else:
            text = textwrap.fill(str(output), max(8, cell[0] * 2 // line))
            pen.multiline_text(layout.corner(number), text, FAULT, font)
    return paper, layout


def _small(path: Path) -> Image.Image:
    with Image.open(path, formats=image.READABLE) as file:
        picture = file.convert("RGB")
    picture.thumbnail((LARGEST_CELL, LARGEST_CELL))
    return picture


def _shown(name: str) -> str:
    return name.replace("_", "-")


def _cut(text: str, width: int, font: Any) -> str:
    """Returns a text that is no wider than `width` pixels."""
    while font.getlength(text) > width and len(text) > 1:
        text = text[:-2].rstrip("…") + "…"
    return text
