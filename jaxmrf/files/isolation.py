"""Functions in a process of their own, which may crash, hang, or take too much memory.

Parsers of foreign files are written in C and allocate what a file claims: what becomes of them is
one line here. The process is ``python -m MODULE``, which calls `answer`.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from jaxmrf import errors

_PACKAGE_FOLDER = Path(__file__).resolve().parents[2]


class EndedError(Exception):
    """A process that ended without an answer; the message says how, after "it"."""


def run(module: str, arguments: Sequence[str], *, seconds: float) -> bytes:
    """Returns what a module answers in a process of its own.

    It does not get Ctrl-C, which ends it all the same as this process waits for it.

    Args:
      module: that calls `answer` when it is run.
      arguments: for the function that it answers by.
      seconds: that it may take.

    Raises:
      UserError: that the function raised, of the same kind.
      OSError: likewise.
      EndedError: if it raised anything else, crashed, or took too much time or memory.
    """
    # -P: a file numpy.py in the working folder, beside what was downloaded, is not for it.
    folders = [*filter(None, sys.path), str(_PACKAGE_FOLDER)]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(folders),
                "OPENBLAS_NUM_THREADS": "1",  # else it allocates for as many as there are cores
            },
            start_new_session=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EndedError(f"took more than {seconds:.0f} seconds") from None
    status, separator, content = done.stdout.partition(b"\n")
    if done.returncode or not separator:
        raise EndedError(_ending(done.returncode))
    match json.loads(status):
        case [kind, *details] if kind == "OSError":
            raise OSError(*details)
        case [kind, *details] if kind in vars(errors):
            raise getattr(errors, kind)(*details)
        case [_, how]:
            raise EndedError(how)
    return content


def answer(function: Callable[..., bytes], *, memory_bytes: int, seconds: float) -> None:
    """Answers `run` by what a function makes of the arguments of this process.

    Args:
      function: takes strings.
      memory_bytes: that it may take beside what is loaded already.
      seconds: of computing after which it is ended, should nobody wait for it any more.
    """
    out = messages()
    limit(memory_bytes, seconds)
    status, content = [], b""
    try:
        content = function(*sys.argv[1:])
    except errors.UserError as error:
        status = [type(error).__name__, str(error)]
    except OSError as error:
        status = ["OSError", error.errno, error.strerror or str(error), error.filename]
    except MemoryError:
        status = ["EndedError", "took too much memory"]
    except Exception as error:  # whatever a library stumbles over
        status = ["EndedError", f"failed: {error!r}"]
    out.write(json.dumps(status).encode() + b"\n")
    out.write(content)
    out.close()


def messages() -> BinaryIO:
    """Returns what was standard output; whatever a library prints does not get there any more."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def limit(memory_bytes: int, seconds: float | None = None) -> None:
    """Limits what this process takes from here on, where the system can; it dumps no core.

    Args:
      memory_bytes: of address space beside what it has.
      seconds: of computing; None: any number.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted: dict[int, Any] = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: psutil.Process().memory_info().vms + memory_bytes,
    }
    if seconds is not None:
        wanted[resource.RLIMIT_CPU] = int(seconds)
    for kind, value in wanted.items():
        highest = resource.getrlimit(kind)[1]
        if highest != resource.RLIM_INFINITY:
            value = min(value, highest)
        with contextlib.suppress(OSError, ValueError):  # not every system has each of them
            resource.setrlimit(kind, (value, highest))


def _ending(code: int) -> str:
    """Returns how a process ended that did not answer, by its exit code."""
    if code >= 0:
        return f"ended with exit code {code}"
    if code == -getattr(signal, "SIGXCPU", 0):
        return "took too much time"
    return f"crashed ({(signal.strsignal(-code) or f'signal {-code}').lower()})"
