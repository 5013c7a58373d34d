"""Files that appear whole or not at all, and their digests."""

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def digest(path: Path, algorithm: str) -> str:
    """Returns the hexadecimal digest of a file, by ``md5`` or ``sha256``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[io.BufferedWriter]:
    """Opens a file that takes the name `path` only once it is complete and on disk.

    A unique temporary name in the same folder, fsync, rename, fsync of the folder. If
    anything fails the temporary file is removed and `path` stays as it was.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".jaxmrf-")
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
