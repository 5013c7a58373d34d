"""The arguments of commands, made from the table of options."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import typer

from jaxmrf.jobs.option_table import BY_NAME, COMMON, ROWS, Row, acting_on, in_order, shown
from jaxmrf.jobs.options import SYNTHESIS_SIZE

PARAMETERS = {"weights": "weights_file", "config": "config_file"}
"""What commands call an option whose name means something else to them."""

Styles = Annotated[list[Path], typer.Argument(metavar="STYLE...", help="The painting, or several.")]
Content = Annotated[Path, typer.Argument(metavar="CONTENT", help="The photograph.")]
Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        help="The finished picture; - is standard output. Without it a name that is free.",
    ),
]
OUTPUT = Path("out.png")
"""What a picture is called that no name was given for, with a number if there is one already."""
Size = Annotated[
    str, typer.Option(help="Width and height of the result.", metavar="WxH", show_default=True)
]

Network = Annotated[
    Literal["auto", "vgg16", "vgg19"], typer.Option(help=BY_NAME["network"].option.help)
]
WeightsFile = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", help=BY_NAME["weights"].option.help),
]
Device = Annotated[
    Literal["auto", "cpu", "gpu", "tpu"], typer.Option(help=BY_NAME["device"].option.help)
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help=BY_NAME["config"].option.help)
]


def with_options(*, has_content: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command all options of a transfer, or those of a synthesis.

    Args:
      has_content: whether the command takes a photograph.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
        named: list[tuple[str, Any, Any]] = [("context", typer.Context, inspect.Parameter.empty)]
        if has_content:
            named.append(("content", Content, inspect.Parameter.empty))
        named.append(("style", Styles, inspect.Parameter.empty))
        named.append(("output", Output, OUTPUT))
        rows = [row for row in ROWS if row.option.help]
        if not has_content:
            named.append(("size", Size, SYNTHESIS_SIZE))
            without = {"size", *acting_on("content")}
            rows = [row for row in rows if row.name not in without]
        parameters = [
            inspect.Parameter(name, keyword, annotation=kind, default=default)
            for name, kind, default in named
        ]
        parameters += [_parameter(row) for row in in_order(rows, COMMON)]
        command.__signature__ = inspect.Signature(parameters)
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def _parameter(row: Row) -> inspect.Parameter:
    """Returns an option as typer wants it.

    Those of a preset have no default there; the help names that of the preset ``default``.
    """
    help_text, of_preset = row.option.help, row.source == "config"
    if of_preset:
        help_text += f" (default preset: {shown(row)})"
    panel = None if row.name in COMMON else row.option.group
    least = None if of_preset or row.option.minimum < 0 else int(row.option.minimum)
    option = typer.Option(
        row.flag if row.kind is not bool else f"{row.flag}/--no-{row.flag[2:]}",
        help=help_text,
        metavar="INIT" if row.name == "init" else row.metavar or None,
        show_default=not of_preset,
        rich_help_panel=panel,
        min=least,
    )
    default = None if of_preset else row.default
    kind = _kind(row) if default is not None else _kind(row) | None
    return inspect.Parameter(
        PARAMETERS.get(row.name, row.name),
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Annotated[kind, option],
        default=default,
    )


def _kind(row: Row) -> Any:
    if row.choices and row.name != "init":
        return Literal[row.choices]
    if get_origin(row.kind) is tuple:
        return str
    return int if row.kind == int | None else row.kind
