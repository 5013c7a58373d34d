"""What can go wrong for a user: a class for each kind, and the words that several places say.

Every message is one line (a list of faults has more) that says what is wrong and what to do.
Command line and page tell of a `UserError` as it is; everything else is a fault of jaxmrf.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

NOT_FINITE = "the energy is not finite; try smaller weights"

EXTRAS = {
    "codecs": ("imagecodecs",),
    "heic": ("pillow-heif",),
    "inspect": ("matplotlib",),
    "ray": ("ray",),
    "web": ("starlette", "uvicorn"),
}
"""Libraries of the extras that are asked for when something needs them, as in pyproject.toml."""


def remedy(extra: str) -> str:
    """Returns the command that installs the libraries of an extra, which it names."""
    return f'pip install {" ".join(EXTRAS[extra])} (the extra "{extra}")'


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns a hint at the name that was meant; "" if none is like it.

    Example:
      >>> nearest("achor", ["anchor", "seed"])
      "; did you mean 'anchor'?"
    """
    near = difflib.get_close_matches(name, tuple(names), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


class UserError(Exception):
    """Something that the user can mend."""


class ConfigError(UserError, ValueError):
    """A setting that cannot be used; the message says which and what is allowed.

    Attributes:
      option: long name of the option that can mend it, with ``_``, for forms; None: none alone.
    """

    def __init__(self, message: str, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class ImageError(UserError, ValueError):
    """A picture that cannot be read or written; the message says why."""


class WeightsError(UserError, RuntimeError):
    """Weights that are missing or damaged; the message says what to do."""


class FetchError(UserError, RuntimeError):
    """A download that did not succeed; the message says why and what to do."""


class ConversionError(UserError, ValueError):
    """A weight file that cannot be used; the message says what is wrong with it."""


class DeviceError(UserError, RuntimeError):
    """A device that is not there; the message lists those that are."""


class FolderError(UserError, RuntimeError):
    """A folder that nothing can be kept in."""


class AddressError(UserError, RuntimeError):
    """A port that cannot be listened on, or a cluster that cannot be reached."""


class MissingExtraError(UserError, ImportError):
    """Libraries that are not installed.

    Args:
      user: what needs them.
      extra: that has them, of `EXTRAS`.
    """

    def __init__(self, user: str, extra: str) -> None:
        super().__init__(user, extra)

    def __str__(self) -> str:
        user, extra = self.args
        return f"{user} needs {' and '.join(EXTRAS[extra])}: {remedy(extra)}"


class FullError(UserError):
    """The disk is full; what was written is whole, and the rest is left.

    Args:
      folder: that was written to.
    """

    def __init__(self, folder: Path | str) -> None:
        super().__init__(f"the disk is full: {folder}")


class PairsError(UserError):
    """Some of many pairs were not painted; the others were.

    Args:
      errors: what went wrong, by index of the pair.
      results: of all pairs; None of those that were not painted.
    """

    def __init__(self, errors: Mapping[int, Exception], results: Sequence[Any]) -> None:
        reasons = (f"pair {index}: {error}" for index, error in sorted(errors.items()))
        count = f"{len(errors)} of {len(results)} pairs were not painted"
        super().__init__("\n".join([f"{count}; `results` of this error has the others", *reasons]))
        self.errors, self.results = dict(errors), list(results)


class StoppedError(Exception):
    """A run or a batch that ended early; what was done so far is saved.

    Attributes:
      progress: last progress record of a run; None of a batch.
      interrupted: whether the user stopped it; else its energy was not finite.
    """

    def __init__(self, progress: Any = None, *, interrupted: bool = True) -> None:
        super().__init__("interrupted" if interrupted else NOT_FINITE)
        self.progress = progress
        self.interrupted = interrupted
