"""Paints pairs of pictures with named settings: a table, a JSON file, and one labeled sheet."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.picture_measures import measure
from jaxmrf.files import image

Pair = tuple[Path, Path]

CELL = 384
"""Height in pixels of a picture on the sheet."""

LABEL = 24
"""Height in pixels of the line above a picture."""

DEFAULT_PAIRS = Path(__file__).with_name("pairs.txt")


def read_pairs(path: Path) -> list[Pair]:
    """Returns the photographs and paintings of a list.

    Args:
      path: text file with a photograph and a painting on each line, relative to its folder,
        in quotes where there are spaces; or a folder whose `pairs.txt` is one.
    """
    path = path / "pairs.txt" if path.is_dir() else path
    lines = (shlex.split(line, comments=True) for line in path.read_text("utf-8").splitlines())
    return [tuple((path.parent / name).resolve() for name in line) for line in lines if line]


def read_settings(texts: Sequence[str]) -> dict[str, list[str]]:
    """Returns the options of `jaxmrf transfer` by name, from texts ``NAME=options``.

    Example:
      >>> read_settings(["quick=--preset quick --size 256"])
      {'quick': ['--preset', 'quick', '--size', '256']}
    """
    pairs = (text.partition("=") for text in texts)
    return {name: shlex.split(options) for name, _, options in pairs}


def paint_all(
    pairs: Sequence[Pair], settings: Mapping[str, Sequence[str]], folder: Path, *, starts: int
) -> list[dict]:
    """Paints every pair with every setting; returns a record of each, with its measures.

    Args:
      pairs: from `read_pairs`.
      settings: from `read_settings`.
      folder: for the pictures, the table, ``picture.json`` and ``sheet.png``.
      starts: 2 to paint everything again, with the programs that the first run compiled.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for index, (content, style) in enumerate(pairs, start=1):
        for name, options in settings.items():
            output = folder / f"{index}-{name}.png"
            record = {"photograph": content.name, "painting": style.name, "setting": name}
            record |= _paint(content, style, options, output, starts)
            loaded = (image.load(path).pixels for path in (content, style, output))
            record |= measure(*map(np.asarray, loaded))
            records.append({**record, "picture": output.name})
            print(_row(record), flush=True)
        (folder / "picture.json").write_text(json.dumps(records, indent=2) + "\n")
    _sheet(pairs, list(settings), folder).save(folder / "sheet.png")
    return records


def _paint(
    content: Path, style: Path, options: Sequence[str], output: Path, starts: int
) -> dict[str, float | None]:
    """Returns the seconds of the whole process, with an empty program cache and a full one."""
    found: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory() as cache:
        trace = Path(cache) / "trace.jsonl"
        for name in ("first start, s", "second start, s")[:starts]:
            started = time.perf_counter()
            subprocess.run(
                [
                    *(sys.executable, "-m", "jaxmrf", "transfer", str(content), str(style)),
                    *("-o", str(output), "--trace", str(trace), *options),
                ],
                env={**os.environ, "XDG_CACHE_HOME": cache},
                stderr=subprocess.PIPE,
                check=True,
            )
            found[name] = time.perf_counter() - started
        lines = trace.read_text().splitlines() if trace.exists() else []
        found["energy"] = json.loads(lines[-1])["energy"] if lines else None
    return found


def _row(record: Mapping[str, object]) -> str:
    """Returns a line of the table."""
    names = " → ".join(Path(str(record[key])).stem[:24] for key in ("photograph", "painting"))
    values = (f"{name} {value:.3g}" for name, value in record.items() if isinstance(value, float))
    return f"{names:52} {record['setting']:12} {', '.join(values)}"


def _sheet(pairs: Sequence[Pair], names: Sequence[str], folder: Path) -> Image.Image:
    """Returns content, painting and results side by side, a row for each pair."""
    rows = []
    for index, (content, style) in enumerate(pairs, start=1):
        results = [(name, folder / f"{index}-{name}.png") for name in names]
        columns = [(content.stem, content), (style.stem, style), *results]
        rows.append([_cell(name, path) for name, path in columns])
    widths = [max(row[column].width for row in rows) for column in range(len(rows[0]))]
    sheet = Image.new("RGB", (sum(widths), len(rows) * (CELL + LABEL)), "white")
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            sheet.paste(cell, (sum(widths[:column]), number * (CELL + LABEL)))
    return sheet


def _cell(name: str, path: Path) -> Image.Image:
    """Returns a picture with its name above."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    width = max(1, round(picture.width * CELL / picture.height))
    cell = Image.new("RGB", (width + 6, CELL + LABEL), "white")
    cell.paste(picture.resize((width, CELL), Image.Resampling.LANCZOS), (0, LABEL))
    ImageDraw.Draw(cell).text((2, 4), name, "black", ImageFont.load_default(14))
    return cell
