"""Files that appear whole or not at all, and their digests."""

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX, _DIGITS = ".jaxmrf-", 16
_PREFIX_LENGTH = len(_PREFIX) + _DIGITS + 1


def digest(path: Path, algorithm: str) -> str:
    """Returns the hexadecimal digest of a file, by ``md5`` or ``sha256``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def clear(path: Path) -> None:
    """Removes what a killed writer of `path` left; for callers that alone may write it now."""
    path = Path(os.path.realpath(path))
    for left in path.parent.glob(f"{prefix(path)}*"):
        left.unlink(missing_ok=True)


def left_in(folder: Path) -> dict[str, list[str]]:
    """Returns what writers left in a folder, or are writing now, by `prefix` of what it becomes."""
    left: dict[str, list[str]] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX):
                left.setdefault(entry.name[:_PREFIX_LENGTH], []).append(entry.name)
    return left


@contextlib.contextmanager
def write(path: Path) -> Iterator[io.BufferedWriter]:
    """Opens a file that takes the name `path` only once it is complete and on disk.

    A unique temporary name in the same folder, fsync, rename, fsync of the folder. If
    anything fails the temporary file is removed and `path` stays as it was. A symbolic link
    stays one: its target is written.
    """
    path = Path(os.path.realpath(path))
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix(path))
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def prefix(path: Path) -> str:
    """Returns what the temporary names of `path` start with; a digest, as names may be long."""
    return f"{_PREFIX}{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:_DIGITS]}-"
