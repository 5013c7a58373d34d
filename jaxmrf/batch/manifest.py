"""Lists of transfers: JSON Lines, CSV, or every pair of two folders, to lines of a batch.

Nothing runs before the whole list is found to be sound: all faults are told at once, each
with its line.
"""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxmrf.batch import table
from jaxmrf.batch.folder import pictures as pictures_of
from jaxmrf.core.run.plan import check_settings
from jaxmrf.errors import ConfigError
from jaxmrf.files import guides, image, paths, text_file
from jaxmrf.jobs import options
from jaxmrf.jobs.job import Job, check_iterations, with_guides
from jaxmrf.networks.weights import Loaded

REFUSED = ("trace", "preview_every", "memory", "shape", "format")
"""Options of one run that a line of a batch cannot have."""

LONGEST_NAME = 200
"""Bytes of the name of an output: what is written beside it has a longer one."""


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
    path: Path,
    folder: Path,
    defaults: Mapping[str, Any],
    loaded: Loaded | None = None,
    stands_for: Path | None = None,
) -> list[Line]:
    """Returns the lines of a manifest: a table if its name ends as one, else JSON Lines.

    One whose name has no ending is a table if it does not begin as JSON does.

    Args:
      path: the manifest; content, style and init are relative to its folder.
      folder: of the outputs, which are relative to it and must lie inside.
      defaults: options of every line that does not have them itself.
      loaded: the network, from `weights.load`; None: what it can do is not looked at.
      stands_for: the pipe that the file is a copy of; inputs are relative to the working
        folder then.

    Raises:
      ConfigError: if the manifest cannot be used; all faults, each with its line number.
    """
    try:
        content = text_file.read(path)
    except (OSError, ConfigError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read the manifest {path}: {reason}") from None
    if _is_table(path, content):
        rows = table.rows(content, defaults, _check_name)
    else:
        rows = _json_rows(content)
    base = path.parent if stands_for is None else Path()
    return _checked(rows, base, folder, defaults, loaded, source=str(stands_for or path))


def pairs(
    contents: Path,
    styles: Path,
    folder: Path,
    defaults: Mapping[str, Any],
    loaded: Loaded | None = None,
    on_left_out: Callable[[str], Any] = lambda text: None,
) -> list[Line]:
    """Returns a line for every pair of a picture in one folder and a style in another.

    The outputs are called ``content-style.png``, with the endings of pictures that differ in
    nothing else. A picture that cannot be read fails its own lines when they are painted.

    Args:
      contents: folder of the photographs; see `folder.pictures` for what is taken of it.
      styles: folder of the paintings.
      folder: of the outputs.
      defaults: options of all lines.
      loaded: the network, from `weights.load`; None: what it can do is not looked at.
      on_left_out: called with a line about what is in a folder beside pictures.

    Raises:
      ConfigError: if a folder has no pictures or is that of the outputs, or an option cannot
        be used.
    """
    for inputs in (contents, styles):
        if paths.identity(inputs) == paths.identity(folder):
            raise ConfigError(
                f"the outputs would be the next inputs of {inputs}; choose another --out"
            )
    (photographs, left_out), (paintings, *more) = map(pictures_of, (contents, styles))
    for told in filter(None, (left_out, *more)):
        on_left_out(told)
    rows = [
        {"content": str(content), "style": str(style), "output": _pair_name(name, style_name)}
        for content, name in photographs.items()
        for style, style_name in paintings.items()
    ]
    return _checked(
        enumerate(rows, 1),
        Path(),
        folder,
        defaults,
        loaded,
        source="the pairs of the folders",
        listed={*photographs, *paintings},
    )


def line(
    number: int,
    row: Any,
    base: Path,
    folder: Path,
    defaults: Mapping[str, Any],
    loaded: Loaded | None = None,
    listed: Container[Path] = (),
) -> Line:
    """Returns one line of a batch.

    Args:
      number: of the line, from 1.
      row: options by long name, or the fault that was found instead.
      base: what relative inputs are relative to.
      folder: of the outputs, which must lie inside.
      defaults: options that the row may leave out.
      loaded: the network, from `weights.load`; None: what it can do is not looked at.
      listed: pictures that are not looked for: they were in a folder.

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
    _check_network(job, loaded)
    guides.check_together(job.content_guide, job.style_guides)
    name = _inside(folder, values["output"])
    transfer = Line(number, name, dataclasses.replace(job, output=folder / name, preview_every=0))
    inputs = [path for paths in transfer.inputs.values() for path in paths]
    missing = [path for path in inputs if path not in listed and not path.is_file()]
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


def _pair_name(content: str, style: str) -> str:
    """Returns the name of a pair's output; too long a one is cut, with a digest of the whole."""
    name = f"{content}-{style}"
    if len(os.fsencode(name)) > LONGEST_NAME - len(".png"):
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
        name = f"{os.fsencode(name)[: LONGEST_NAME - 20].decode(errors='ignore')}-{digest}"
    return f"{name}.png"


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8])


def _check_network(job: Job, loaded: Loaded | None) -> None:
    """Checks that a network has the layers of a job, and iterations and levels go together."""
    if loaded is None:
        return
    for name in (*job.config.layers, job.config.content_layer):
        if name not in loaded.features.layers:
            raise ConfigError(f"the network has no layer {name!r}")
    check_iterations(job, loaded)


def _is_table(path: Path, content: str) -> bool:
    """Whether a manifest is a table; a text file may have JSON Lines, too."""
    ending = path.suffix.lower()
    if ending == ".csv":
        return True
    return ending in ("", *table.ENDINGS) and not content.lstrip().startswith("{")


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
    loaded: Loaded | None,
    source: str,
    listed: Container[Path] = (),
) -> list[Line]:
    lines, faults = [], []
    first: dict[str, int] = {}
    for number, row in rows:
        try:
            transfer = line(number, row, base, folder, defaults, loaded, listed)
            if transfer.name in first:
                raise ConfigError(
                    f"output {transfer.name!r} is that of line {first[transfer.name]} too"
                )
            first[transfer.name] = number
            lines.append(transfer)
        except (ConfigError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            faults.append((f"line {number}", str(reason)))
    if not lines and len(faults) > 1 and len({reason for _, reason in faults}) == 1:
        faults = [("every line", faults[0][1])]
    faults = [*map(": ".join, faults), *_clashes(lines)]
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


def _can_be_a_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text) and len(os.fsencode(text)) <= LONGEST_NAME
    except UnicodeEncodeError:  # half a character, as JSON may say it
        return False


def _inside(folder: Path, output: str) -> str:
    """Returns an output's name relative to the folder that it must lie in."""
    relative = Path(output)
    if relative.is_absolute() or ".." in relative.parts or relative.parts[:1] == (".jaxmrf",):
        raise ConfigError(f"output is {output!r}; it must be a name inside the --out folder")
    if relative.suffix.lower() not in image.WRITABLE:
        raise ConfigError(f"output {output!r} must end in {', '.join(image.WRITABLE)}")
    if not relative.stem or not _can_be_a_name(relative.name):
        raise ConfigError(f"output {output!r} cannot be the name of a file")
    return relative.as_posix()
