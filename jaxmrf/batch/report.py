"""The report of a batch: one HTML page that needs no other file."""

import functools
import html
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jaxmrf.batch.lines import Line
from jaxmrf.errors import ImageError
from jaxmrf.files import image
from jaxmrf.files.html import embedded

LINES = 500
"""Lines that a report shows: browsers open pages of some megabytes, not of gigabytes."""

THUMBNAIL = 160
"""Longest side of a thumbnail in pixels."""

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>jaxmrf batch</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 2em; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: 4px 10px; border-bottom: 1px solid #ccc; text-align: left; }}
td.number {{ text-align: right; }}
.failed {{ color: #a00; }}
</style>
<h1>{done} done, {failed} failed, {left} left</h1>
{note}<table>
<tr><th>line<th>output<th>content<th>style<th>painted<th>energy<th>seconds
{rows}
</table>
</html>
"""


class Counts(NamedTuple):
    """How many lines of a batch are what."""

    done: int
    failed: int
    left: int


def render(
    lines: Iterable[Line], counts: Counts, record_of: Callable[[Line], Mapping[str, Any] | None]
) -> bytes:
    """Returns the page: thumbnails, energies, times and failures of lines.

    Args:
      lines: that are shown, some of the batch or all.
      counts: of all lines of the batch.
      record_of: returns what the ledger has about a line; None: it is left to do.
    """
    rows = [_row(line, record_of(line)) for line in lines]
    total = sum(counts)
    note = f"<p>{len(rows)} of {total} lines are shown, those that failed first.</p>\n"
    page = _PAGE.format(
        **counts._asdict(), note=note if len(rows) < total else "", rows="\n".join(rows)
    )
    return page.encode(errors="replace")


def _row(line: Line, record: Mapping[str, Any] | None) -> str:
    name = html.escape(line.name)
    start = f"<tr><td class=number>{line.number}<td>{name}"
    if record is None:
        return f"{start}<td colspan=5>left to do"
    content = "" if line.job.content is None else _thumbnail(line.job.content)
    start += f"<td>{content}<td>{' '.join(map(_thumbnail, line.job.styles))}"
    if "error" in record:
        return f"{start}<td class=failed colspan=3>failed: {html.escape(record['error'])}"
    # A name may have signs that mean something in an address.
    link = f'<a href="./{quote(os.fsencode(line.name))}">{_thumbnail(line.job.output)}</a>'
    energy = "–" if record["energy"] is None else f"{record['energy']:.4g}"
    return f"{start}<td>{link}<td class=number>{energy}<td class=number>{record['seconds']:.1f}"


@functools.lru_cache(maxsize=256)
def _thumbnail(path: Path) -> str:
    """Returns a small picture as an HTML element that holds its own data."""
    try:
        return embedded(image.shown(path), path.name, THUMBNAIL)
    except ImageError:
        return html.escape(path.name)
