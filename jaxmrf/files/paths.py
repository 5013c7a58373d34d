"""Names of files: which are the same file, which are free, and which are short enough."""

import functools
import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path

USUAL_NAME_BYTES = 255
"""The longest name of most file systems, where one does not tell."""


def identity(path: Path) -> object:
    """Returns what is equal for all names of a file: other spellings and links of both kinds.

    A file that is not there yet is told by its name, links of folders followed. Never fails:
    a link that leads back to itself is told by its own name.

    Example:
      >>> identity(Path("a/../b.png")) == identity(Path("b.png"))
      True
    """
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
    except (OSError, ValueError):
        return real
    return status.st_dev, status.st_ino


def identities() -> Callable[[str | Path], object]:
    """Returns `identity` for very many files: each folder is followed once."""
    real = functools.cache(os.path.realpath)

    def identity_of(path: str | Path) -> object:
        folder, name = os.path.split(path)
        place = os.path.join(real(folder), name)
        try:
            status = os.lstat(place)
        except (OSError, ValueError):
            return place
        if stat.S_ISLNK(status.st_mode) or name in ("", ".", ".."):
            return identity(Path(place))
        return status.st_dev, status.st_ino

    return identity_of


def free(path: Path) -> Path:
    """Returns the path itself if nothing has this name, else with the first free number.

    Example:
      >>> free(Path("nobody-has-this-name.png")).name
      'nobody-has-this-name.png'
    """
    if not os.path.lexists(path):
        return path
    numbered = (path.with_name(f"{path.stem}-{count}{path.suffix}") for count in itertools.count(2))
    return next(name for name in numbered if not os.path.lexists(name))


def beside(path: Path, ending: str) -> Path:
    """Returns a name in the same folder: the stem with another ending, cut to what may be.

    Args:
      path: a file.
      ending: what stands behind the stem.

    Example:
      >>> beside(Path("folder/cat.jpg"), ".preview.png").name
      'cat.preview.png'
    """
    try:
        longest = os.pathconf(path.parent, "PC_NAME_MAX")
    except (OSError, ValueError, AttributeError):
        longest = USUAL_NAME_BYTES
    stem = path.stem
    while len(os.fsencode(stem + ending)) > longest:
        stem = stem[:-1]
    return path.with_name(stem + ending)
