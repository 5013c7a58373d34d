"""The networks of runs: loaded when one is asked for, and again when its file changes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import jax

from jaxmrf.core.features import Network
from jaxmrf.networks import weights
from jaxmrf.networks.weights import Loaded

Kept = TypeVar("Kept")
Stamp = tuple[Path, int, int]


class Networks(Generic[Kept]):
    """Networks by the name that the command line has for them.

    Args:
      weights_file: weights in place of all others.
      keep: what is kept of a network.
    """

    def __init__(self, weights_file: Path | None, keep: Callable[[Loaded], Kept]) -> None:
        self._weights_file, self._keep = weights_file, keep
        self._kept: dict[str, tuple[Stamp | None, Kept]] = {}

    def get(self, name: str) -> Kept:
        """Returns what is kept of a network.

        Raises:
          WeightsError: if its weights are missing or damaged.
        """
        stamp = self._stamp(name)
        if name not in self._kept or self._kept[name][0] != stamp:
            self._kept[name] = stamp, self._keep(weights.load(name, self._weights_file))
        return self._kept[name][1]

    def _stamp(self, name: str) -> Stamp | None:
        """Returns which file `weights.load` takes, its size and time; None if it is not there."""
        chosen = self._weights_file or os.environ.get(weights.ENVIRONMENT)
        path = Path(chosen) if chosen else weights.find(name)
        try:
            status = path.stat()
        except OSError:
            return None
        return path, status.st_size, status.st_mtime_ns


def shapes_of(loaded: Loaded) -> Network:
    """Returns a network with shapes in the place of its parameters: enough to plan a run."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), loaded.network)
