"""What all commands share: the console, and errors of the user as one line."""

import contextlib
from collections.abc import Iterator

import typer
from rich.console import Console

from jaxmrf import device, paint, weights
from jaxmrf.config import ConfigError
from jaxmrf.image import ImageError

USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """Prints a line to standard error, not wrapped, brackets as they are."""
    console.print(text, markup=False, soft_wrap=True)


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turns errors of the user into one line and an exit code."""
    try:
        yield
    except (ConfigError, ImageError, weights.WeightsError, device.DeviceError) as error:
        _fail(str(error))
    except paint.StoppedError as stopped:
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


def _fail(message: str) -> None:
    console.print(f"error: {message}", style="red", markup=False, soft_wrap=True)
    raise typer.Exit(USER_ERROR) from None
