"""The command `jaxmrf sweep`: a grid of settings on one labeled sheet."""

import contextlib
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from jaxmrf.batch.events import BatchOptions
from jaxmrf.batch.ledger import Ledger
from jaxmrf.batch.lines import Line
from jaxmrf.cli import batch, streams
from jaxmrf.cli.arguments import ConfigFile, Device, Network, WeightsFile
from jaxmrf.cli.terminal import say, user_errors
from jaxmrf.errors import ConfigError, FolderError
from jaxmrf.files import image, paths
from jaxmrf.files.image import Picture
from jaxmrf.jobs import inputs, options
from jaxmrf.jobs.job import guides_found, record_of, resolved_for
from jaxmrf.machine import device as devices
from jaxmrf.networks import weights
from jaxmrf.sweep import grid, sheet

ARGUMENTS = {
    "options_metavar": "CONTENT STYLE... [OPTIONS]",
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
}
"""Arguments of the command: pictures and options of `transfer` pass through."""

NOT_PAINTED = "not painted"


def command(
    context: typer.Context,
    output: Annotated[Path, typer.Option("-o", "--output", help="The sheet.")] = Path("sheet.png"),
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep every picture here, and go on from those there."),
    ] = None,
    lanes: Annotated[
        str, typer.Option(help="Pictures at once; auto: by the memory estimate.")
    ] = "auto",
    network: Network = "auto",
    weights_file: WeightsFile = None,
    device: Device = "auto",
    config_file: ConfigFile = None,
) -> None:
    """Paints CONTENT in the manner of STYLE with every combination of some options.

    Every option of `transfer` may have several values, between commas (between semicolons
    if it takes a list or a file): --anchor 0.5,0.7,0.9 --iterations "60,30;20". So may
    the pictures: "night.jpg;bridge.jpg".
    """
    with user_errors(), streams.readable_files() as readable:
        words, texts = options.from_arguments(context.args, batch.known(context))
        if len(words) < 2:
            raise ConfigError("give a CONTENT and at least one STYLE")
        words = [str(readable(Path(word))) for word in words]
        fixed, axes = grid.axes({"content": words[0], "style": words[1:], **texts})
        batch_options = BatchOptions(batch.lane_count(lanes), retry=True)
        defaults = {} if config_file is None else options.read_toml(config_file)
        _check_effects({**defaults, **fixed}, axes)
        with _folder(keep) as folder:
            lines = grid.lines(axes, fixed, folder, defaults)
            _check_output(output, lines)
            places, originals = sheet.plan(axes, lines, grid.shapes(axes, lines))
            image.check_size(output, places.size[::-1])
            loaded = weights.load(network, weights_file)
            devices.choose(device)
            grid.check(axes, lines, loaded, batch_options.bucket)
            for note in _notes(lines, {**defaults, **fixed, **dict(axes)}, loaded):
                say(note)
            try:
                ledger = Ledger(folder, loaded, batch_options.bucket)
            except OSError as error:
                raise FolderError(f"cannot write to {folder}: {error.strerror}") from None
            code = batch.run_locally(lines, ledger, loaded, batch_options, kept=keep is not None)
            records = [ledger.record(line) for line in lines]
            if any(records):
                outputs = [
                    (record or {"error": NOT_PAINTED}).get("error", line.job.output)
                    for line, record in zip(lines, records, strict=True)
                ]
                paper = sheet.draw(axes, places, outputs, originals)
                sheet_record = record_of(lines[0].job, loaded, places.size[::-1])
                sheet_record["sweep"] = {axis.name: axis.values for axis in axes}
                image.save(output, Picture(np.asarray(paper, np.float32) / 255), sheet_record)
                own = {"network": network, "weights": weights_file, "config": config_file}
                say(f"wrote {output}")
                say(f"its first cell: {_transfer({**fixed, **next(grid.cells(axes)), **own})}")
    raise typer.Exit(code)


def _check_effects(shared: Mapping[str, Any], axes: Sequence[grid.Axis]) -> None:
    """Checks that no option is without effect in all cells."""
    reasons_by_cell = []
    for cell in grid.cells(axes):
        values = {**shared, **cell, "output": "cell.png"}
        reasons_by_cell.append(options.without_effect(values, options.job(values)))
    for name, reason in reasons_by_cell[0].items():
        if all(name in reasons for reasons in reasons_by_cell):
            raise ConfigError(f"{name} has no effect: {reason}; leave it out")


def _notes(
    lines: Sequence[Line], values: Mapping[str, Any], loaded: weights.Loaded
) -> dict[str, None]:
    """Returns lines that say what is done that nobody asked for, each once."""
    notes = {}
    for line in lines:
        if line.job.content_guide is not None and "content_guide" not in values:
            notes[guides_found(line.job)] = None
        _, settings = resolved_for(line.job, loaded)
        notes |= dict.fromkeys(inputs.left_out(line.job, settings))
    return notes


def _transfer(values: Mapping[str, Any]) -> str:
    """Returns the command line that paints one cell by itself."""
    named = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in values.items()
        if value not in (None, "auto") and name not in ("content", "style")
    }
    pictures = [values["content"], *values["style"]]
    return shlex.join(["jaxmrf", "transfer", *pictures, *options.to_arguments(named)])


def _check_output(output: Path, lines: Sequence[Line]) -> None:
    """Checks that the sheet can be written, and that no output takes an input's place."""
    image.check_output(output)
    outputs = {paths.identity(line.job.output) for line in lines}
    for line in lines:
        for path in (*line.files, line.job.output):
            if paths.identity(path) == paths.identity(output):
                raise ConfigError(f"the sheet would overwrite {path}")
        for path in line.files:
            if paths.identity(path) in outputs:
                raise ConfigError(f"a cell would overwrite {path}; choose another --keep")


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Gives the folder of the cells, one that goes afterwards if none is named."""
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="jaxmrf-sweep-") as folder:
        yield Path(folder)
