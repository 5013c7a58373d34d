"""Who is at which output: locks of the file system that go with the process that holds them.

All are bytes of one file, which stays empty: byte n is the output whose name has the digest n.
"""

import hashlib
import os
import threading
import weakref
from pathlib import Path

_BITS = 62
"""Of a place in a file, which may lie behind its end."""


class Claim:
    """An output that is ours until it is released."""

    def __init__(self, claims: "Claims", place: int) -> None:
        # Once, by `release` or when nobody knows of it any more.
        self._give_back = weakref.finalize(self, claims.give_back, place)
        self._give_back.atexit = False

    def release(self) -> None:
        """Lets others have the output; a second time does nothing."""
        self._give_back()


class Claims:
    """The claims of one folder of outputs; from `claims_of`.

    Args:
      descriptor: of the file of locks, open for writing. As locks are those of a process, it
        is never closed, and the file not opened a second time.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # Collecting garbage while it is held may release a claim that nobody knows of any more.
        self._lock = threading.RLock()
        self._held: set[int] = set()

    def take(self, name: str) -> Claim | None:
        """Returns the claim of an output; None if this process or another has it.

        Raises:
          OSError: if the file system has no locks.
        """
        import fcntl  # not on Windows

        place = int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8]) >> (64 - _BITS)
        with self._lock:
            if place in self._held:
                return None
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except (BlockingIOError, PermissionError):  # POSIX has both
                return None
            self._held.add(place)
        return Claim(self, place)

    def give_back(self, place: int) -> None:
        """Releases the lock at a place."""
        import fcntl

        with self._lock:
            self._held.discard(place)
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)


def claims_of(path: Path) -> Claims:
    """Returns the claims whose locks are in a file, which is made if need be.

    Raises:
      OSError: if it cannot be opened.
    """
    with _opening:
        known = _of_file.get(_file_of(path)) if path.exists() else None
        if known is None:
            known = Claims(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))
            _of_file[_file_of(path)] = known
        return known


def _file_of(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


_of_file: dict[tuple[int, int], Claims] = {}
_opening = threading.Lock()
