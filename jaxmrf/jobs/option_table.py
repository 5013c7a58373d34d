"""Every option there is: name, type, default, range, heading, help, and what it acts on.

Settings are told of by the fields of `Config` (`config.Option`); here are those of a job and
of a command beside them. Flags, the page's controls, manifests, TOML and the table in the
guide are made from `ROWS`.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from jaxmrf.core.config import Config, Option
from jaxmrf.core.presets import PRESETS

Source = Literal["config", "job", "command", "file"]

COMMON = (
    "size",
    "preset",
    "alpha",
    "anchor",
    "content_weight",
    "style_weight",
    "style_scale",
    "color",
    "iterations",
    "seed",
    "mask",
    "config",
)
"""Options that most users need, beside the names of pictures; the help shows them first."""


@dataclasses.dataclass(frozen=True)
class Row:
    """An option.

    Attributes:
      name: long name, with ``_``.
      kind: type of its value.
      default: value without the option.
      option: what is said of it.
      source: whether it is a field of `Config`, of `Job`, of the command alone, or names the
        file of all others.
      metavar: what the help calls its value; "": by its type.
    """

    name: str
    kind: Any
    default: Any
    option: Option
    source: Source
    metavar: str = ""

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a choice; none of all other options."""
        for part in (self.kind, *get_args(self.kind)):
            if get_origin(part) is Literal:
                return get_args(part)
        return self.option.choices

    @property
    def flag(self) -> str:
        """The option as it is written on a command line."""
        return "--" + self.name.replace("_", "-")

    def with_value(self, value: str) -> str:
        """Returns the option and its value as one word of a command line.

        Example:
          >>> BY_NAME["tv_weight"].with_value("0.1"), BY_NAME["tileable"].with_value("true")
          ('--tv-weight=0.1', '--tileable')
        """
        if self.kind is bool:
            return self.flag if value == "true" else f"--no-{self.flag[2:]}"
        return f"{self.flag}={value}"  # since a value may begin with a hyphen

    @property
    def span(self) -> str:
        """The range of its values in words; "" if there is none."""
        option = self.option
        parts = [f"from {option.minimum:.10g}"] if option.minimum > -math.inf else []
        parts += [f"above {option.above:.10g}"] if option.above > -math.inf else []
        parts += [f"to {option.maximum:.10g}"] if option.maximum < math.inf else []
        return " ".join(parts)


def _of_config() -> Iterable[Row]:
    for field in dataclasses.fields(Config):
        option = field.metadata["option"]
        # A picture file is a start, too.
        kind = str if field.name == "init" else field.type
        option = option._replace(choices=get_args(field.type)) if field.name == "init" else option
        yield Row(field.name, kind, field.default, option, "config")


ROWS: tuple[Row, ...] = (
    *_of_config(),
    Row(
        "preset",
        Literal[tuple(PRESETS)],
        "default",
        Option(
            "quick, default, fine: how long it works; paper, reference: as the authors did.",
            "Picture",
            "Preset",
        ),
        "job",
    ),
    Row(
        "alpha",
        float,
        None,
        Option(
            "From 0, the photograph, to 1, the painting; 0.5 is the preset. Sets content weight, "
            "anchor and content share.",
            "Picture",
            "Photograph or painting",
            acts_on=frozenset({"content"}),
            minimum=0.0,
            maximum=1.0,
        ),
        "job",
    ),
    Row(
        "content_guide",
        Path,
        None,
        Option(
            "Picture in flat colors that says what is where in the result; without it *_sem.png "
            "beside the photograph, if every style has one.",
            "Guides",
            acts_on=frozenset({"patches"}),
        ),
        "job",
        "FILE",
    ),
    Row(
        "style_guide",
        list[Path],
        None,
        Option("The same for a style; once for each.", "Guides", acts_on=frozenset({"patches"})),
        "job",
        "FILE",
    ),
    Row(
        "mask",
        Path,
        None,
        Option(
            "Only what is white in this picture changes.",
            "Guides",
            acts_on=frozenset({"content"}),
        ),
        "job",
        "FILE",
    ),
    Row(
        "memory",
        float,
        None,
        Option(
            "Gigabytes that the run may take; large pictures are computed in strips then, or "
            "refused with a size that fits. Without it: what the device has.",
            "Effort",
            "Memory (GB)",
        ),
        "job",
        "GB",
    ),
    Row(
        "preview_every",
        int,
        10,
        Option("Iterations between previews beside the output; 0: none.", "Files", minimum=0),
        "job",
    ),
    Row(
        "trace",
        Path,
        None,
        Option("Write each iteration's energy to this JSON Lines file.", "Files"),
        "job",
        "FILE",
    ),
    Row(
        "format",
        Literal["png", "jpg", "webp", "tif"],
        None,
        Option("Format of the picture where its name does not say it, as of -o -.", "Files"),
        "job",
    ),
    Row(
        "network",
        Literal["auto", "vgg16", "vgg19"],
        "auto",
        Option(
            "What looks at the pictures: VGG-16 or VGG-19; auto takes the best there is.",
            "Network",
            "Network",
        ),
        "command",
    ),
    Row(
        "weights",
        Path,
        None,
        Option(
            "Weight file of any known format, in place of all others, as JAXMRF_WEIGHTS.",
            "Network",
        ),
        "command",
        "FILE",
    ),
    Row(
        "device",
        Literal["auto", "cpu", "gpu", "tpu"],
        "auto",
        Option("Where to compute.", "Effort"),
        "command",
    ),
    Row(
        "config",
        Path,
        None,
        Option(
            "TOML file with options by their long names; those on the command line go before.",
            "Files",
        ),
        "file",
        "FILE",
    ),
)

BY_NAME = {row.name: row for row in ROWS}

GROUPS = (
    "Picture",
    "Photograph",
    "Style",
    "Guides",
    "Patches",
    "Smoothness and start",
    "Network",
    "Optimization",
    "Effort",
    "Files",
)
"""Headings, in their order."""


def acting_on(what: str) -> tuple[str, ...]:
    """Returns the options without effect where there is no ``content``, or no ``patches``."""
    return tuple(row.name for row in ROWS if what in row.option.acts_on)


def in_order(rows: Iterable[Row], first: Sequence[str]) -> list[Row]:
    """Returns options in the order to show them: those named `first`, then by heading."""
    order = [*first, *GROUPS]
    return sorted(
        rows, key=lambda row: order.index(row.name if row.name in first else row.option.group)
    )


def as_text(value: Any) -> str:
    """Returns the value of an option as the command line takes it; "" if it is automatic."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def shown(row: Row) -> str:
    """Returns the default of an option as text for its help."""
    return as_text(row.default) or "automatic"


def as_markdown() -> str:
    """Returns the options of the command line as a table, for the guide."""
    lines = ["| option | values | default | |", "| --- | --- | --- | --- |"]
    for group in GROUPS:
        lines.append(f"| **{group}** | | | |")
        for row in ROWS:
            if row.option.help and row.option.group == group:
                values = ", ".join(row.choices) or row.span or row.metavar
                lines.append(f"| `{row.flag}` | {values} | {shown(row)} | {row.option.help} |")
    return "\n".join(lines) + "\n"
