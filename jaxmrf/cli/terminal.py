"""What all commands share: the console, errors of the user as one line, and signals."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any, cast

import typer
import typer.core
from rich.console import Console

from jaxmrf.errors import (
    StoppedError,
    UserError,
)
from jaxmrf.jobs.option_table import nearest

USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# Typer brings its own click from 0.29 on; before, this is click's.
_UsageError = cast(type[typer.BadParameter], typer.BadParameter.__bases__[0])

console = Console(stderr=True, highlight=False)


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
            sys.exit(USER_ERROR)
        except typer.Abort:
            if not standalone_mode:
                raise
            _print_error("aborted")
            sys.exit(1)
        if standalone_mode:
            sys.exit(code if isinstance(code, int) else 0)
        return code


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
def user_errors() -> Iterator[None]:
    """Turns errors of the user into one line and an exit code."""
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
        raise typer.Exit(INTERRUPTED) from None
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None


@contextlib.contextmanager
def noted_signals(*numbers: int, at_once: bool = False) -> Iterator[list[int]]:
    """Yields the list of the signals received so far; a second SIGINT interrupts as well.

    Args:
      numbers: signals that are noted.
      at_once: whether the first SIGINT interrupts. It has to be noted even so: an interrupt that
        comes where Python can only print it, such as in a destructor, is lost.
    """
    received: list[int] = []

    def note(number: int, _: object) -> None:
        received.append(number)
        if number == signal.SIGINT and (at_once or len(received) > 1):
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_error(message: str) -> None:
    console.print(f"error: {message}", style="red", markup=False, soft_wrap=True)


def _fail(message: str) -> None:
    _print_error(message)
    raise typer.Exit(USER_ERROR) from None
