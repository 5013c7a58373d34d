"""The controls of the page, made from the options of a command, and back to a command line."""

import dataclasses
import itertools
import re
import shlex
from collections.abc import Mapping, Sequence

from jaxmrf.core.presets import PRESETS
from jaxmrf.errors import ConfigError
from jaxmrf.jobs.option_table import BY_NAME, ROWS, Row, as_text, in_order

MAIN = ("size", "content_weight", "style_weight", "color", "preset", "iterations", "seed")
"""The controls that are seen at once; the others are under "more"."""

HELP = {"init": "What the run begins with."}
"""Help where that of the command line is about what the page does not have."""

OUTPUT = "out.png"
"""What the command line calls the result."""

MAX_TEXT = 200
"""Characters of a value."""


@dataclasses.dataclass(frozen=True)
class Control:
    """One control of the page.

    Attributes:
      name: long name of the option, with ``_``.
      help: help text of the option, without the default.
      kind: ``whole``, ``number``, ``text`` or ``choice``.
      choices: values of a choice.
      default: what the command takes without the option, as text; "" if that is automatic.
      main: whether it is seen at once.
      label: what the page calls it.
      group: heading that it is under; "" for the main ones.
    """

    name: str
    help: str
    kind: str
    choices: tuple[str, ...]
    default: str
    main: bool
    label: str
    group: str


def controls() -> tuple[Control, ...]:
    """Returns the controls of the options that have a label, the main ones first.

    Options of paths have none: no path of a client is ever used. The server chooses the
    device, and there are one style and no guides.
    """
    return tuple(
        Control(
            name=row.name,
            help=HELP.get(row.name, row.option.help),
            kind=_kind(row),
            choices=row.choices,
            default=as_text(row.default),
            main=row.name in MAIN,
            label=row.option.label,
            group="" if row.name in MAIN else row.option.group,
        )
        for row in in_order((row for row in ROWS if row.option.label), MAIN)
    )


def _kind(row: Row) -> str:
    if row.choices:
        return "choice"
    return {int: "whole", int | None: "whole", float: "number"}.get(row.kind, "text")


def presets(controls: Sequence[Control]) -> dict[str, dict[str, str]]:
    """Returns for each preset the values of the controls that it sets."""
    names = [control.name for control in controls if BY_NAME[control.name].source == "config"]
    return {
        preset: {name: as_text(getattr(config, name)) for name in names}
        for preset, config in PRESETS.items()
    }


def accept(controls: Sequence[Control], values: Mapping[str, object]) -> dict[str, str]:
    """Returns the values that a client sent, without those left empty.

    Raises:
      ConfigError: if one has no control, is no short text, or is not among the choices.
    """
    known = {control.name: control for control in controls}
    accepted = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"there is no control {str(name)[:MAX_TEXT]!r}")
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise ConfigError(f"{name} must be a text of at most {MAX_TEXT} characters", name)
        choices = known[name].choices
        if value and choices and value not in choices:
            raise ConfigError(f"{name} is {value!r}; choose from {', '.join(choices)}", name)
        if value.strip():
            accepted[name] = value.strip()
    return accepted


def file_names(content: str, style: str, *, same: bool = False) -> tuple[str, str]:
    """Returns the names that a command line has for a photograph and a painting.

    They are not the same, also where case does not count, unless the pictures are, and not
    that of the result; what browsers do not keep in the name of a download is not in them.

    Args:
      content: title of the photograph.
      style: title of the painting.
      same: whether they are the same picture.

    Example:
      >>> file_names("image.png", "image.png")
      ('image.png', 'image-2.png')
    """
    taken, names = {OUTPUT}, []
    for title in (re.sub(r'[<>:"|?*~]', "_", title) for title in (content, style)):
        stem, dot, suffix = title.rpartition(".")
        stem, dot, suffix = (stem, dot, suffix) if stem else (title, "", "")
        numbered = (f"{stem}-{number}{dot}{suffix}" for number in itertools.count(2))
        name = next(
            candidate
            for candidate in (title, *itertools.islice(numbered, 3))
            if candidate.lower() not in taken
        )
        taken.add(name.lower())
        names.append(name)
    return names[0], names[0 if same else 1]


def command_line(
    values: Mapping[str, str], content: str, style: str, more: Sequence[str] = ()
) -> str:
    """Returns the shell command that paints the same picture.

    Args:
      values: from `accept`.
      content: name of the photograph.
      style: name of the painting.
      more: arguments of the server's own, such as ``--weights FILE``.
    """
    pictures = [f"./{name}" if name.startswith("-") else name for name in (content, style)]
    # "--name=value", since a value may begin with a hyphen.
    chosen = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    return shlex.join(["jaxmrf", "transfer", *pictures, "-o", OUTPUT, *chosen, *more])
