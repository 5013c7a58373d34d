"""What all commands share: the console, errors of the user as one line, and signals."""

import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, TextIO, cast

import jax
import typer
import typer.core
from rich.console import Console

from jaxmrf.errors import StoppedError, UserError, nearest

USER_ERROR = 2
SIGNALLED = 128
"""An exit code above this says which signal ended a command, as shells report it."""

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals that ask a command to end: Ctrl-C, schedulers, a terminal that is closed."""

OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"
"""How XLA says that it gets no more memory."""

SAME_MOMENT = 2.0
"""Seconds in which a second Ctrl-C counts as one with the first."""

# Typer brings its own click from 0.29 on; before, this is click's.
_UsageError = cast(type[typer.BadParameter], typer.BadParameter.__bases__[0])


class _StandardError(io.TextIOBase):
    """Standard error, where nobody may be left to read: what cannot be written is let go."""

    @staticmethod
    def _stream() -> TextIO:
        # While rich draws a bar, what others write goes to the console, which would come back here.
        return getattr(sys.stderr, "rich_proxied_file", sys.stderr)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream().flush()

    def isatty(self) -> bool:
        return self._stream().isatty()

    def fileno(self) -> int:
        return self._stream().fileno()

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._stream().encoding


console = Console(file=cast(TextIO, _StandardError()), highlight=False)


def shows_bars() -> bool:
    """Whether there is a terminal that can draw a line anew; else there are lines alone."""
    return console.is_terminal and not console.is_dumb_terminal


def say(text: str) -> None:
    """Prints a line to standard error, not wrapped, brackets as they are."""
    console.print(text, markup=False, soft_wrap=True)


class Group(typer.core.TyperGroup):
    """A command whose faults of usage are one line, as other errors of the user are."""

    def main(self, *arguments: Any, standalone_mode: bool = True, **more: Any) -> Any:
        """Runs the command; by itself, as a program, it ends the process with an exit code."""
        try:
            code = super().main(*arguments, standalone_mode=False, **more)
        except _UsageError as error:
            if not standalone_mode:
                raise
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()
            else:
                _print_error(_usage_fault(error))
            _end(USER_ERROR)
        except typer.Abort:
            if not standalone_mode:
                raise
            _print_error("aborted")
            _end(1)
        if standalone_mode:
            _end(code if isinstance(code, int) else 0)
        return code


def _end(code: int) -> NoReturn:
    """Ends the process once all that was printed is written, or is let go.

    Else Python tries that at its end, prints what was in the way, and makes the exit code 120.
    Here it is 1 where nobody reads standard output on, which is no reason for words.
    """
    fault = _write_out(sys.stdout)
    if isinstance(fault, BrokenPipeError):
        code = code or 1
    elif fault is not None:
        _print_error(f"standard output: {fault.strerror}")
        code = code or USER_ERROR
    _write_out(sys.stderr)
    sys.exit(code)


def _write_out(stream: TextIO) -> OSError | None:
    """Writes what a stream keeps, or lets it go and returns why."""
    try:
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def _usage_fault(error: Any) -> str:
    """Returns what is wrong with a command line, and where to look."""
    context = error.ctx
    command = "jaxmrf" if context is None else context.command_path
    words = command.split()
    words = words[words.index("-m") + 2 :] if "-m" in words else words[1:]
    command = " ".join(["jaxmrf", *words])
    option = getattr(error, "option_name", None)
    if hasattr(error, "possibilities") and option is not None:
        parameters = [] if context is None else context.command.params
        known = [name for parameter in parameters for name in parameter.opts]
        what = f"there is no option {option}" + nearest(option, known).replace("'", "")
    else:
        what = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
        what = what[:1].lower() + what[1:]
    return f"{what}{' See' if what.endswith('?') else '; see'} {command} --help"


@contextlib.contextmanager
def user_errors(received: Sequence[int] = ()) -> Iterator[None]:
    """Turns errors of the user into one line and an exit code.

    Args:
      received: the signals that came, see `noted_signals`; the first one says the exit code of
        what was interrupted.
    """
    try:
        yield
    except UserError as error:
        _fail(str(error))
    except StoppedError as stopped:
        where = f"level {stopped.progress.level + 1}, iteration {stopped.progress.iteration}"
        if not stopped.interrupted:
            saved = "saved the last good picture" if stopped.progress.painted else "nothing saved"
            _fail(
                f"the energy is not finite after {where}; {saved}. "
                "Try smaller weights, or --optimizer adam"
            )
        say(f"interrupted: saved the picture of {where}")
        raise typer.Exit(exit_code(received)) from None
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not isinstance(error, MemoryError) and OUT_OF_MEMORY not in str(error):
            raise
        _fail(
            "there is not enough memory for this; choose a smaller --size, or say with --memory "
            "how many gigabytes the run may take"
        )
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(exit_code(received)) from None


def exit_code(received: Sequence[int]) -> int:
    """Returns the exit code of a command that signals ended; without any that of Ctrl-C."""
    return SIGNALLED + (received[0] if received else signal.SIGINT)


@contextlib.contextmanager
def noted_signals(*numbers: int, at_once: bool = False) -> Iterator[list[int]]:
    """Yields the list of the signals received so far, and interrupts.

    Those that are ignored stay so: of a command under nohup, or in the background of a script.

    Args:
      numbers: signals that are noted.
      at_once: whether the first one interrupts, and no other: what it saves is not lost. It has
        to be noted even so: an interrupt that comes where Python can only print it, such as in a
        destructor, is lost. Else a SIGINT interrupts that comes some time after the first.
    """
    received: list[int] = []
    times: list[float] = []

    def note(number: int, _: object) -> None:
        received.append(number)
        times.append(time.monotonic())
        again = len(times) > 1 and times[-1] - times[0] > SAME_MOMENT
        if len(times) == 1 if at_once else number == signal.SIGINT and again:
            raise KeyboardInterrupt

    before = {
        number: signal.signal(number, note)
        for number in numbers
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        with _lost_interrupts_unseen():
            yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _lost_interrupts_unseen() -> Iterator[None]:
    """Prints no traceback of an interrupt that came where Python can only print it."""
    print_others = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            print_others(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = print_others


def _print_error(message: str) -> None:
    console.print(f"error: {message}", style="red", markup=False, soft_wrap=True)


def _fail(message: str) -> None:
    _print_error(message)
    raise typer.Exit(USER_ERROR) from None
