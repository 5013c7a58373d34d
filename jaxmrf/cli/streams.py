"""Pictures and lists from standard input and other pipes, a picture to standard output."""

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxmrf.errors import ImageError

STANDARD = Path("-")
"""What standard input and output are called."""


@contextlib.contextmanager
def readable_files() -> Iterator[Callable[[Path], Path]]:
    """Yields a function from a name to a file that can be read as often as one likes.

    Of a pipe, such as ``-`` or ``/dev/stdin``, this is a copy that goes in the end.
    """
    with contextlib.ExitStack() as stack:
        copies: dict[str, Path] = {}

        def readable(path: Path) -> Path:
            if not _is_pipe(path):
                return path
            source = "/dev/stdin" if path == STANDARD else str(path)
            if source not in copies:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="jaxmrf-"))
                copies[source] = _copied(path, Path(folder) / "input")
            return copies[source]

        yield readable


def is_stream(output: Path) -> bool:
    """Whether an output is no file to be replaced: ``-``, or a pipe or device that is there."""
    return _is_pipe(output)


@contextlib.contextmanager
def written_to(output: Path) -> Iterator[Path]:
    """Yields the file to write an output to; what is in it in the end goes to a stream.

    Args:
      output: a file, which is yielded as it is, or a stream.

    Raises:
      ImageError: if nobody reads the stream.
    """
    if not is_stream(output):
        yield output
        return
    with tempfile.TemporaryDirectory(prefix="jaxmrf-") as folder:
        file = Path(folder) / "picture"
        try:
            yield file
        finally:
            if file.exists():
                _send(file, output)


def _send(picture: Path, output: Path) -> None:
    """Writes the bytes of a finished picture to a stream."""
    try:
        with picture.open("rb") as file, _opened(output) as stream:
            shutil.copyfileobj(file, stream)
            stream.flush()
    except OSError as error:
        raise ImageError(f"cannot write the picture to {output}: {error.strerror}") from None


def _opened(output: Path) -> Any:
    if output == STANDARD:
        return contextlib.nullcontext(sys.stdout.buffer)
    return output.open("wb")


def _is_pipe(path: Path) -> bool:
    if path == STANDARD:
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def _copied(path: Path, copy: Path) -> Path:
    """Copies what a pipe gives to a file, and returns it."""
    if path == STANDARD and sys.stdin.isatty():
        raise ImageError("a - stands for standard input, which is the keyboard here; use a pipe")
    try:
        with contextlib.ExitStack() as stack:
            stream = sys.stdin.buffer
            if path != STANDARD:
                stream = stack.enter_context(path.open("rb"))
            shutil.copyfileobj(stream, stack.enter_context(copy.open("wb")))
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from None
    return copy
