"""Tables as spreadsheets write them, to a row of options for each line of a batch."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from jaxmrf.errors import ConfigError
from jaxmrf.files import text_file
from jaxmrf.jobs.option_table import ROWS
from jaxmrf.jobs.options import NAMES

ENDINGS = (".csv", ".tsv", ".tab", ".txt")
"""Ends of the names of tables."""

STYLE_SEPARATOR = ";"
"""What is between the styles of one cell."""

_SEPARATORS = (",", ";", "\t")
_NEEDED = ("content", "style", "output")
_NUMBERS = {row.name for row in ROWS if row.kind in (int, float, int | None, float | None)}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(e[+-]?\d+)?", re.IGNORECASE)
_SEPARATOR_NAMED = re.compile(r'"?sep=([^\n])"?[,;\t]*\n', re.IGNORECASE)


def rows(
    text: str, defaults: Mapping[str, Any], check_name: Callable[[str], Any]
) -> Iterator[tuple[int, dict[str, Any] | ConfigError]]:
    r"""Yields the number of each row's last line, from 1, and its options or its fault.

    The first row has the names of the columns; what is wrong with them is told once, and no
    row after them. Rows without anything but separators are left out. Commas, semicolons or
    tabs are between columns, whichever the names have between them. Where these are no
    commas, a number may have a decimal comma.

    Args:
      text: of the table, with ``\n`` at the ends of lines.
      defaults: options that rows may leave out.
      check_name: raises a ConfigError for an option that no row can have.
    """
    named = _SEPARATOR_NAMED.match(text)
    text = "\n" + text[named.end() :] if named else text
    separator = named[1] if named else max(_SEPARATORS, key=lambda mark: _names_with(text, mark))
    reader = _reader(text, separator, strict=True)
    try:
        names = _names(reader)
        faults = list(_faults_of(names, defaults, check_name))
        yield from ((reader.line_num, fault) for fault in faults)
        if faults:
            return
        nameless = set()
        for cells in map(_stripped, reader):
            if not _says_something(cells):
                continue
            new = {i for i, cell in enumerate(cells[: len(names)]) if cell and not names[i]}
            for index in sorted(new - nameless):
                yield reader.line_num, ConfigError(f"column {index + 1} has no name above it")
            nameless |= new
            yield reader.line_num, _options(cells, names, separator)
    except csv.Error as error:
        # The last row that was whole is not the one with the fault.
        yield reader.line_num, ConfigError(f"not CSV: {error}")


def _reader(text: str, separator: str, *, strict: bool) -> Any:
    return csv.reader(
        text_file.lines(text), delimiter=separator, skipinitialspace=True, strict=strict
    )


def _stripped(cells: Iterable[str]) -> list[str]:
    return [cell.strip() for cell in cells]


def _says_something(cells: Iterable[str]) -> bool:
    """Whether there is more than separators in a row, whichever they are."""
    return any(cell.strip("".join(_SEPARATORS)) for cell in cells)


def _names(reader: Iterable[Sequence[str]]) -> list[str]:
    """Returns the names of the first row that says something; none if there is none."""
    names = next(filter(_says_something, map(_stripped, reader)), [])
    names = [name.replace("-", "_") for name in names]
    while names and not names[-1]:
        names.pop()
    return names


def _names_with(text: str, separator: str) -> tuple[int, int]:
    """Returns how many names of options the first row has with a separator, and how many cells."""
    try:
        names = _names(_reader(text, separator, strict=False))
    except csv.Error:
        return 0, 0
    return sum(name in NAMES for name in names), len(names)


def _faults_of(
    names: Sequence[str], defaults: Mapping[str, Any], check_name: Callable[[str], Any]
) -> Iterator[ConfigError]:
    """Yields what is wrong with the names of the columns."""
    if not names:
        return
    for name in dict.fromkeys(filter(None, names)):
        if names.count(name) > 1:
            yield ConfigError(f"the column {name!r} is there {names.count(name)} times")
        try:
            check_name(name)
        except ConfigError as error:
            yield error
    for name in _NEEDED:
        if name in names or defaults.get(name) is not None:
            continue
        if name != "content":
            yield ConfigError(f"there is no column {name!r}")
        elif "size" not in names and not re.search("[x×]", str(defaults.get("size", ""))):
            yield ConfigError(
                "there is no column 'content'; for textures without a photograph give a size, "
                "such as 384x384"
            )


def _options(cells: list[str], names: list[str], separator: str) -> dict[str, Any] | ConfigError:
    """Returns the options of a row, those of its cells that are not empty."""
    if any(cells[len(names) :]):
        return ConfigError("more cells than the first line has names")
    values: dict[str, Any] = {
        name: cell for name, cell in zip(names, cells, strict=False) if name and cell
    }
    for name in ("style", "style_guide"):
        parts = [part.strip() for part in values.get(name, "").split(STYLE_SEPARATOR)]
        if len(parts) > 1:
            values[name] = [part for part in parts if part]
    if separator != ",":
        for name in _NUMBERS & values.keys():
            if _DECIMAL_COMMA.fullmatch(values[name]):
                values[name] = values[name].replace(",", ".")
    return values
