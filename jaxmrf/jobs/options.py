"""Options by their long names, from a command line, a manifest or a form, to a job."""

import dataclasses
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from jaxmrf.core import presets
from jaxmrf.core.config import Config, Initialization
from jaxmrf.errors import ConfigError, nearest
from jaxmrf.files import image, text_file
from jaxmrf.jobs.job import Job, with_guides
from jaxmrf.jobs.option_table import BY_NAME, acting_on

_CONFIG = {field.name: field.type for field in dataclasses.fields(Config)}
_JOB = {field.name: field.type for field in dataclasses.fields(Job)}
_PATHS = ("content", "output", "trace", "content_guide", "mask")
_PATH_LISTS = {"style": "styles", "style_guide": "style_guides"}
_NOT_BY_NAME = {"config", "shape", "initial", *_PATH_LISTS.values()}
NAMES = ("preset", "alpha", *_PATH_LISTS, *(_CONFIG | _JOB).keys() - _NOT_BY_NAME)
"""Every option that a job can have."""

_DEFAULTS = dataclasses.asdict(Config())
_INPUTS = ("content", "style", "content_guide", "style_guide", "mask", "init")

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

NO_CONTENT = "a synthesis has no content picture"

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
        check_name(name)
        if name in ("format", *_PATHS, *_PATH_LISTS, "init", "preset"):
            for text in _listed(value) if name in _PATH_LISTS else [value]:
                if not isinstance(text, str | Path):
                    raise ConfigError(f"{name} is {text!r}; it must be text", name)
                if not str(text).strip():
                    raise ConfigError(f"{name} is empty; leave it out, or give it a value", name)
    for name in ("style", "output"):
        if name not in values:
            raise ConfigError(f"the option {name!r} is missing", name)
    shape = None
    if "content" not in values:
        shape = parse_shape(str(values.get("size", SYNTHESIS_SIZE)))
        values["size"] = max(shape)
    elif re.search("[x×]", str(values.get("size", ""))):
        raise ConfigError(
            f"size is {values['size']!r}, that of a synthesis; a transfer takes the longest side, "
            "such as 512",
            "size",
        )
    initial = None
    if "init" in values and values["init"] not in get_args(Initialization):
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
    _check_numbers(own)
    if own.get("format") not in (None, *BY_NAME["format"].choices):
        choices = ", ".join(BY_NAME["format"].choices)
        raise ConfigError(f"format is {own['format']!r}; it must be one of {choices}", "format")
    config = dataclasses.replace(_preset(values, chosen), **chosen)
    if not any(config.style_losses().values()):
        raise ConfigError(
            f"style_loss is {','.join(config.style_loss)!r}; one weight must be above 0",
            "style_loss",
        )
    if not config.gram_layers:
        raise ConfigError("gram_layers needs at least one layer", "gram_layers")
    # What has no effect is always the same: pictures that are equal have equal settings.
    plain = {name: _DEFAULTS[name] for name in idle_options(config, shape is None) & _CONFIG.keys()}
    return Job(
        config=dataclasses.replace(config, **plain),
        shape=shape,
        initial=None if initial is None else folder / initial,
        **own,
    )


def _preset(values: Mapping[str, Any], chosen: Mapping[str, Any]) -> Config:
    """Returns the settings that those of `chosen` are put on."""
    config = presets.preset(values.get("preset", "default"))
    if "alpha" not in values:
        return config
    return presets.between(config, _converted("alpha", float, values["alpha"]), chosen)


def without_effect(values: Mapping[str, Any], job: Job) -> dict[str, str]:
    """Returns the options that were given and have no effect, each with the reason.

    Args:
      values: options by long name, as for `job`; those that are None or an empty
        list do not count.
      job: what `job` made of them.
    """
    chosen = {
        name.replace("-", "_"): value
        for name, value in values.items()
        if value not in (None, [], ())
    }
    idle = idle_options(job.config, job.content is not None)
    reasons = {name: idle[name] for name in chosen if name in idle}
    if job.content is None and chosen.get("init") == "content":
        reasons["init content"] = NO_CONTENT
    guided = with_guides(job)
    weighs = "guide_weight" in chosen and job.config.guide_weight
    if weighs and not (guided.content_guide or guided.style_guides):
        reasons.setdefault("guide_weight", "there are no guides")
    return reasons


def check_effect(values: Mapping[str, Any], job: Job) -> None:
    """Checks that every option that was given has an effect, see `without_effect`.

    Raises:
      ConfigError: if one has none.
    """
    for name, reason in without_effect(values, job).items():
        raise ConfigError(f"{name} has no effect: {reason}; leave it out", name)


def read_toml(path: Path, folder: Path | None = None) -> dict[str, Any]:
    """Returns the options of a TOML file by name.

    Args:
      path: the file.
      folder: what its inputs are relative to; None: its own.

    Raises:
      ConfigError: if it cannot be read or an option is unknown.
    """
    try:
        values = tomllib.loads(text_file.read(path))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        picture = path.suffix.lower() in image.WRITABLE
        reason = f"jaxmrf show-config {path} prints the options of a picture" if picture else error
        raise ConfigError(f"{path} is not TOML: {reason}") from None
    folder = path.parent if folder is None else folder
    values = {name.replace("-", "_"): value for name, value in values.items()}
    for name, value in values.items():
        check_name(name)
        if name in _INPUTS and not (name == "init" and value in get_args(Initialization)):
            paths = [_beside(folder, file_name) for file_name in _listed(value)]
            values[name] = paths if isinstance(value, list) else paths[0]
    return values


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
    words, texts, rest = [], {}, list(arguments)
    while rest:
        flag, separator, value = rest.pop(0).partition("=")
        if flag == "-" or not flag.startswith("-"):
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
        check_name(name, others)
        if name in ("content", "style", "output"):
            raise ConfigError(f"pictures are named without {flag}")
        if not (separator or value):
            if not rest:
                raise ConfigError(f"the option {flag} needs a value")
            value = rest.pop(0)
        texts[name] = [*texts.get(name, ()), value] if name in _PATH_LISTS else value
    return words, texts


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
            raise ConfigError(f"{name} is {text!r}; a value is missing in it", name)
        if values.count(value) > 1:
            raise ConfigError(f"{name} has the value {value!r} twice", name)
    return values


def _is_truth(text: str) -> bool:
    return set(re.split("[,;]", text.lower())) <= _TRUTH.keys()


def idle_options(config: Config, has_content: bool) -> dict[str, str]:
    """Returns the options that have no effect, whatever they are, each with the reason."""
    idle = {}
    if not config.style_losses().get("gram"):
        idle["gram_layers"] = "the style loss gram is not used"
    if config.color in ("keep", "none"):
        idle["final_color"] = "the colors are not the painting's"
    if config.tileable:
        idle["decoder_rounds"] = "the decoder knows nothing of tileable pictures"
    if not config.matches_patches():
        idle |= dict.fromkeys(acting_on("patches"), "the style loss mrf is not used")
    if not has_content:
        idle |= dict.fromkeys(acting_on("content"), NO_CONTENT)
    return idle


def _beside(folder: Path, value: Any) -> Any:
    """Returns a name relative to a folder; what is no name is refused later."""
    return str(folder / value) if isinstance(value, str) and value.strip() else value


def _check_numbers(own: Mapping[str, Any]) -> None:
    interval, memory = own.get("preview_every", 0), own.get("memory", 1.0)
    if not isinstance(interval, int) or isinstance(interval, bool) or interval < 0:
        raise ConfigError(
            f"preview_every is {interval!r}; it must be a whole number, 0 for none", "preview_every"
        )
    is_number = isinstance(memory, int | float) and not isinstance(memory, bool)
    if not (is_number and 0 < memory < math.inf):
        raise ConfigError(
            f"memory is {memory!r}; it must be a number of gigabytes above 0", "memory"
        )


def check_name(name: str, others: Iterable[str] = ()) -> None:
    """Checks that a job can have an option.

    Args:
      name: of the option, with ``_``.
      others: names that may be meant, beside those of a job's options.

    Raises:
      ConfigError: if it has none of this name.
    """
    if name in BY_NAME and BY_NAME[name].source == "command":
        raise ConfigError(f"{name} can only be given on the command line: --{name}", name)
    if name not in NAMES:
        raise ConfigError(f"there is no option {name!r}{nearest(name, (*NAMES, *others))}")


def _converted(name: str, kind: Any, value: Any) -> Any:
    """Returns a text as a value of a field's type; other values but lists as they are."""
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        items = re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else _listed(value)
        return tuple(_converted(name, item, part) for part in items if part != "")
    if kind is bool and isinstance(value, str):
        if value.lower() not in _TRUTH:
            raise ConfigError(f"{name} is {value!r}; it takes true or false", name)
        return _TRUTH[value.lower()]
    number = {int: int, float: float, int | None: int, float | None: float}.get(kind)
    if number is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if number is None or not isinstance(value, str):
        return value
    try:
        # Spreadsheets and tables of data write whole numbers as 256.0, too.
        return number(re.sub(r"\.0*$", "", value.strip()) if number is int else value)
    except ValueError:
        expected = "whole numbers" if number is int else "numbers"
        hint = ", with a point before decimals" if "," in value else ""
        raise ConfigError(f"{name} is {value!r}; it takes {expected}{hint}", name) from None


def _listed(value: Any) -> list | tuple:
    return value if isinstance(value, list | tuple) else [value]


def parse_shape(text: str) -> tuple[int, int]:
    """Reads ``WxH`` as (height, width).

    Raises:
      ConfigError: if it is something else.
    """
    sides = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", text.strip())
    if not sides or not int(sides[1]) or not int(sides[2]):
        raise ConfigError(f"size is {text!r}; give width and height, such as 640x480", "size")
    return int(sides[2]), int(sides[1])
