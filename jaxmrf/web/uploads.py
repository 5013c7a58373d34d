"""The pictures that clients bring: received within limits, encoded again, kept by opaque ids."""

import asyncio
import contextlib
import dataclasses
import json
import os
import secrets
import tempfile
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from PIL import Image

from jaxmrf.errors import ImageError
from jaxmrf.files import atomic
from jaxmrf.web.reader import Reader, view_of

MAX_BYTES = 64_000_000
"""Bytes of an upload."""

MAX_NAME = 80
"""Characters of the name of a picture."""

AT_ONCE = 4
"""Uploads received at the same time; others wait."""

PATIENCE = 180.0
"""Seconds after which an upload that is not complete is given up."""

ORPHAN_SECONDS = 24 * 3600.0
"""A picture that no run uses goes when nobody has wanted it for this time."""

FORM_SECONDS = 3600.0
"""Time that a picture stays even where space is wanted: an open form may use it."""

FULL = "the disk space of this server is used up; delete runs from the gallery"

_PREFIX = "picture-"


class Room(Protocol):
    """Tells how many bytes may still be written."""

    def __call__(self, *, fresh: bool = False) -> int:
        """Returns the bytes; looked up just now if they must be `fresh`."""
        ...


class UploadError(Exception):
    """An upload that is refused.

    Attributes:
      status: HTTP status that says why.
      control: ``content`` or ``style`` if it is about that one.
    """

    def __init__(self, status: int, message: str, control: str | None = None) -> None:
        super().__init__(message)
        self.status, self.control = status, control


@dataclasses.dataclass(frozen=True)
class Upload:
    """A picture on disk.

    Attributes:
      id: opaque name.
      title: what the client's file was called; shown, never used as a path.
      path: the picture.
      view: smaller rendition for the page.
      width: pixels.
      height: pixels.
      created: Unix time; 0 for an example.
    """

    id: str
    title: str
    path: Path
    view: Path
    width: int
    height: int
    created: float


class Pictures:
    """Pictures in a folder, and the examples of this package.

    Args:
      folder: where they are kept.
      room: returns how many bytes may still be written; looks anew if told so.
      reader: decodes and encodes them.
      examples: pictures that are always there, by title.

    Attributes:
      used: returns the ids of the pictures that runs use.
    """

    def __init__(
        self,
        folder: Path,
        room: Room,
        reader: Reader,
        examples: Mapping[str, Path],
    ) -> None:
        self.used: Callable[[], set[str]] = set
        self._folder, self._room, self.reader = folder, room, reader
        self._gate = asyncio.Semaphore(AT_ONCE)
        folder.mkdir(parents=True, exist_ok=True)
        self._uploads: dict[str, Upload] = {}
        self._wanted: dict[str, float] = {}
        for title, path in examples.items():
            with Image.open(path) as opened:
                size = opened.size
            name = f"example-{Path(title).stem}"
            self._uploads[name] = Upload(name, title, path, path, *size, created=0.0)
        for record in folder.glob(f"{_PREFIX}*.json"):
            upload = _read_record(record)
            if upload is not None:
                self._uploads[upload.id] = upload
        known = {file.name for upload in self._uploads.values() for file in _files(upload)}
        for pattern in (f"{_PREFIX}*", ".upload-*", ".jaxmrf-*"):
            for file in folder.glob(pattern):  # what a server that was killed left half-way
                if file.name not in known:
                    file.unlink(missing_ok=True)

    def find(self, name: object) -> Upload | None:
        """Returns the picture with an id."""
        if not isinstance(name, str) or name not in self._uploads:
            return None
        self._wanted[name] = time.time()
        return self._uploads[name]

    def examples(self) -> list[Upload]:
        """Returns the examples."""
        return [upload for upload in self._uploads.values() if not upload.created]

    async def receive(self, chunks: AsyncIterator[bytes], title: str) -> Upload:
        """Stores a picture from the parts of a request body.

        Raises:
          UploadError: if it is too large, too slow, no picture, or there is no room.
        """
        async with self._gate:
            self.make_room(MAX_BYTES)
            with self._temporary() as temporary:
                await _receive(chunks, temporary)
                name = secrets.token_urlsafe(12)
                target = self._folder / f"{_PREFIX}{name}"
                try:
                    path, size = await self.reader.decode(temporary, target)
                except ImageError as error:
                    raise UploadError(422, str(error)) from None
        view = view_of(target)
        try:  # encoded again, a picture may take many times the space
            self.make_room(0)
        except UploadError:
            for left in (path, view):
                left.unlink(missing_ok=True)
            raise
        upload = Upload(name, clean_title(title), path, view, *size, created=time.time())
        record = dataclasses.asdict(upload) | {"path": path.name, "view": view.name}
        try:
            with atomic.write(_files(upload)[-1]) as file:
                file.write(json.dumps(record).encode())
        except OSError as error:
            for left in (path, view):
                left.unlink(missing_ok=True)
            raise UploadError(507, f"cannot store the picture: {error.strerror}") from None
        self._uploads[name] = upload
        return upload

    def reap(self) -> None:
        """Removes the uploads that no run uses and nobody has wanted for `ORPHAN_SECONDS`."""
        for upload in self._unused(ORPHAN_SECONDS):
            self._remove(upload)

    def make_room(self, wanted: int) -> None:
        """Removes unused uploads, the oldest first, until there is room for so many bytes.

        Raises:
          UploadError: if there is none after all.
        """
        if self._room() >= wanted > 0:
            return
        unused = self._unused(FORM_SECONDS)
        while self._room(fresh=True) < wanted:
            if not unused:
                raise UploadError(507, FULL)
            self._remove(unused.pop(0))

    def _unused(self, seconds: float) -> list[Upload]:
        """Returns the uploads that no run uses and nobody wanted lately, the oldest first."""
        latest, used = time.time() - seconds, self.used()
        wanted = {
            upload.id: max(upload.created, self._wanted.get(upload.id, 0.0))
            for upload in self._uploads.values()
            if upload.created and upload.id not in used
        }
        old = sorted((when, name) for name, when in wanted.items() if when < latest)
        return [self._uploads[name] for _, name in old]

    def _remove(self, upload: Upload) -> None:
        del self._uploads[upload.id]
        self._wanted.pop(upload.id, None)
        for file in _files(upload):
            file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        """Yields a file that is gone afterwards."""
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".upload-")
        os.close(descriptor)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


def clean_title(title: str) -> str:
    """Returns the name of a client's file as one short line without folders.

    Example:
      >>> clean_title("../../etc/passwd")
      'passwd'
    """
    base = title.replace("\\", "/").rpartition("/")[2]
    printable = "".join(sign for sign in base if unicodedata.category(sign)[0] != "C")
    stem, dot, suffix = printable.strip().rpartition(".")
    shorter = f"{stem[: MAX_NAME - 6]}{dot}{suffix[:5]}" if stem else printable[:MAX_NAME]
    return shorter.strip(" .") or "picture"


async def _receive(chunks: AsyncIterator[bytes], path: Path) -> None:
    """Writes a request body to a file, stopping at the limits."""
    received = 0
    try:
        async with asyncio.timeout(PATIENCE):
            with path.open("wb") as file:
                async for chunk in chunks:
                    received += len(chunk)
                    if received > MAX_BYTES:
                        raise too_large()
                    file.write(chunk)
    except TimeoutError:
        raise UploadError(408, "the upload took too long; try again") from None
    except OSError as error:
        raise UploadError(507, f"cannot store the picture: {error.strerror}") from None
    if not received:
        raise UploadError(422, "this file is empty")


def too_large() -> UploadError:
    """Returns the refusal of an upload that has too many bytes."""
    return UploadError(413, f"this file is larger than {MAX_BYTES // 10**6} MB")


def _read_record(record: Path) -> Upload | None:
    """Returns the picture that a record describes, None if any of it is missing."""
    try:
        values = json.loads(record.read_bytes())
        values |= {key: record.with_name(values[key]) for key in ("path", "view")}
        upload = Upload(**values)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return upload if upload.path.exists() and upload.view.exists() else None


def _files(upload: Upload) -> tuple[Path, Path, Path]:
    return upload.path, upload.view, upload.path.with_name(f"{_PREFIX}{upload.id}.json")
