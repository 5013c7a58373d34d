"""Downloading one file: resumed where it broke off, and used only if its digest is right."""

import errno
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from jaxmrf.errors import FetchError
from jaxmrf.files import atomic

CHUNK = 2**20
TIMEOUT_SECONDS = 30
ATTEMPTS = 5
PAUSE_SECONDS = 1.0
"""Before the second attempt; doubles with each further one."""


def download(
    url: str,
    part: Path,
    *,
    algorithm: str,
    digest: str,
    max_bytes: int,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> None:
    """Downloads `url` to the file `part`, continuing a download that broke off.

    What was loaded stays in `part` if the connection breaks, for the next call.

    Args:
      url: http or https.
      part: file to write.
      algorithm: of the digest, ``md5`` or ``sha256``.
      digest: expected digest in hexadecimal, or its beginning.
      max_bytes: more than this is not loaded.
      on_progress: called with the bytes loaded and the bytes in all, if known.

    Raises:
      FetchError: if the server refuses, the connection keeps breaking, or the digest is
        wrong; then `part` is removed.
      OSError: if `part` cannot be written.
    """
    if part.exists() and atomic.digest(part, algorithm).startswith(digest):
        return  # loaded by an earlier call that did not get further
    failure = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
        try:
            _load(url, part, max_bytes, on_progress)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part is not a beginning of the file
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise FetchError(f"{url} answers {error.code} {error.reason}") from None
            failure = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            if _is_about_files(error):
                raise
            failure = str(getattr(error, "reason", error)) or type(error).__name__
    else:
        raise FetchError(
            f"cannot load {url}: {failure}; call again to continue, or load the file "
            "yourself and give it to: jaxmrf weights convert FILE"
        )
    file_digest = atomic.digest(part, algorithm)
    if not file_digest.startswith(digest):
        part.unlink()
        raise FetchError(
            f"{url} was altered or damaged: {algorithm} is {file_digest}, expected {digest}"
        )


def _load(
    url: str, part: Path, max_bytes: int, on_progress: Callable[[int, int | None], None]
) -> None:
    """Loads the missing bytes; raises if the connection ends before the last one."""
    loaded = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={loaded}-"} if loaded else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        if response.status != 206:
            loaded = 0  # the server sends the whole file
        length = response.headers.get("Content-Length")
        total = loaded + int(length) if length is not None and length.isdecimal() else None
        if total is not None and total > max_bytes:
            raise FetchError(f"{url} has {total} bytes, more than VGG weights can have")
        with part.open("r+b" if loaded else "wb") as file:
            file.seek(loaded)
            _copy(response, file, loaded, total, max_bytes, on_progress)


def _copy(
    response: http.client.HTTPResponse,
    file: BinaryIO,
    loaded: int,
    total: int | None,
    max_bytes: int,
    on_progress: Callable[[int, int | None], None],
) -> None:
    on_progress(loaded, total)
    while data := response.read(CHUNK):
        file.write(data)
        loaded += len(data)
        if loaded > max_bytes:
            raise FetchError(f"{response.url} sends more bytes than VGG weights can have")
        on_progress(loaded, total)
    if total is not None and loaded < total:
        raise ConnectionError(f"the connection broke after {loaded} of {total} bytes")


def _is_about_files(error: Exception) -> bool:
    """Whether the disk failed and not the network: repeating would not help."""
    return getattr(error, "errno", None) in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EACCES,
        errno.EROFS,
        errno.EIO,
        errno.EFBIG,
    )
