"""The cache of compiled programs: used in silence, and mended where it is damaged."""

import contextlib
import glob
import json
import os
import re
import stat
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import jax
import platformdirs

from jaxmrf.files import atomic

MAX_BYTES = 2**30
"""The least recently used programs go beyond this, when a command starts."""

COMPILATION = "seconds-of-compilation"
"""Name of the numbers that say how long programs took to compile, by their name."""

_WARNING = re.compile(r"Error (reading|writing) persistent compilation cache entry for '([^']+)'")
"""How JAX says that an entry is of no use; it compiles then (`jax._src.compiler`)."""


def folder() -> Path:
    """Returns the folder of compiled programs, whether it exists or not."""
    return Path(platformdirs.user_cache_dir("jaxmrf")) / "programs"


def read_numbers(name: str) -> dict[str, float]:
    """Returns the numbers that earlier runs measured and kept under a name; empty if none."""
    try:
        read = json.loads(_file_of(name).read_text("utf-8"))
        return {str(key): float(number) for key, number in read.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def write_numbers(name: str, numbers: Mapping[str, float]) -> None:
    """Keeps what `read_numbers` returns, where that can be."""
    file = _file_of(name)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic.write(file) as stream:
            stream.write(json.dumps(numbers, sort_keys=True).encode())


def _file_of(name: str) -> Path:
    return folder().parent / f"{name}.json"


def enable() -> None:
    """Keeps compiled programs on disk, so that a second run starts quickly.

    Its entries are code that a later run trusts, so only the user may enter the folder. One that
    is read-only or somebody else's is used as it is, unless everybody may write there. Where
    there is none, programs are compiled anew. Nothing of this is said: a run works without it.
    """
    programs = folder()
    with contextlib.suppress(OSError):
        programs.mkdir(mode=0o700, parents=True, exist_ok=True)
        programs.chmod(0o700)
        # JAX's own limit looks at all entries whenever it adds one, and lets nobody read meanwhile:
        # a fifth of a second for each program where there are four thousand.
        prune(programs, MAX_BYTES)
    try:
        usable = not programs.stat().st_mode & stat.S_IWOTH
    except OSError:
        return
    if usable and os.access(programs, os.R_OK | os.X_OK):
        jax.config.update("jax_compilation_cache_dir", str(programs))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
        warnings.filterwarnings("always", message=_WARNING.pattern)
        warnings.showwarning = show_others


def prune(programs: Path, max_bytes: int) -> None:
    """Removes the least recently used files of a folder until the others fit.

    When a file was read the file system notes once a day, or not at all; then its writing counts.

    Args:
      programs: the folder, which has no folders.
      max_bytes: what the files that stay may have together.

    Raises:
      OSError: if a file cannot be removed.
    """
    files = {path: path.stat() for path in programs.iterdir()}
    excess = sum(file.st_size for file in files.values()) - max_bytes
    for path, file in sorted(
        files.items(), key=lambda entry: max(entry[1].st_atime, entry[1].st_mtime)
    ):
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= file.st_size


_show = warnings.showwarning


def show_others(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Shows a warning, in the place of `warnings.showwarning`, if it is not of the cache.

    What cannot be read there is removed, so that it is written again: JAX never replaces an
    entry. A full disk leaves such ones, cut off.
    """
    told = _WARNING.match(str(message))
    if told is None:
        _show(message, category, filename, lineno, file, line)
    elif told[1] == "reading":
        with contextlib.suppress(OSError):
            _remove_damaged(folder(), told[2])


def _remove_damaged(programs: Path, name: str) -> None:
    """Removes the entries of a program that are damaged; all of them if none seems to be."""
    entries = list(programs.glob(f"{glob.escape(name)}-*"))
    damaged = [entry for entry in entries if not _is_whole(entry)]
    for entry in damaged or entries:
        entry.unlink(missing_ok=True)


def _is_whole(entry: Path) -> bool:
    """Whether an entry can be unpacked; those of zstd, which not every Python knows, are not."""
    try:
        zlib.decompress(entry.read_bytes())
    except zlib.error:
        return False
    return True
