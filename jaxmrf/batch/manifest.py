"""Lists of transfers: JSON Lines, CSV, or every pair of two folders, to lines of a batch.

Nothing runs before the whole list is found to be sound: all faults are told at once, each
with its line.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxmrf.batch import table
from jaxmrf.core.run.plan import check_settings
from jaxmrf.errors import ConfigError
from jaxmrf.files import guides, image, paths, text_file
from jaxmrf.jobs import options
from jaxmrf.jobs.job import Job, check_guides, with_guides

REFUSED = ("trace", "preview_every", "memory", "shape", "format")
"""Options of one run that a line of a batch cannot have."""


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


def read(
    path: Path, folder: Path, defaults: Mapping[str, Any], layers: Container[str] | None = None
) -> list[Line]:
    """Returns the lines of a manifest: a table if its name ends as one, else JSON Lines.

    Args:
      path: the manifest; content, style and init are relative to its folder.
      folder: of the outputs, which are relative to it and must lie inside.
      defaults: options of every line that does not have them itself.
      layers: that the network has; None: not compared.

    Raises:
      ConfigError: if the manifest cannot be used; all faults, each with its line number.
    """
    try:
        content = text_file.read(path)
    except ConfigError as error:
        raise ConfigError(f"cannot read the manifest {path}: {error}") from None
    if _is_table(path, content):
        rows = table.rows(content, defaults, _check_name)
    else:
        rows = _json_rows(content)
    return _checked(rows, path.parent, folder, defaults, layers, source=str(path))


def pairs(
    contents: Path,
    styles: Path,
    folder: Path,
    defaults: Mapping[str, Any],
    layers: Container[str] | None = None,
) -> list[Line]:
    """Returns a line for every pair of a picture in one folder and a style in another.

    The outputs are called ``content-style.png``, with the endings of pictures that differ in
    nothing else. Label pictures (``NAME_sem.png``) are no pictures to paint.

    Raises:
      ConfigError: if a folder has no pictures or is that of the outputs, or an option cannot
        be used.
    """
    for inputs in (contents, styles):
        if paths.identity(inputs) == paths.identity(folder):
            raise ConfigError(
                f"the outputs would be the next inputs of {inputs}; choose another --out"
            )
    rows = [
        {"content": str(content), "style": str(style), "output": f"{name}-{style_name}.png"}
        for content, name in _pictures(contents).items()
        for style, style_name in _pictures(styles).items()
    ]
    source = "the pairs of the folders"
    return _checked(enumerate(rows, 1), Path(), folder, defaults, layers, source)


def line(
    number: int,
    row: Any,
    base: Path,
    folder: Path,
    defaults: Mapping[str, Any],
    layers: Container[str] | None = None,
) -> Line:
    """Returns one line of a batch.

    Args:
      number: of the line, from 1.
      row: options by long name, or the fault that was found instead.
      base: what relative inputs are relative to.
      folder: of the outputs, which must lie inside.
      defaults: options that the row may leave out.
      layers: that the network has; None: not compared.

    Raises:
      ConfigError: if an option cannot be used, or a picture is missing.
      OSError: if the name of a picture cannot be that of a file.
    """
    if isinstance(row, ConfigError):
        raise row
    if not isinstance(row, dict):
        raise ConfigError("not an object with the keys content, style and output")
    values = dict(defaults)
    for name, value in row.items():
        if value is not None:
            values[name.replace("-", "_")] = value
    for name in REFUSED:
        if values.get(name) is not None:
            raise ConfigError(f"{name} is an option of single runs only")
    if values.get("style") in ([], ""):
        values["style"] = None
    output = values.get("output")
    if output is not None and not isinstance(output, str):
        raise ConfigError(f"output is {output!r}; it must be text")
    job = with_guides(options.job(values, base))
    check_settings(job.config, len(job.styles))
    _check_layers(job, layers)
    check_guides(job)
    name = _inside(folder, values["output"])
    transfer = Line(number, name, dataclasses.replace(job, output=folder / name, preview_every=0))
    inputs = [path for paths in transfer.inputs.values() for path in paths]
    missing = [path for path in inputs if not path.is_file()]
    if missing:
        raise ConfigError(f"there is no file {missing[0]}")
    return transfer


def shard(lines: Sequence[Line], index: int, count: int) -> list[Line]:
    """Returns the lines of shard `index` (from 1) of `count`.

    A line's shard depends on its output's name alone: shards are disjoint and together
    complete, whatever else the manifest holds and on whatever machine.
    """
    return [line for line in lines if _hash(line.name) % count == index - 1]


def parse_shard(text: str) -> tuple[int, int]:
    """Reads ``I/N``, I from 1 to N.

    Raises:
      ConfigError: if it is something else.

    Example:
      >>> parse_shard("2/8")
      (2, 8)
    """
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise ConfigError(f"shard is {text!r}; give I/N with I from 1 to N, such as 1/8")
    return int(index), int(count)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8])


def _check_layers(job: Job, layers: Container[str] | None) -> None:
    used = (*job.config.layers, job.config.content_layer)
    missing = [] if layers is None else [name for name in used if name not in layers]
    if missing:
        raise ConfigError(f"the network has no layer {missing[0]!r}")


def _pictures(folder: Path) -> dict[Path, str]:
    """Returns the pictures of a folder, each with a name of its own."""
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}")
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in image.WRITABLE
        and not path.name.startswith(".")
        and not path.name.endswith(guides.ENDING)
    )
    if not paths:
        raise ConfigError(f"there are no pictures in {folder}")
    stems = collections.Counter(path.stem for path in paths)
    return {path: path.stem if stems[path.stem] == 1 else path.name for path in paths}


def _is_table(path: Path, content: str) -> bool:
    """Whether a manifest is a table; a text file may have JSON Lines, too."""
    ending = path.suffix.lower()
    return ending in table.ENDINGS and (ending == ".csv" or not content.lstrip().startswith("{"))


def _check_name(name: str) -> None:
    """Checks that lines may have an option."""
    options.check_name(name)
    if name in REFUSED:
        raise ConfigError(f"{name} is an option of single runs only")


def _json_rows(content: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, ConfigError(f"not JSON: {error}")


def _checked(
    rows: Iterable[tuple[int, Any]],
    base: Path,
    folder: Path,
    defaults: Mapping[str, Any],
    layers: Container[str] | None,
    source: str,
) -> list[Line]:
    lines, faults = [], []
    first: dict[str, int] = {}
    for number, row in rows:
        try:
            transfer = line(number, row, base, folder, defaults, layers)
            if transfer.name in first:
                raise ConfigError(
                    f"output {transfer.name!r} is that of line {first[transfer.name]} too"
                )
            first[transfer.name] = number
            lines.append(transfer)
        except (ConfigError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            faults.append(f"line {number}: {reason}")
    faults += _clashes(lines)
    if not lines and not faults:
        faults = ["it is empty"]
    if faults:
        raise ConfigError("\n".join([f"{source} cannot be used:", *faults]))
    return lines


def _clashes(lines: Sequence[Line]) -> Iterator[str]:
    """Yields where the output of a line is in the way of another one."""
    numbers = {paths.identity(line.job.output): line.number for line in lines}
    identity_of_folder = functools.cache(paths.identity)  # most lines share theirs
    for line in lines:
        for path in (path for inputs in line.inputs.values() for path in inputs):
            number = numbers.get(paths.identity(path))
            if number is not None:
                reader = "" if number == line.number else f", which line {line.number} reads"
                yield f"line {number}: the output would overwrite {path}{reader}"
        folders = map(identity_of_folder, line.job.output.parents)
        for number in map(numbers.get, folders):
            if number is not None:
                yield f"line {number}: the output is the name of a folder of line {line.number}"


def _inside(folder: Path, output: str) -> str:
    """Returns an output's name relative to the folder that it must lie in."""
    relative = Path(output)
    if relative.is_absolute() or ".." in relative.parts or relative.parts[:1] == (".jaxmrf",):
        raise ConfigError(f"output is {output!r}; it must be a name inside the --out folder")
    if relative.suffix.lower() not in image.WRITABLE:
        raise ConfigError(f"output {output!r} must end in {', '.join(image.WRITABLE)}")
    if not relative.stem or len(os.fsencode(relative.name)) > 200 or "\0" in output:
        raise ConfigError(f"output {output!r} cannot be the name of a file")
    return relative.as_posix()
