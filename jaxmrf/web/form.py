"""The controls of the page, made from the options of a command, and back to a command line."""

import dataclasses
import itertools
import re
import shlex
from collections.abc import Mapping, Sequence

from jaxmrf.core.presets import PRESETS, USUAL_ALPHA
from jaxmrf.errors import ConfigError
from jaxmrf.jobs.option_table import BY_NAME, ROWS, Row, acting_on, as_text, in_order
from jaxmrf.jobs.options import SYNTHESIS_SIZE

MAIN = ("alpha", "preset", "size", "color")
"""The controls that are seen at once; the others are under "more"."""

USUAL = {"alpha": as_text(USUAL_ALPHA)}
"""What is shown of an option that has no default."""

KINDS = {"alpha": "share", "style_blend": "blend", "color": "pictured"}
"""Controls that are no plain fields."""

HELP = {
    "init": "What it starts from: the photograph, noise, or pieces of the painting (shuffle).",
    "alpha": "More of the photograph, or more of the painting.",
    "preset": "quick, default, fine: how long it works.",
}
"""Help where that of the command line is about what the page does not have, or shows."""

SWITCH = ("true", "false")
"""Values of a switch."""

OUTPUT = "out.png"
"""What the command line calls the result."""

MAX_TEXT = 200
"""Characters of a value."""

_BY_OPTION = ("content_guide", "style_guide", "mask")
"""Pictures that a command line names behind an option."""


@dataclasses.dataclass(frozen=True)
class Control:
    """One control of the page.

    Attributes:
      name: long name of the option, with ``_``.
      help: help text of the option, without the default.
      kind: ``whole``, ``number``, ``text``, ``choice``, ``switch``, ``share``: from 0 to 1,
        ``pictured``: a choice with a picture ``/NAME-CHOICE.jpg`` of each, or ``blend``: a weight
        for each painting.
      choices: values of a choice, or of a switch.
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

    Options of paths have none: no path of a client is ever used, and pictures are named by
    their ids. The server chooses the device.
    """
    return tuple(
        Control(
            name=row.name,
            help=HELP.get(row.name, row.option.help),
            kind=_kind(row),
            choices=SWITCH if row.kind is bool else row.choices,
            default=USUAL.get(row.name, as_text(row.default)),
            main=row.name in MAIN,
            label=row.option.label,
            group="" if row.name in MAIN else row.option.group,
        )
        for row in in_order((row for row in ROWS if row.option.label), MAIN)
    )


def _kind(row: Row) -> str:
    if row.name in KINDS:
        return KINDS[row.name]
    if row.choices:
        return "choice"
    kinds = {int: "whole", int | None: "whole", float: "number", bool: "switch"}
    return kinds.get(row.kind, "text")


def presets(controls: Sequence[Control]) -> dict[str, dict[str, str]]:
    """Returns for each preset the values of the controls that it sets."""
    names = [
        control.name
        for control in controls
        if BY_NAME[control.name].source == "config" and control.kind not in ("switch", "blend")
    ]
    return {
        preset: {name: as_text(getattr(config, name)) for name in names}
        for preset, config in PRESETS.items()
    }


def synthesis(controls: Sequence[Control]) -> dict[str, object]:
    """Returns the size of a picture without a photograph, and the controls that do nothing then."""
    idle = acting_on("content")
    without = [control.name for control in controls if control.name in idle]
    return {"size": SYNTHESIS_SIZE, "without": without}


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


def file_names(pictures: Sequence[tuple[str, str]]) -> list[str]:
    """Returns the names that a command line has for pictures.

    They are not the same, also where case does not count, unless the pictures are, and not
    that of the result; what browsers do not keep in the name of a download is not in them.

    Args:
      pictures: id and title of each.

    Example:
      >>> file_names([("a", "image.png"), ("b", "image.png")])
      ['image.png', 'image-2.png']
    """
    taken, names = {OUTPUT}, {}
    for identity, title in pictures:
        if identity in names:
            continue
        title = re.sub(r'[<>:"|?*~]', "_", title)
        stem, dot, suffix = title.rpartition(".")
        stem, dot, suffix = (stem, dot, suffix) if stem else (title, "", "")
        numbered = (f"{stem}-{number}{dot}{suffix}" for number in itertools.count(2))
        names[identity] = next(
            candidate
            for candidate in itertools.chain([title], numbered)
            if candidate.lower() not in taken
        )
        taken.add(names[identity].lower())
    return [names[identity] for identity, _ in pictures]


def command_line(
    values: Mapping[str, str], titles: Mapping[str, Sequence[str]], more: Sequence[str] = ()
) -> str:
    """Returns the shell command that paints the same picture.

    Args:
      values: from `accept`.
      titles: names of the pictures by what they are for, see `runs.ROLES`.
      more: arguments of the server's own, such as ``--weights FILE``.
    """
    pictures = [*titles.get("content", ()), *titles["style"]]
    command = ["jaxmrf", "transfer" if titles.get("content") else "synthesize"]
    chosen = [
        *(BY_NAME[role].with_value(name) for role in _BY_OPTION for name in titles.get(role, ())),
        *(BY_NAME[name].with_value(value) for name, value in values.items()),
    ]
    named = [f"./{name}" if name.startswith("-") else name for name in pictures]
    return shlex.join([*command, *named, "-o", OUTPUT, *chosen, *more])
