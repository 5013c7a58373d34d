"""The controls of the page, made from the options of a command, and back to a command line."""

import dataclasses
import inspect
import itertools
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typer.models import OptionInfo

from jaxmrf.core.config import Config
from jaxmrf.core.presets import PRESETS
from jaxmrf.errors import ConfigError

MAIN = ("size", "content_weight", "style_weight", "color", "preset", "iterations", "seed")
"""The controls that are seen at once; the others are under "more"."""

LEFT_OUT = ("device", "preview_every", "style_blend", "guide_weight", "tileable")
"""Options that are not the page's: the server chooses the device, previews are always shown,
and there are one style and no guides; a tileable picture is rather one of `synthesize`.
Options that name files are not the page's either: no path of a client is ever used."""

GROUPS = {
    "Photograph": ("anchor", "content_share", "final_color"),
    "Style": ("style_loss", "gram_layers", "style_scale", "rotations", "scales", "variety"),
    "Patches": ("layers", "patch_size", "stride", "style_stride", "metric", "overlap"),
    "Smoothness and start": ("tv_weight", "init", "decoder_rounds"),
    "Network": ("network", "content_layer", "pooling"),
    "Optimization": ("levels", "optimizer", "line_search", "preconditioner"),
    "Effort": ("matching", "match_every", "memory"),
}
"""The controls under "more" by heading, in their order."""

LABELS = {
    "size": "Size",
    "content_weight": "Content weight",
    "style_weight": "Style weight",
    "color": "Color",
    "preset": "Preset",
    "iterations": "Iterations",
    "seed": "Seed",
    "anchor": "Anchor",
    "content_share": "Share in what is painted",
    "final_color": "Final color",
    "style_loss": "Style losses",
    "gram_layers": "Layers of the Gram loss",
    "style_scale": "Style scale",
    "rotations": "Rotated copies",
    "scales": "Scaled copies",
    "variety": "Variety",
    "layers": "Patch layers",
    "patch_size": "Patch size",
    "stride": "Stride in the result",
    "style_stride": "Stride in the style",
    "metric": "Metric",
    "overlap": "Overlap",
    "decoder_rounds": "Rounds of the decoder",
    "tv_weight": "Total variation weight",
    "init": "Start from",
    "network": "Network",
    "content_layer": "Content layer",
    "pooling": "Pooling",
    "levels": "Pyramid levels",
    "optimizer": "Optimizer",
    "line_search": "Line search",
    "preconditioner": "Preconditioner",
    "matching": "Matching",
    "match_every": "Match every",
    "memory": "Memory (GB)",
}
"""What the page calls each control."""

HELP = {"init": "What the run begins with."}
"""Help where that of the command line is about what the page does not have."""

OUTPUT = "out.png"
"""What the command line calls the result."""

MAX_TEXT = 200
"""Characters of a value."""


class ControlError(ConfigError):
    """A value that cannot be used, with the control that can mend it.

    Attributes:
      control: its name.
    """

    def __init__(self, message: str, control: str) -> None:
        super().__init__(message)
        self.control = control


_KINDS: dict[Any, str] = {int: "whole", float: "number", str: "text"}
_FIELDS = {field.name: field.type for field in dataclasses.fields(Config)}


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


def controls(command: Callable[..., None]) -> tuple[Control, ...]:
    """Returns the controls of a typer command, the main ones first.

    Options of paths, and those in `LEFT_OUT`, have none.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters
    found = []
    for name, parameter in parameters.items():
        kind, *notes = get_args(hints[name]) or (hints[name],)
        option = next((note for note in notes if isinstance(note, OptionInfo)), None)
        if option is None or name in LEFT_OUT:
            continue
        choices = _choices(_FIELDS.get(name)) or _choices(kind)
        plain = next((part for part in get_args(kind) if part is not NoneType), kind)
        if not choices and plain not in _KINDS:
            continue
        found.append(
            Control(
                name=name,
                help=HELP.get(name) or re.sub(r" \(default preset: .*\)$", "", option.help or ""),
                kind="choice" if choices else _KINDS[plain],
                choices=choices,
                default=_text(getattr(PRESETS["default"], name, parameter.default)),
                main=name in MAIN,
                label=LABELS[name],
                group=next((group for group, names in GROUPS.items() if name in names), ""),
            )
        )
    order = [*MAIN, *(name for names in GROUPS.values() for name in names)]
    return tuple(sorted(found, key=lambda control: order.index(control.name)))


def presets(controls: Sequence[Control]) -> dict[str, dict[str, str]]:
    """Returns for each preset the values of the controls that it sets."""
    names = [control.name for control in controls if control.name in _FIELDS]
    return {
        preset: {name: _text(getattr(config, name)) for name in names}
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
            raise ConfigError(f"{name} must be a text of at most {MAX_TEXT} characters")
        choices = known[name].choices
        if value and choices and value not in choices:
            raise ConfigError(f"{name} is {value!r}; choose from {', '.join(choices)}")
        if value.strip():
            accepted[name] = value.strip()
    return accepted


def concerned(controls: Sequence[Control], message: str) -> str | None:
    """Returns the control that an error message is about, None if it names none."""
    words = re.findall(r"\w+", message)
    names = {control.name for control in controls}
    return next((word for word in words[:1] if word in names), None)


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
            one for one in (title, *itertools.islice(numbered, 3)) if one.lower() not in taken
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


def _choices(kind: Any) -> tuple[str, ...]:
    """Returns the values of a literal type, optional or not; of all others none."""
    for part in (kind, *get_args(kind)):
        if get_origin(part) is Literal:
            return get_args(part)
    return ()


def _text(value: Any) -> str:
    if value is None:
        return ""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
