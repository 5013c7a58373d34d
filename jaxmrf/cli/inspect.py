"""The command `jaxmrf inspect`: arguments and progress."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from jaxmrf.analysis import reconstruction
from jaxmrf.cli import streams
from jaxmrf.cli.arguments import Device
from jaxmrf.cli.terminal import console, say, shows_bars, user_errors
from jaxmrf.core.run.progress import Progress
from jaxmrf.inspection import inspect
from jaxmrf.inspection.inspect import Request
from jaxmrf.machine import device as devices
from jaxmrf.machine import program_cache


def command(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="One that jaxmrf made.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the files.")
    ] = Path("inspection"),
    content: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The photograph, if it is not beside PICTURE or in this folder."
        ),
    ] = None,
    style: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="The painting, likewise; once for each."),
    ] = None,
    content_guide: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The guide of the photograph, likewise.")
    ] = None,
    style_guide: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="The guide of a style, likewise; once for each."),
    ] = None,
    mask: Annotated[Path | None, typer.Option(metavar="FILE", help="The mask, likewise.")] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the energy from this --trace of the run."),
    ] = None,
    reconstructions: Annotated[
        bool, typer.Option(help="Show what each layer keeps of the photograph.")
    ] = True,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Layers to reconstruct from, by comma or space (default: "
            f"{','.join(reconstruction.LAYERS)})"
        ),
    ] = None,
    size: Annotated[int, typer.Option(min=32, help="Longest side of the reconstructions.")] = 256,
    iterations: Annotated[int, typer.Option(min=1, help="Of each reconstruction.")] = 100,
    weights_file: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Weight file that PICTURE was made with."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Shows why PICTURE is as it is: what each position took, what each layer keeps."""
    inputs = (content, style, content_guide, style_guide, mask)
    request = Request(
        picture,
        output,
        dict(zip(inspect.INPUTS, inputs, strict=True)),
        trace,
        reconstructions,
        tuple((layers or "").replace(",", " ").split()),
        size,
        iterations,
    )
    with user_errors(), streams.readable_files() as readable:
        request = dataclasses.replace(request, picture=readable(picture))
        network = inspect.network_of(request.picture, weights_file)
        devices.choose(device)
        program_cache.enable()
        with _Display(iterations) as display:
            inspect.write_report(
                request,
                network,
                on_progress=display.progress,
                on_file=lambda path: say(f"wrote {path}"),
            )


class _Display:
    """A progress bar on a terminal; elsewhere the lines of the files are enough."""

    def __init__(self, iterations: int) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not shows_bars(),
        )
        self._task = self._bar.add_task("matching", total=None)
        self._total = iterations

    def __enter__(self) -> "_Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def progress(self, layer: str, progress: Progress) -> None:
        """Shows which layer is at which iteration."""
        self._bar.update(
            self._task,
            description=f"reconstruction from {layer}",
            total=self._total,
            completed=progress.iteration,
        )
