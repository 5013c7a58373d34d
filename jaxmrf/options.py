"""Options by their long names, from a command line, a manifest or a form, to a job."""

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import tomli_w

from jaxmrf import config as settings
from jaxmrf.config import Config, ConfigError
from jaxmrf.paint import Job

_CONFIG = {field.name: field.type for field in dataclasses.fields(Config)}
_JOB = {field.name: field.type for field in dataclasses.fields(Job)}
_PATHS = ("content", "output", "trace", "content_guide", "mask")
_PATH_LISTS = {"style": "styles", "style_guide": "style_guides"}
_NOT_BY_NAME = {"config", "shape", "initial", *_PATH_LISTS.values()}
NAMES = ("preset", *_PATH_LISTS, *(_CONFIG | _JOB).keys() - _NOT_BY_NAME)
"""Every option that a job can have."""

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

SYNTHESIS_SIZE = "384x384"
"""Width and height of a synthesis that names none."""

_WITH_COMMAS = {
    *_PATHS,
    *_PATH_LISTS,
    *(name for name, kind in _CONFIG.items() if get_origin(kind) is tuple),
}


def job(values: Mapping[str, Any], folder: Path = Path()) -> Job:
    """Returns the job that options describe; those that are None or missing are at default.

    Args:
      values: options by long name, with ``-`` or ``_``; each a value of its type, or the
        text that the command line takes. Without ``content``, ``size`` is ``WxH``.
      folder: what relative paths are relative to.

    Raises:
      ConfigError: if an option is unknown, missing or cannot be used.

    Example:
      >>> job({"content": "a.png", "style": "b.png", "output": "c.png", "seed": "7"}).config.seed
      7
    """
    values = {name.replace("-", "_"): value for name, value in values.items() if value is not None}
    for name, value in values.items():
        _check_name(name)
        if name in (*_PATHS, *_PATH_LISTS, "init", "preset"):
            for text in _listed(value) if name in _PATH_LISTS else [value]:
                if not isinstance(text, str | Path):
                    raise ConfigError(f"{name} is {text!r}; it must be text")
    for name in ("style", "output"):
        if name not in values:
            raise ConfigError(f"the option {name!r} is missing")
    shape = None
    if "content" not in values:
        shape = parse_shape(str(values.get("size", SYNTHESIS_SIZE)))
        values["size"] = max(shape)
    initial = None
    if "init" in values and values["init"] not in get_args(settings.Initialization):
        initial = values.pop("init")
    chosen = {
        name: _converted(name, _CONFIG[name], value)
        for name, value in values.items()
        if name in _CONFIG
    }
    own = {
        name: folder / value if name in _PATHS else _converted(name, _JOB[name], value)
        for name, value in values.items()
        if name in _JOB
    }
    for name, field in _PATH_LISTS.items():
        if name in values:
            own[field] = tuple(folder / value for value in _listed(values[name]))
    return Job(
        config=dataclasses.replace(settings.preset(values.get("preset", "default")), **chosen),
        shape=shape,
        initial=None if initial is None else folder / initial,
        **own,
    )


def read_toml(path: Path) -> dict[str, Any]:
    """Returns the options of a TOML file by name.

    Raises:
      ConfigError: if it cannot be read or an option is unknown.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    values = {name.replace("-", "_"): value for name, value in values.items()}
    for name in values:
        _check_name(name)
    return values


def to_toml(written: Mapping[str, Any]) -> str:
    """Returns the options that made a picture as TOML, to be given back to `read_toml`.

    Args:
      written: what is stored in the picture, see `paint.paint`.
    """
    config = {name: value for name, value in written["config"].items() if value is not None}
    if written["command"] == "synthesize":
        config["size"] = f"{written['width']}x{written['height']}"
    return tomli_w.dumps(config)


def from_arguments(
    arguments: Iterable[str], others: Iterable[str] = ()
) -> tuple[list[str], dict[str, Any]]:
    """Reads a command line: ``--name value``, ``--name=value``, ``--switch``, ``--no-switch``.

    Args:
      arguments: words of the command line.
      others: options that the command reads itself; an unknown one may be meant for them.

    Returns:
      Words that belong to no option; texts by option, a list of them where the option can
      be given several times.

    Raises:
      ConfigError: if an option is unknown, has no value, or names a picture that is given
        without one.

    Example:
      >>> from_arguments(["a.png", "--tv-weight=0.1", "--tileable", "b.png"])
      (['a.png', 'b.png'], {'tv_weight': '0.1', 'tileable': 'true'})
    """
    words, found, rest = [], {}, list(arguments)
    while rest:
        flag, separator, value = rest.pop(0).partition("=")
        if not flag.startswith("-"):
            words.append(flag + separator + value)
            continue
        if not re.fullmatch(r"--[a-z][a-z_-]*", flag):
            raise ConfigError(f"{flag!r} is not an option of this command or of transfer")
        name = flag[2:].replace("-", "_")
        if not separator and _CONFIG.get(name.removeprefix("no_")) is bool:
            value = "false" if name.startswith("no_") else "true"
            name = name.removeprefix("no_")
            if value == "true" and rest and _is_truth(rest[0]):
                value = rest.pop(0)
        _check_name(name, others)
        if name in ("content", "style", "output"):
            raise ConfigError(f"pictures are named without {flag}")
        if not (separator or value):
            if not rest:
                raise ConfigError(f"the option {flag} needs a value")
            value = rest.pop(0)
        found[name] = [*found.get(name, ()), value] if name in _PATH_LISTS else value
    return words, found


def to_arguments(values: Mapping[str, Any]) -> list[str]:
    """Returns texts by option as words of a command line, for `from_arguments`.

    Example:
      >>> to_arguments({"tv_weight": "0.1", "tileable": "no"})
      ['--tv-weight', '0.1', '--no-tileable']
    """
    words = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if _CONFIG.get(name) is bool:
            words.append(f"--{flag}" if _converted(name, bool, value) else f"--no-{flag}")
            continue
        for text in _listed(value):
            words += [f"--{flag}", text]
    return words


def alternatives(name: str, text: str) -> list[str]:
    """Returns the values of an option that a sweep goes through, one at least.

    Semicolons are between them. Where there are none commas are, unless values of the
    option may have commas themselves: lists, and names of files.

    Raises:
      ConfigError: if a value is missing, or there twice.

    Example:
      >>> alternatives("seed", "1,2"), alternatives("iterations", "60,40;30")
      (['1', '2'], ['60,40', '30'])
    """
    separator = ";" if ";" in text or name in _WITH_COMMAS else ","
    values = [part.strip() for part in text.split(separator)]
    for value in values:
        if not value:
            raise ConfigError(f"{name} is {text!r}; a value is missing in it")
        if values.count(value) > 1:
            raise ConfigError(f"{name} has the value {value!r} twice")
    return values


def _is_truth(text: str) -> bool:
    return set(re.split("[,;]", text.lower())) <= _TRUTH.keys()


def _check_name(name: str, others: Iterable[str] = ()) -> None:
    if name not in NAMES:
        near = difflib.get_close_matches(name, (*NAMES, *others), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"there is no option {name!r}{hint}")


def _converted(name: str, kind: Any, value: Any) -> Any:
    """Returns a text as a value of a field's type; other values but lists as they are."""
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        items = re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else _listed(value)
        return tuple(_converted(name, item, part) for part in items if part != "")
    if kind is bool and isinstance(value, str):
        if value.lower() not in _TRUTH:
            raise ConfigError(f"{name} is {value!r}; it takes true or false")
        return _TRUTH[value.lower()]
    number = {int: int, float: float, int | None: int, float | None: float}.get(kind)
    if number is None or not isinstance(value, str):
        return value
    try:
        return number(value)
    except ValueError:
        expected = "whole numbers" if number is int else "numbers"
        raise ConfigError(f"{name} is {value!r}; it takes {expected}") from None


def _listed(value: Any) -> list | tuple:
    return value if isinstance(value, list | tuple) else [value]


def parse_shape(text: str) -> tuple[int, int]:
    """Reads ``WxH`` as (height, width).

    Raises:
      ConfigError: if it is something else.
    """
    found = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", text.strip())
    if not found or not int(found[1]) or not int(found[2]):
        raise ConfigError(f"size is {text!r}; give width and height, such as 640x480")
    return int(found[2]), int(found[1])
