"""The report of a batch: one HTML page that needs no other file."""

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jaxmrf.batch.manifest import Line
from jaxmrf.errors import ImageError
from jaxmrf.files import image
from jaxmrf.files.html import embedded

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
<table>
<tr><th>line<th>output<th>content<th>style<th>painted<th>energy<th>seconds
{rows}
</table>
</html>
"""


def render(lines: Sequence[Line], records: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Returns the page: thumbnails, energies, times and failures of all lines.

    Args:
      lines: of the batch.
      records: of the ledger, by the output's name; lines without one are left to do.
    """
    failed = sum("error" in record for record in records.values())
    rows = [_row(line, records.get(line.name)) for line in lines]
    page = _PAGE.format(
        done=len(records) - failed,
        failed=failed,
        left=len(lines) - len(records),
        rows="\n".join(rows),
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


def _thumbnail(path: Path) -> str:
    """Returns a small picture as an HTML element that holds its own data."""
    try:
        return embedded(image.shown(path), path.name, THUMBNAIL)
    except ImageError:
        return html.escape(path.name)
