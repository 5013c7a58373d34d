"""The command line: parses arguments, prints progress and errors, nothing else."""

import dataclasses
import functools
import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jax
import typer

from jaxmrf._version import __version__
from jaxmrf.analysis import suitability
from jaxmrf.analysis.suitability import Suitability
from jaxmrf.cli import batch, inspect, serve, streams, sweep
from jaxmrf.cli.arguments import OUTPUT, with_options
from jaxmrf.cli.progress import Display
from jaxmrf.cli.terminal import ENDING, Group, noted_signals, say, user_errors
from jaxmrf.cli.weights import app as weights_app
from jaxmrf.core.run.progress import Progress as Record
from jaxmrf.errors import ConfigError, WeightsError
from jaxmrf.files import paths, quiet
from jaxmrf.jobs import options, paint, records
from jaxmrf.jobs.job import Job, check_files
from jaxmrf.machine import device as devices
from jaxmrf.machine import memory, program_cache
from jaxmrf.networks import weights

STREAM_FORMAT = "png"
"""What a picture is written to standard output as, if nothing else is said."""

app = typer.Typer(
    name="jaxmrf",
    cls=Group,
    help="Paints a photograph in the manner of a painting, by local patches of VGG features.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"jaxmrf {__version__}")
        raise typer.Exit


@app.callback()
def options_of_all(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Prints the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Paints a photograph in the manner of a painting, by local patches of VGG features."""


@app.command()
@with_options(has_content=True)
def transfer(context: typer.Context, **_: Any) -> None:
    """Paints the photograph CONTENT in the manner of the painting STYLE, or of several."""
    _run(context)


@app.command()
@with_options(has_content=False)
def synthesize(context: typer.Context, **_: Any) -> None:
    """Makes a new picture from the patches of STYLE (un-guided synthesis)."""
    _run(context)


app.command("batch", **batch.ARGUMENTS)(batch.command)
app.command("sweep", **sweep.ARGUMENTS)(sweep.command)
app.command("inspect")(inspect.command)
app.command("serve")(serve.command)


@app.command()
def show_config(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="One that jaxmrf made.")],
) -> None:
    """Prints the options that made PICTURE as TOML, for --config."""
    with user_errors(), streams.readable_files() as readable:
        print(records.to_toml(records.read_record(readable(picture))), end="")


@app.command()
def info() -> None:
    """Prints versions, devices and weights."""
    with user_errors():
        print(f"jaxmrf {__version__}")
        for package in ("jax", "jaxlib", "flax", "optax", "numpy", "pillow"):
            print(f"{package} {importlib.metadata.version(package)}")
        print(f"python {sys.version.split()[0]}")
        for device in jax.devices():
            print(f"device {device.platform}:{device.id} {device.device_kind}")
        for path, result in weights.verify().items():
            if isinstance(result, WeightsError):
                print(f"weights {result}")
                continue
            print(f"weights {result.name} {path} SHA-256 {result.sha256}")
            print(f"  {result.about}")
        print(f"compiled programs {program_cache.folder()}")


app.add_typer(weights_app, name="weights")


def main() -> None:
    """Runs the command line, see `jaxmrf.__main__`."""
    quiet.in_this_program()
    # Names of files that are no text are printed as the bytes that they are.
    sys.stdout.reconfigure(errors="surrogateescape")  # pyright: ignore[reportAttributeAccessIssue]
    app()


def _run(context: typer.Context) -> None:
    """Runs `transfer` or `synthesize` with the values of its options."""
    params = context.params
    with (
        noted_signals(*ENDING, at_once=True) as received,
        user_errors(received),
        streams.readable_files() as readable,
    ):
        job = _job(context, readable)
        output = job.output
        loaded = weights.load(params["network"], params["weights_file"])
        # Before there is a device, so no picture is read yet; none gets larger than asked for.
        longest = max(job.shape or (job.config.size,))
        if longest**2 <= memory.UNCHECKED_PIXELS:
            devices.keep_freed_memory()
        devices.choose(params["device"])
        program_cache.enable()
        with streams.written_to(output) as file, Display(loaded) as display:
            job = dataclasses.replace(job, output=file)
            titles, job = _with_files(job, readable)

            def progressed(record: Record) -> None:
                display.progress(record)
                if received:
                    raise KeyboardInterrupt

            paint.run(
                job,
                loaded,
                titles=titles,
                on_plan=display.plan,
                on_progress=progressed,
                on_warning=say,
                on_suitability=functools.partial(_advise, job),
            )
        say(f"wrote {output}")


def _job(context: typer.Context, readable: Callable[[Path], Path]) -> Job:
    """Returns the job of a command line, checked as far as it can be without its pictures."""
    values, is_named = _options(context, readable)
    if not is_named:
        values["output"] = paths.free(OUTPUT)
    job = options.job(values)
    options.check_effect(values, job)
    if streams.is_stream(job.output):
        return dataclasses.replace(job, format=job.format or STREAM_FORMAT, preview_every=0)
    check_files(job, (context.params["config_file"], context.params["weights_file"]))
    if job.output.exists():
        say(f"{job.output} is there already; the finished picture will replace it")
    return job


def _with_files(job: Job, readable: Callable[[Path], Path]) -> tuple[dict[Path, str], Job]:
    """Returns a job whose pictures are files, and what those are called that came by pipes."""
    titles = {}

    def as_file(path: Path | None) -> Path | None:
        file = None if path is None else readable(path)
        if path is not None and file is not None and file != path:
            titles[file] = str(path)
        return file

    one_by_one = ("content", "initial", "content_guide", "mask")
    files = {name: as_file(getattr(job, name)) for name in one_by_one}
    lists = {name: tuple(map(as_file, getattr(job, name))) for name in ("styles", "style_guides")}
    return titles, dataclasses.replace(job, **files, **lists)


def _advise(job: Job, measured: Suitability) -> None:
    """Says beforehand that a picture will come out poorly, and what may help."""
    text = suitability.advice(measured, varied=job.config.variety > 0)
    if text is not None:
        say(f"advice: {text}")


def _options(
    context: typer.Context, readable: Callable[[Path], Path]
) -> tuple[dict[str, Any], bool]:
    """Returns the options of a job: of the command line, of the file, then defaults.

    And whether they name an output.
    """
    apart = ("network", "weights_file", "device", "config_file")
    values = {name: value for name, value in context.params.items() if name not in apart}
    chosen = {
        name: value
        for name, value in values.items()
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    }
    file, read = context.params["config_file"], {}
    if file is not None:
        copy = readable(file)
        read = options.read_toml(copy, file.parent if copy == file else Path())
        if "content" in read and "content" not in context.params:
            raise ConfigError(f"{file} has a content; use jaxmrf transfer, or take it out")
    return values | read | chosen, "output" in read | chosen
