"""Libraries that read pictures say nothing by themselves: what matters is said in our words."""

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType

for _name in ("PIL", "tifffile", "pillow_heif"):  # else what they log goes to standard error
    logging.getLogger(_name).addHandler(logging.NullHandler())


def in_this_program() -> None:
    """Turns off what libraries warn of, unless Python was told what to do with warnings.

    For programs of ours alone: that JAX cannot read or write a compiled program, say, costs
    seconds and nobody has to do anything about it.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


class Shared:
    """A change to the whole process that threads may be inside of together.

    The first that enters makes it, the last that leaves takes it back; each for itself would
    take back what another one made.

    Args:
      make: returns the context manager that makes the change.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self._make, self._lock, self._inside = make, threading.Lock(), 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> None:
        """Makes the change unless it is made already."""
        with self._lock:
            if not self._inside:
                self._stack.enter_context(self._make())
            self._inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Takes the change back if nobody else is inside."""
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._stack.close()


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _no_standard_error() -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # closed: nothing can be written to it
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


warnings_of_python = Shared(_no_warnings)
"""Within it no warning of Python is shown."""

standard_error = Shared(_no_standard_error)
"""Within it nothing gets to standard error, where libtiff writes from C; for moments only."""
