"""What a picture says of how it was made: read back, checked, since anybody may have written it."""

import dataclasses
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from jaxmrf.core.config import EFFORTS, Config, check_type
from jaxmrf.core.pyramid import level_count
from jaxmrf.errors import ConfigError, ImageError
from jaxmrf.files import image
from jaxmrf.jobs import options

LONGEST_REASON = 200
"""Characters that are told of what is wrong with a record."""

_NO_NAME = re.compile(r"^\s*$|[\x00-\x1f\x7f\ud800-\udfff]")
_FIELDS = {field.name: field.type for field in dataclasses.fields(Config)}


def read_record(path: Path) -> dict[str, Any]:
    """Returns the record of a picture as `job.record_of` made it; keys of others may be in it.

    Raises:
      ImageError: if the file cannot be read, or is no picture that jaxmrf made.
      ConfigError: if what it says cannot be used.
    """
    record = image.read_settings(path)
    if "jaxmrf" not in record:
        raise ImageError(f"{path} is no picture that jaxmrf made")
    try:
        _check(record)
    except RecursionError:
        raise ConfigError(f"{path} does not say how it was made") from None
    except ConfigError as error:
        reason = textwrap.shorten(str(error), LONGEST_REASON)
        raise ConfigError(f"{path} does not say how it was made: {reason}") from None
    return record


def to_toml(record: Mapping[str, Any]) -> str:
    """Returns the options that made a picture as TOML, to be given back to `options.read_toml`.

    Args:
      record: from `read_record`.
    """
    config, synthesis = _config_of(record), record["command"] == "synthesize"
    values = {name: value for name, value in record["config"].items() if value is not None}
    values["iterations"] = list(_iterations_of(record, config))
    without = set(options.idle_options(config, not synthesis))
    if not values["iterations"]:
        without.add("iterations")
    if not record.get("content_guide") and config.guide_weight:
        without.add("guide_weight")
    if synthesis:
        values["size"] = f"{record['width']}x{record['height']}"
        if config.init == "content":  # what a run is called that starts from noise here
            without.add("init")
    values = {name: value for name, value in values.items() if name not in without}
    files = {"content_guide": "content_guide", "style_guide": "style_guides", "mask": "mask"}
    for name, stored in {**files, "init": "initial"}.items():
        if record.get(stored):
            values[name] = record[stored]
    return tomli_w.dumps(values)


def _iterations_of(record: Mapping[str, Any], config: Config) -> tuple[int, ...]:
    """Returns the iterations to ask for: no more than levels, none if they follow from the size."""
    if config.levels is None and config.iterations == EFFORTS[config.effort].alone:
        return ()
    return config.iterations[: level_count((record["height"], record["width"]), config)]


def _config_of(record: Mapping[str, Any]) -> Config:
    """Returns the settings of a record.

    Raises:
      ConfigError: if it has none that can be used.
    """
    config = record.get("config")
    if not isinstance(config, dict) or not config:
        raise ConfigError("it has no settings")
    unknown = config.keys() - _FIELDS.keys()
    if unknown:
        raise ConfigError(f"there is no setting {min(unknown)!r} in this version of jaxmrf")
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in config.items()
    }
    for name, value in values.items():
        check_type(name, _FIELDS[name], value)
    return Config(**values)


def _check(record: Mapping[str, Any]) -> None:
    """Checks what is read of a record: names of inputs, sides, and the settings."""
    if record.get("command") not in ("transfer", "synthesize"):
        raise ConfigError("its command is none of jaxmrf")
    styles, guides = record.get("style"), record.get("style_guides") or []
    names = {name: record.get(name) for name in ("content", "content_guide", "mask", "initial")}
    if not isinstance(styles, list) or not styles or not isinstance(guides, list):
        raise ConfigError("its styles are no list of names")
    for name in (*styles, *guides, *(name for name in names.values() if name is not None)):
        if not isinstance(name, str) or _NO_NAME.search(name):
            raise ConfigError("the name of an input is no text")
    if (names["content"] is None) != (record["command"] == "synthesize"):
        raise ConfigError(f"it says {record['command']}, and that does not go with its content")
    for name in ("width", "height"):
        side = record.get(name)
        if type(side) is not int or not 0 < side <= image.MAX_OUTPUT_PIXELS:
            raise ConfigError(f"its {name} is no number of pixels")
    for name in ("network", "weights_sha256"):
        if not re.fullmatch(r"[\w.-]*", str(record.get(name, ""))):
            raise ConfigError(f"its {name} is none")
    _config_of(record)
