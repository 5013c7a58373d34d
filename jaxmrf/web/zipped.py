"""Pictures of several runs as one zip file, made while it is sent: it is never whole anywhere."""

import io
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

CHUNK = 2**20
"""Bytes that are read at once."""

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""Zip files know no time before."""


class Entry(NamedTuple):
    """A file to be.

    Attributes:
      name: in the zip file.
      source: file that is copied, or the content itself.
      created: Unix time.
    """

    name: str
    source: Path | bytes
    created: float


class _Pipe(io.RawIOBase):
    """Takes what is written and gives it on; nobody can go back in it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Returns what was written since the last time."""
        taken, self._parts = b"".join(self._parts), []
        return taken


def stream(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yields the parts of a zip file; pictures are packed already, so they are stored as they are.

    Args:
      entries: files that are gone meanwhile are left out.
    """
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for entry in entries:
            source = entry.source
            try:
                file = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
            except OSError:
                continue
            when = max(EARLIEST, time.localtime(entry.created)[:6])
            with file, archive.open(zipfile.ZipInfo(entry.name, when), "w") as copy:
                while chunk := file.read(CHUNK):
                    copy.write(chunk)
                    yield pipe.take()
    yield pipe.take()
