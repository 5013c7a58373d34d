"""Lists of transfers: JSON Lines, CSV, or every pair of two folders, to lines of a batch.

Nothing runs before the whole list is found to be sound: all faults are told at once, each
with its line.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxmrf.batch import table
from jaxmrf.batch.folder import pictures as pictures_of
from jaxmrf.batch.lines import Line, Part, Rows
from jaxmrf.core.run.plan import check_settings
from jaxmrf.errors import ConfigError
from jaxmrf.files import guides, image, paths, text_file
from jaxmrf.jobs import options
from jaxmrf.jobs.job import Job, check_iterations, with_guides
from jaxmrf.networks.weights import Loaded

REFUSED = ("trace", "preview_every", "memory", "shape", "format")
"""Options of one run that a line of a batch cannot have."""

REMEMBERED = 2**16
"""Files that are looked for once: many lines have the same ones."""

KINDS_REMEMBERED = 4096
"""Combinations of options that are checked once."""

MOST_FAULTS = 100
"""Faults of a list that are told."""

_PICTURES = ("content", "content_guide", "mask", "output")
_PICTURE_LISTS = {"style": "styles", "style_guide": "style_guides"}

_PLAIN_NAME = re.compile(rf"\w[\w.-]*({'|'.join(map(re.escape, image.WRITABLE))})", re.ASCII)
"""Most names of outputs, of which nothing else need be asked."""

MOST_FOLDERS = 65_536
"""Sub-folders of outputs."""

LONGEST_NAME = 200
"""Bytes of the name of an output: what is written beside it has a longer one."""


def read(
    path: Path,
    folder: Path,
    defaults: Mapping[str, Any],
    loaded: Loaded | None = None,
    stands_for: Path | None = None,
) -> Rows:
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
    folders: int | None = None,
) -> Rows:
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
      folders: number of sub-folders that the outputs lie in, see `in_folder`; None: in none.

    Raises:
      ConfigError: if a folder has no pictures or is that of the outputs, or an option cannot
        be used.
    """
    if folders is not None and not 1 <= folders <= MOST_FOLDERS:
        raise ConfigError(f"folders is {folders}; it must be from 1 to {MOST_FOLDERS}")
    for inputs in (contents, styles):
        if paths.identity(inputs) == paths.identity(folder):
            raise ConfigError(
                f"the outputs would be the next inputs of {inputs}; choose another --out"
            )
    (photographs, left_out), (paintings, *more) = map(pictures_of, (contents, styles))
    for told in filter(None, (left_out, *more)):
        on_left_out(told)

    def output(name: str, style_name: str) -> str:
        pair = _pair_name(name, style_name)
        return pair if folders is None else in_folder(pair, folders)

    rows = (
        {"content": str(content), "style": str(style), "output": output(name, style_name)}
        for content, name in photographs.items()
        for style, style_name in paintings.items()
    )
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
    return _Reader(base, folder, defaults, loaded, listed).line(number, row)


class _Reader:
    """Makes lines of rows, see `line`.

    What lines have in common is checked once: settings, and whether a picture is there.
    """

    def __init__(
        self,
        base: Path,
        folder: Path,
        defaults: Mapping[str, Any],
        loaded: Loaded | None,
        listed: Container[Path],
    ) -> None:
        self._base, self._folder, self._loaded, self._listed = base, folder, loaded, listed
        self._defaults = {name: value for name, value in defaults.items() if value is not None}
        self._jobs: dict[str, Job | ConfigError] = {}
        self._path = functools.lru_cache(REMEMBERED)(lambda name: base / name)
        self._is_there = functools.lru_cache(REMEMBERED)(Path.is_file)
        self._guide = functools.lru_cache(REMEMBERED)(guides.beside)

    def line(self, number: int, row: Any) -> Line:
        """Returns a line, see the function."""
        if isinstance(row, ConfigError):
            raise row
        if not isinstance(row, dict):
            raise ConfigError("not an object with the keys content, style and output")
        values = dict(self._defaults)
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
        job = with_guides(self._job(values), self._guide)
        guides.check_together(job.content_guide, job.style_guides)
        name = _inside(self._folder, values["output"])
        job = _changed(job, output=self._folder / name)
        transfer = Line(number, name, job)
        for path in transfer.files:
            if path not in self._listed and not self._is_there(path):
                raise ConfigError(f"there is no file {path}")
        return transfer

    def _job(self, values: dict[str, Any]) -> Job:
        """Returns the job of options, its settings checked: those of most lines are known."""
        own = {name: values[name] for name in (*_PICTURES, *_PICTURE_LISTS) if name in values}
        lists = {name: _listed(own[name]) for name in _PICTURE_LISTS if name in own}
        names = [own[name] for name in _PICTURES if name in own]
        for listed in lists.values():
            names += listed
        seed = values.get("seed", 0)
        named = all(isinstance(name, str) and name.strip() for name in names)
        if not named or type(seed) is not int:
            return self._checked(values)
        common = {name: value for name, value in values.items() if name not in own}
        common["seed"] = 0
        counts = [(name, len(lists.get(name, ()))) for name in own]
        job = self._known(repr((counts, sorted(common.items()))), {**common, **own})
        pictures: dict[str, Any] = {
            name: self._path(own[name]) for name in _PICTURES[:-1] if name in own
        }
        for name, listed in lists.items():
            pictures[_PICTURE_LISTS[name]] = tuple(map(self._path, listed))
        config = job.config if seed == job.config.seed else job.config.with_seed(seed)
        return _changed(job, config=config, **pictures)

    def _known(self, kind: str, values: Mapping[str, Any]) -> Job:
        """Returns the job of options that are the same for all lines of a kind, or its fault."""
        if kind not in self._jobs:
            if len(self._jobs) >= KINDS_REMEMBERED:
                self._jobs.clear()
            try:
                self._jobs[kind] = self._checked(values)
            except ConfigError as error:
                self._jobs[kind] = error
        job = self._jobs[kind]
        if isinstance(job, ConfigError):
            raise ConfigError(str(job), job.option)
        return job

    def _checked(self, values: Mapping[str, Any]) -> Job:
        """Returns the job of options, all of which are checked."""
        job = options.job(values, self._base)
        check_settings(job.config, len(job.styles))
        _check_network(job, self._loaded)
        return job


def shard(lines: Sequence[Line], index: int, count: int) -> Part:
    """Returns the lines of shard `index` (from 1) of `count`.

    A line's shard depends on its output's name alone: shards are disjoint and together
    complete, whatever else the manifest holds and on whatever machine.
    """
    return Part(lines, (n for n, line in enumerate(lines) if _hash(line.name) % count == index - 1))


def in_folder(name: str, count: int) -> str:
    """Returns an output's name in the one of `count` sub-folders that follows from it alone.

    Example:
      >>> in_folder("cat-night.png", 256)
      'c6/cat-night.png'
    """
    digits = max(2, len(f"{count - 1:x}"))
    return f"{_hash(name) % count:0{digits}x}/{name}"


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
    for number, line in enumerate(text_file.lines(content), 1):
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
) -> Rows:
    reader = _Reader(base, folder, defaults, loaded, listed)
    lines, faults = Rows(folder), []
    numbers: dict[str, int] = {}
    inputs: dict[Path, int] = {}
    for number, row in rows:
        try:
            line = reader.line(number, row)
            if line.name in numbers:
                raise ConfigError(f"output {line.name!r} is that of line {numbers[line.name]} too")
        except (ConfigError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            faults.append((f"line {number}", str(reason)))
            continue
        numbers[line.name] = number
        for path in line.files:
            inputs.setdefault(path, number)
        lines.append(line)
    if not lines and len(faults) > 1 and len({reason for _, reason in faults}) == 1:
        faults = [("every line", faults[0][1])]
    faults = [*map(": ".join, faults), *_clashes(folder, numbers, inputs)]
    if not lines and not faults:
        faults = ["it is empty"]
    if len(faults) > MOST_FAULTS:
        faults[MOST_FAULTS:] = [f"and {len(faults) - MOST_FAULTS} more"]
    if faults:
        raise ConfigError("\n".join([f"{source} cannot be used:", *faults]))
    return lines


def _clashes(folder: Path, numbers: Mapping[str, int], inputs: Mapping[Path, int]) -> Iterator[str]:
    """Yields where the output of a line is in the way of another one.

    Args:
      folder: of the outputs.
      numbers: of the lines, by the names of their outputs.
      inputs: what is read, with the first line that does.
    """
    identity = paths.identities()
    readers = {identity(path): (path, number) for path, number in inputs.items()}
    parents: dict[str, int] = {}
    for name, number in numbers.items():
        for parent in _parents(name):
            parents.setdefault(parent, number)
    folders: dict[object, int] = {}
    for parent, number in parents.items():
        folders.setdefault(identity(f"{folder}{os.sep}{parent}"), number)
    for name, number in numbers.items():
        output = identity(f"{folder}{os.sep}{name}")  # sooner than to make a Path
        if output in readers:
            path, reader = readers[output]
            reads = "" if reader == number else f", which line {reader} reads"
            yield f"line {number}: the output would overwrite {path}{reads}"
        if folders.get(output):
            yield f"line {number}: the output is the name of a folder of line {folders[output]}"


def _parents(name: str) -> Iterator[str]:
    """Yields the folders that an output is in, relative to that of all."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _changed(job: Job, **changes: Any) -> Job:
    """Returns a job with other fields, as `dataclasses.replace` does, which takes longer."""
    changed = object.__new__(Job)
    changed.__dict__.update(job.__dict__, **changes)
    return changed


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _can_be_a_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text) and len(os.fsencode(text)) <= LONGEST_NAME
    except UnicodeEncodeError:  # half a character, as JSON may say it
        return False


def _inside(folder: Path, output: str) -> str:
    """Returns an output's name relative to the folder that it must lie in."""
    if len(output) <= LONGEST_NAME and _PLAIN_NAME.fullmatch(output):
        return output
    relative = Path(output)
    if relative.is_absolute() or ".." in relative.parts or relative.parts[:1] == (".jaxmrf",):
        raise ConfigError(f"output is {output!r}; it must be a name inside the --out folder")
    if relative.suffix.lower() not in image.WRITABLE:
        raise ConfigError(f"output {output!r} must end in {', '.join(image.WRITABLE)}")
    if not relative.stem or not _can_be_a_name(relative.name):
        raise ConfigError(f"output {output!r} cannot be the name of a file")
    return relative.as_posix()
