"""The pictures of a folder, and a line about what is in it beside them."""

import collections
import os
from pathlib import Path

from jaxmrf.errors import ConfigError, remedy
from jaxmrf.files import decode, guides

SHOWN = 3
"""Names that a line has of each kind of what is left out."""

_FOLDER = ("folder", "folders")
_NO_PICTURE = ("file that is no picture", "files that are no pictures")
_NO_EXTRA = tuple(
    f"HEIC picture{plural}, which need{verb} {remedy('heic')}"
    for plural, verb in (("", "s"), ("s", ""))
)


def pictures(folder: Path) -> tuple[dict[Path, str], str]:
    """Returns the pictures of a folder, each with a name of its own, and what else is in it.

    Pictures are known by the ends of their names: one that is damaged, may not be read, or is a
    link to nothing is among them, and fails by itself. Hidden files and label pictures
    (``NAME_sem.png``) are neither pictures nor told of.

    Returns:
      The names by path, and one line about what is left out; "" if that is nothing.

    Raises:
      ConfigError: if the folder has no pictures, or cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}")
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"cannot read the folder {folder}: {error.strerror}") from None
    taken, left_out = [], collections.defaultdict(list)
    for path in paths:
        kind = _left_out_as(path)
        if kind is not None:
            left_out[kind].append(path.name.encode(errors="backslashreplace").decode())
        elif not path.name.endswith(guides.ENDING):
            taken.append(path)
    told = "; ".join(_told(kind, names) for kind, names in left_out.items())
    if not taken:
        raise ConfigError(f"there are no pictures in {folder}{told and f', only {told}'}")
    stems = collections.Counter(path.stem for path in taken)
    names = {path: path.stem if stems[path.stem] == 1 else path.name for path in taken}
    return names, told and f"left out of {folder}: {told}"


def _left_out_as(path: Path) -> tuple[str, ...] | None:
    """Returns why an entry of a folder is no picture, for one and for several; None if it is."""
    ending = path.suffix.lower()
    # Unlike those of Path, these functions never raise: what may not be looked at fails later.
    if os.path.isdir(path):
        return _FOLDER
    if ending in decode.FORMATS["HEIF"].suffixes and not decode.reads_heif():
        return _NO_EXTRA
    if ending not in decode.SUFFIXES or (os.path.exists(path) and not os.path.isfile(path)):
        return _NO_PICTURE
    return None


def _told(kind: tuple[str, ...], names: list[str]) -> str:
    """Returns how many there are of a kind, with the first names."""
    shown = ", ".join([*names[:SHOWN], *["…"][: len(names) - SHOWN]])
    return f"{len(names)} {kind[len(names) > 1]} ({shown})"
