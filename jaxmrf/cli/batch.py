"""The command `jaxmrf batch`: arguments, progress, exit codes."""

import functools
import itertools
import json
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from jaxmrf.batch import manifest, report, runner
from jaxmrf.batch.events import BatchOptions, Event
from jaxmrf.batch.ledger import Ledger
from jaxmrf.batch.lines import Line
from jaxmrf.cli import streams
from jaxmrf.cli.arguments import ConfigFile, Device, Network, WeightsFile
from jaxmrf.cli.terminal import (
    ENDING,
    console,
    exit_code,
    noted_signals,
    say,
    shows_bars,
    user_errors,
)
from jaxmrf.errors import ConfigError, FolderError, FullError, StoppedError
from jaxmrf.jobs import options
from jaxmrf.machine import device as devices
from jaxmrf.machine import program_cache
from jaxmrf.networks import weights

SOME_FAILED = 1
FAILURES, REPORT = "failures.jsonl", "report.html"

ARGUMENTS = {
    "options_metavar": "[MANIFEST] [OPTIONS]",
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
}
"""Arguments of the command: the manifest and options of `transfer` pass through."""


def command(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the outputs.")] = Path("out"),
    contents: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Photographs, instead of a manifest.")
    ] = None,
    styles: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Paintings; every pair is painted.")
    ] = None,
    folders: Annotated[
        int | None,
        typer.Option(metavar="N", help="Spread the outputs of pairs over N sub-folders."),
    ] = None,
    lanes: Annotated[
        str, typer.Option(help="Transfers at once; auto: by the memory estimate.")
    ] = "auto",
    bucket: Annotated[
        int, typer.Option(help="Let sizes up to a multiple of this share one program; 1: exact.")
    ] = 1,
    checkpoint_every: Annotated[
        int, typer.Option(help="Iterations between saved states of what is in flight; 0: none.")
    ] = 0,
    retry: Annotated[bool, typer.Option(help="Run again what failed before.")] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only this part, for array jobs.")
    ] = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="local, or actors of Ray (the extra: ray).")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; without one Ray starts here.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Ray actors (default: one for each accelerator).")
    ] = None,
    network: Network = "auto",
    weights_file: WeightsFile = None,
    device: Device = "auto",
    config_file: ConfigFile = None,
) -> None:
    """Paints all of a MANIFEST, or every pair of --contents and --styles.

    Options of `transfer`, such as --size 256, hold for all lines that do not have their
    own. Started again, it paints only what is missing or changed.
    """
    with user_errors(), streams.readable_files() as readable:
        words, defaults = options.from_arguments(context.args, known(context))
        if len(words) > 1:
            raise ConfigError(f"there is one manifest already; {words[1]!r} is one too many")
        file = Path(words[0]) if words else None
        part = None if shard is None else manifest.parse_shard(shard)
        if (file is None) == (contents is None and styles is None):
            raise ConfigError("give a manifest, or --contents and --styles")
        if file is not None and folders is not None:
            raise ConfigError(
                "--folders is for pairs; a manifest names folders itself, such as "
                '"output": "07/cat.png"'
            )
        if file is not None:
            copy = readable(file)
            pipe = None if copy == file else file
            read = functools.partial(manifest.read, copy, stands_for=pipe)
        elif contents is not None and styles is not None:
            read = functools.partial(
                manifest.pairs, contents, styles, on_left_out=say, folders=folders
            )
        else:
            raise ConfigError("--contents and --styles belong together")
        batch_options = BatchOptions(lane_count(lanes), bucket, checkpoint_every, retry)
        if workers is not None and workers < 1:
            raise ConfigError(f"workers is {workers}; it must be at least 1")
        if config_file is not None:
            defaults = options.read_toml(config_file) | defaults
        if engine == "ray":
            # This process only plans; the accelerators' memory is for the actors.
            jax.config.update("jax_platforms", "cpu")
        loaded = weights.load(network, weights_file)
        lines = read(out, defaults, loaded)
        if part is not None:
            lines = manifest.shard(lines, *part)
        if engine == "local":
            devices.choose(device)
        try:
            ledger = Ledger(out, loaded, bucket)
        except OSError as error:
            raise FolderError(f"cannot write to the folder {out}: {error.strerror}") from None
        if engine == "local":
            code = run_locally(lines, ledger, loaded, batch_options)
        else:
            from jaxmrf.batch import ray

            code = _ray(ray, lines, ledger, loaded, batch_options, device, address, workers)
    raise typer.Exit(code)


def run_locally(
    lines: Sequence[Line],
    ledger: Ledger,
    loaded: weights.Loaded,
    options: BatchOptions,
    *,
    kept: bool = True,
) -> int:
    """Paints lines on this machine, shows how it goes, and returns the exit code.

    If the outputs are `kept`, a report lies beside them, and what is stopped can go on.
    """
    program_cache.enable()
    with noted_signals(*ENDING) as received, _Display(len(lines)) as display:
        run = runner.Batch(
            ledger,
            loaded,
            options,
            on_event=display.event,
            on_message=display.say,
            stop=lambda: bool(received),
        )
        return _finish(lambda: run.run(lines), lines, ledger, display, received, kept)


def _ray(
    engine: Any,
    lines: Sequence[Line],
    ledger: Ledger,
    loaded: weights.Loaded,
    options: BatchOptions,
    device: str,
    address: str | None,
    workers: int | None,
) -> int:
    with noted_signals(*ENDING) as received, _Display(len(lines)) as display:

        def run() -> None:
            engine.run(
                lines,
                ledger,
                loaded,
                options,
                device=device,
                address=address,
                workers=workers,
                on_event=display.event,
                on_message=display.say,
                stop=lambda: bool(received),
            )

        return _finish(run, lines, ledger, display, received)


def _finish(
    run: Any,
    lines: Sequence[Line],
    ledger: Ledger,
    display: "_Display",
    received: list[int],
    kept: bool = True,
) -> int:
    """Runs the batch, writes report and failures, and returns the exit code."""
    code, in_a_hurry = 0, False
    try:
        run()
    except StoppedError:
        code = exit_code(received)
        in_a_hurry = received[0] != signal.SIGINT  # no scheduler waits for thumbnails
        display.say("stopped; start it again to go on" if kept else "stopped")
    except FullError as error:
        display.say(f"error: {error}; make room and start it again")
        code = SOME_FAILED
    if kept and not in_a_hurry:
        reported = _report(lines, ledger, display)
        code = code or reported
    display.summary()
    return code or (SOME_FAILED if display.failures else 0)


def _report(lines: Sequence[Line], ledger: Ledger, display: "_Display") -> int:
    """Writes report and failures; returns an exit code if that cannot be done."""
    failures = sorted(display.failures)
    listed = "".join(
        json.dumps({"line": number, "output": output, "error": error}) + "\n"
        for number, output, error in failures
    )
    failed = {output for _, output, _ in failures[: report.LINES]}
    shown = [line for line in lines if line.name in failed] if failed else []
    others = (line for line in lines if line.name not in failed)
    shown += itertools.islice(others, report.LINES - len(shown))
    shown.sort(key=lambda line: line.number)
    ledger.refresh()  # of what others wrote, such as actors
    try:
        ledger.publish(FAILURES, listed.encode())
        ledger.publish(REPORT, report.render(shown, display.counts(), ledger.record))
        display.say(f"report: {ledger.folder / REPORT}")
    except OSError as error:
        display.say(f"error: cannot write the report: {error.strerror}")
        return SOME_FAILED
    return 0


def known(context: typer.Context) -> list[str]:
    """Returns the options that a command has itself, without those of `transfer`."""
    return [flag.lstrip("-") for parameter in context.command.params for flag in parameter.opts]


def lane_count(text: str) -> int | None:
    """Reads ``auto`` or a number.

    Raises:
      ConfigError: if it is something else.
    """
    if text == "auto":
        return None
    if not text.isdecimal():
        raise ConfigError(f"lanes is {text!r}; give auto or a number")
    return int(text)


class _Display:
    """Progress over the whole batch: a bar on a terminal, else a line for each picture."""

    def __init__(self, total: int) -> None:
        self.failures: list[tuple[int, str, str]] = []  # line, output, error
        self._kinds = {"done": 0, "failed": 0, "skipped": 0}
        self._total, self._started = total, time.monotonic()
        self._lock = threading.Lock()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            console=console,
            disable=not shows_bars(),
        )
        self._task = self._bar.add_task("painting", total=total, rate="")

    def __enter__(self) -> "_Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        with self._lock:
            say(text)

    def event(self, event: Event) -> None:
        """Counts a line, and shows it."""
        with self._lock:
            self._kinds[event.kind] += 1
            if "error" in event.record:
                self.failures.append((event.line.number, event.line.name, event.record["error"]))
            if not self._bar.disable:
                self._bar.update(self._task, advance=1, rate=self._rate())
            if event.kind == "failed":
                say(f"line {event.line.number}: {event.line.name} failed: {event.record['error']}")
            elif event.kind == "done" and not shows_bars():
                record = event.record
                energy = "" if record["energy"] is None else f" energy {record['energy']:.4g}"
                say(f"{event.line.name}{energy} ({self._rate()})")

    def counts(self) -> report.Counts:
        """Returns how many lines are done, failed and left."""
        failed, told = len(self.failures), sum(self._kinds.values())
        return report.Counts(told - failed, failed, self._total - told)

    def summary(self) -> None:
        """Says what was done, skipped, failed and left."""
        skipped_failures = len(self.failures) - self._kinds["failed"]
        text = f"{self._kinds['done']} painted, {self._kinds['skipped']} skipped, "
        text += f"{self._kinds['failed']} failed, {self.counts().left} left"
        if skipped_failures:
            text += f"; {skipped_failures} of the skipped had failed before (--retry)"
        self.say(text)

    def _rate(self) -> str:
        """Returns counts, pictures per minute and the time left."""
        left = self.counts().left
        text = f"{self._kinds['done']} done, {self._kinds['failed']} failed, {left} left"
        minutes = (time.monotonic() - self._started) / 60
        if self._kinds["done"]:
            rate = self._kinds["done"] / minutes
            text += f", {rate:.3g} a minute, {left / rate:.2g} minutes to go"
        return text
