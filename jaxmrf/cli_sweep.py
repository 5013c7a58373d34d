"""The command `jaxmrf sweep`: a grid of settings on one labeled sheet."""

import contextlib
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from jaxmrf import cli_batch, image, options, paint, sweep, weights
from jaxmrf.batch import Settings
from jaxmrf.config import ConfigError
from jaxmrf.image import Picture
from jaxmrf.ledger import Ledger
from jaxmrf.manifest import Line
from jaxmrf.terminal import say, user_errors

ARGUMENTS = {
    "options_metavar": "CONTENT STYLE... [OPTIONS]",
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
}
"""Of the command: pictures and options of `transfer` pass through."""


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
    network: Annotated[
        Literal["auto", "vgg16", "vgg19"], typer.Option(help="VGG network.")
    ] = "auto",
    weights_file: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="Weight file.")
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "gpu", "tpu"], typer.Option(help="Where to compute.")
    ] = "auto",
) -> None:
    """Paints CONTENT in the manner of STYLE with every combination of some options.

    Every option of `transfer` may have several values, between commas (between semicolons
    if it takes a list itself): --content-weight 0.1,0.3,1 --iterations "60,30;20".
    """
    with user_errors():
        words, given = options.from_arguments(context.args)
        if len(words) < 2:
            raise ConfigError("give a CONTENT and at least one STYLE")
        content, *styles = map(Path, words)
        fixed, grid = sweep.axes(given)
        image.check_output(output)
        settings = Settings(cli_batch.lane_count(lanes))
        with _folder(keep) as folder:
            lines = sweep.lines(content, styles, grid, fixed, folder)
            for path in (path for paths in lines[0].inputs.values() for path in paths):
                if path.resolve() == output.resolve():
                    raise ConfigError(f"the sheet would overwrite {path}")
            loaded = weights.load(network, weights_file)
            ledger = Ledger(folder, loaded, settings.bucket)
            code = cli_batch.run_locally(
                lines, ledger, loaded, settings, device, reports=keep is not None
            )
            if code not in (0, cli_batch.SOME_FAILED):
                raise typer.Exit(code)
            _write(output, grid, lines, ledger, loaded)
        again = {**fixed, **next(sweep.cells(grid))}
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in again.items()]
        say(f"wrote {output}")
        say(f"its first cell: {shlex.join(['jaxmrf', 'transfer', *words, *flags])}")
    raise typer.Exit(code)


def _write(
    output: Path, grid: list[sweep.Axis], lines: list[Line], ledger: Ledger, loaded: weights.Loaded
) -> None:
    records = [ledger.record(line) or {"error": "not painted"} for line in lines]
    found = [
        record.get("error") or line.job.output for line, record in zip(lines, records, strict=True)
    ]
    paper, _ = sweep.sheet(grid, found)
    first = lines[0].job
    written = paint.settings_of(first, loaded, (paper.height, paper.width), {})
    written |= {"sweep": {axis.name: list(axis.values) for axis in grid}}
    image.save(output, Picture(np.asarray(paper, np.float32) / 255), written)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Gives the folder of the cells, one that goes afterwards if none is named."""
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot write to the folder {keep}: {error.strerror}") from None
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="jaxmrf-sweep-") as folder:
        yield Path(folder)
