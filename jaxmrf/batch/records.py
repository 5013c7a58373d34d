"""Records of outputs on disk: files of checked lines that are only ever appended to.

Every process that writes has a file of its own, so that nobody waits for another one. A line
that a killed process left half-written is no line: it does not end, or its sum is wrong.
"""

import json
import os
import re
import secrets
import socket
import threading
import weakref
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

ENDING = ".log"
"""End of the names of record files."""

_OFFSET_BITS, _FILE_BITS = 48, 24
_DECODER = json.JSONDecoder()
_NAME_AND_TURN = re.compile(rb'"output":"([ !#-\[\]-~]*)".*"turn":(\d+)')  # as `_line` sorts them


class _Place(NamedTuple):
    """Where a record is, and how many there were of its output before it."""

    turn: int
    file: int
    offset: int

    def packed(self) -> int:
        """Returns a number: later turns have larger ones. A million take little memory."""
        return (self.turn << _FILE_BITS | self.file) << _OFFSET_BITS | self.offset

    @classmethod
    def unpacked(cls, number: int) -> "_Place":
        """Returns what `packed` made a number of."""
        rest, offset = divmod(number, 1 << _OFFSET_BITS)
        return cls(*divmod(rest, 1 << _FILE_BITS), offset)


class Records:
    """The last record of every output, by its name; safe to use from several threads.

    Only where they are is kept in memory.

    Args:
      folder: of the record files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock, self._syncing = threading.RLock(), threading.Lock()
        self._files: list[Path] = []
        self._read: dict[str, tuple[int, int]] = {}  # by file: its number, and bytes seen
        self._last: dict[int, int] = {}  # hashes of names are much smaller than names
        self._own: int | None = None
        self._open: dict[int, BinaryIO] = {}  # the file that was read last, by its number
        weakref.finalize(self, _close, self._open)
        self._own_number = self._written = self._synced = 0
        self.refresh()

    def refresh(self) -> None:
        """Reads what others have appended since the last time."""
        with self._lock, os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.name.endswith(ENDING):
                    continue
                number, seen = self._read.get(entry.name, (len(self._files), 0))
                if number == len(self._files):
                    self._files.append(Path(entry.path))
                elif self._own is not None and number == self._own_number:
                    continue
                # Opened, even if it seems to be as large as before: so file systems of networks
                # look at it again.
                self._read[entry.name] = number, self._index(number, seen)

    def last(self, name: str) -> dict[str, Any] | None:
        """Returns the last record of an output; None if there is none, or it is forgotten."""
        with self._lock:
            number = self._last.get(hash(name))
            if number is None:
                return None
            place = _Place.unpacked(number)
            if place.file not in self._open:  # most are asked for as they were written
                _close(self._open)
                self._open[place.file] = self._files[place.file].open("rb")
            file = self._open[place.file]
            file.seek(place.offset)
            content = _content(file.readline())
        if content is None:
            return None
        record = _parsed(content)
        if record["output"] != name or "forgotten" in record:
            return None
        del record["turn"]
        return record

    def append(self, record: dict[str, Any]) -> None:
        """Adds the record of the output that it names, and returns when it is on disk.

        Raises:
          OSError: if it cannot be written; what was there stays as it is.
        """
        with self._lock:
            name = hash(record["output"])
            turn = 1 + _Place.unpacked(self._last[name]).turn if name in self._last else 0
            start, content = self._written, _line({**record, "turn": turn})
            descriptor = self._own_file()
            try:
                while content:
                    content = content[os.write(descriptor, content) :]
            except BaseException:
                os.ftruncate(descriptor, start)
                raise
            self._written = end = os.lseek(descriptor, 0, os.SEEK_CUR)
            self._last[name] = _Place(turn, self._own_number, start).packed()
        with self._syncing:
            if self._synced < end:  # else it went with that of another thread
                written = self._written
                os.fsync(descriptor)
                self._synced = written

    def forget(self, name: str) -> None:
        """Lets an output have no record.

        Raises:
          OSError: if that cannot be written.
        """
        self.append({"output": name, "forgotten": True})

    def has(self, name: str) -> bool:
        """Whether there is a record of an output, even if it is forgotten."""
        return hash(name) in self._last

    def _own_file(self) -> int:
        """Returns the file of this process, a new one: nobody goes on with a line cut short."""
        if self._own is None:
            name = f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(6)}{ENDING}"
            path = self._folder / name
            self._own = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
            weakref.finalize(self, os.close, self._own)
            self._own_number = len(self._files)
            self._files.append(path)
            self._read[name] = self._own_number, 0
        return self._own

    def _index(self, number: int, seen: int) -> int:
        """Notes the records of a file from a byte on; returns up to which byte it was read."""
        with self._files[number].open("rb") as file:
            file.seek(seen)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # being written, or never finished
                content = _content(line)
                if content is not None:
                    output, turn = _name_and_turn(content)
                    name, place = hash(output), _Place(turn, number, seen)
                    self._last[name] = max(self._last.get(name, -1), place.packed())
                seen += len(line)
        return seen


def _close(files: dict[int, BinaryIO]) -> None:
    """Closes files, and forgets them."""
    while files:
        files.popitem()[1].close()


def _line(record: dict[str, Any]) -> bytes:
    content = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(content), content)


def _content(line: bytes) -> bytes | None:
    """Returns the record of a line as JSON; None if it is damaged."""
    total, _, content = line[:-1].partition(b" ")
    return content if total == b"%08x" % zlib.crc32(content) else None


def _parsed(content: bytes) -> dict[str, Any]:
    return _DECODER.raw_decode(content.decode())[0]  # sooner than `json.loads`


def _name_and_turn(content: bytes) -> tuple[str, int]:
    """Returns output and turn of a record; all of it is parsed only for unusual names."""
    usual = _NAME_AND_TURN.search(content)
    if usual:
        return usual[1].decode(), int(usual[2])
    record = _parsed(content)
    return record["output"], record["turn"]
