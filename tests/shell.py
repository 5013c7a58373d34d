"""Scripts of bash whose programs this process runs: commands as they are pasted, started once.

Starting Python for each of a hundred commands would take minutes. Here ``jaxmrf`` and ``python`` on
the script's path are small clients: they send their words, folder and streams to this process.
"""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from jaxmrf.cli import app

CLIENT = """#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
    socket.send_fds(server, [json.dumps([words, os.getcwd()]).encode()], [0, 1, 2])
    sys.exit(int(server.recv(3)))
"""


class Call(NamedTuple):
    """A program that a script starts: its words without its name, and its input when it is read."""

    words: list[str]
    read: Callable[[], bytes]


class Answer(NamedTuple):
    """What a program prints, and its exit code."""

    out: bytes = b""
    error: bytes = b""
    code: int = 0


def run(script: str, folder: Path, programs: Mapping[str, Callable[[Call], Answer]]) -> None:
    """Runs a script of bash in a folder; it ends with the first command that fails.

    Args:
      script: its lines.
      folder: to start in.
      programs: those that are run in this process, by name.

    Raises:
      AssertionError: with what was printed, if a command fails.
    """
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listener:
        address = str(Path(place) / "socket")
        listener.bind(address)
        listener.listen()
        listener.settimeout(0.05)
        for name in programs:
            client = Path(place) / name
            client.write_text(CLIENT.format(python=sys.executable, address=address), "utf-8")
            client.chmod(0o700)
        log = io.BytesIO()
        with tempfile.TemporaryFile() as printed, _back_again():
            process = subprocess.Popen(
                ["bash", "-euxo", "pipefail", "-c", script],
                cwd=folder,
                env={**os.environ, "PATH": f"{place}:{os.environ['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
            )
            while process.poll() is None:
                with contextlib.suppress(TimeoutError):
                    _answer(listener.accept()[0], programs, log)
            printed.seek(0)
            assert process.returncode == 0, (printed.read() + log.getvalue()).decode()


def _answer(
    connection: socket.socket, programs: Mapping[str, Callable[[Call], Answer]], log: io.BytesIO
) -> None:
    """Runs one program for a client, with its streams."""
    with connection:
        connection.settimeout(60)
        message, descriptors, _, _ = socket.recv_fds(connection, 2**16, 3)
        (name, *words), folder = json.loads(message)
        os.chdir(folder)
        with (
            open(descriptors[0], "rb") as stdin,
            open(descriptors[1], "wb") as stdout,
            open(descriptors[2], "wb") as stderr,
        ):
            try:
                answer = programs[name](Call(words, stdin.read))
            except Exception:
                answer = Answer(error=traceback.format_exc().encode(), code=1)
            with contextlib.suppress(BrokenPipeError):
                stdout.write(answer.out)
                stdout.flush()
            stderr.write(answer.error)
        connection.send(str(answer.code).encode())


def jaxmrf(call: Call) -> Answer:
    """Runs the command line of jaxmrf."""
    standard_input = call.read() if "-" in call.words else None
    result = CliRunner().invoke(app.app, call.words, input=standard_input)
    error = result.stderr_bytes
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        error += "".join(traceback.format_exception(result.exception)).encode()
    return Answer(result.stdout_bytes, error, result.exit_code)


@contextlib.contextmanager
def _back_again() -> Iterator[None]:
    folder = Path.cwd()
    try:
        yield
    finally:
        os.chdir(folder)
