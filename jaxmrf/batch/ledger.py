"""What a batch has done, on disk: a record for each output, and a lock while it is made.

All of it is in a hidden folder of the outputs', so that a batch that was killed, or another
one on the same folder, knows what is left.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from jaxmrf._version import __version__
from jaxmrf.batch.manifest import Line
from jaxmrf.core.run.lanes import Snapshot
from jaxmrf.errors import FolderError
from jaxmrf.files import atomic
from jaxmrf.networks.weights import Loaded

FOLDER = ".jaxmrf"


class Ledger:
    """The records, locks and saved states of one folder of outputs."""

    def __init__(self, folder: Path, loaded: Loaded, bucket: int) -> None:
        self.folder = folder
        self._own = folder / FOLDER
        self._loaded, self._bucket = loaded, bucket
        for name in ("records", "locks", "states"):
            (self._own / name).mkdir(parents=True, exist_ok=True)

    def identity(self, line: Line) -> dict[str, Any] | None:
        """Returns what an output follows from; it is made anew if that changes.

        None if an input cannot be read: there is nothing to compare with later.
        """
        config = dataclasses.asdict(line.job.config)
        try:
            inputs = {
                kind: [_digest(path, *_stamp(path)) for path in paths]
                for kind, paths in line.inputs.items()
            }
        except OSError:
            return None
        return {
            "inputs": inputs,
            "shape": line.job.shape,
            "config": config,
            "config_sha256": _sha256(config),
            "weights_sha256": self._loaded.sha256,
            "bucket": self._bucket,
        }

    def record(self, line: Line) -> dict[str, Any] | None:
        """Returns the record of a line if it is of the same inputs and settings, else None.

        The record of an output that is gone or not the one that was written does not count.
        """
        try:
            record = json.loads(self._record(line.name).read_text(encoding="utf-8"))
            if record["identity_sha256"] != self._identity_sha256(line):
                return None
            if "error" not in record and (
                atomic.digest(line.job.output, "sha256") != record["output_sha256"]
            ):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record

    def write(
        self, line: Line, seen: Mapping[str, Any], identity: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """Writes the record of an output that is there, or of a failure, and returns it.

        Args:
          line: whose output it is.
          seen: what is to be known of it; with ``error`` for a failure.
          identity: from `identity`, taken before the inputs were read.

        Raises:
          OSError: if it cannot be written.
        """
        record = {
            "output": line.name,
            "line": line.number,
            "jaxmrf": __version__,
            **seen,
        }
        if identity is not None:
            record |= {"identity_sha256": _sha256(identity), **identity}
        if "error" not in seen:
            record["output_sha256"] = atomic.digest(line.job.output, "sha256")
        with atomic.write(self._record(line.name)) as file:
            file.write(json.dumps(record, indent=1, sort_keys=True).encode() + b"\n")
        return record

    def forget(self, line: Line) -> None:
        """Removes the record of an earlier picture, as a new one is written.

        Who is killed from here on leaves none: the next batch claims the line and clears up.
        """
        self._record(line.name).unlink(missing_ok=True)

    def write_failure(self, line: Line, error: str) -> dict[str, Any]:
        """Writes the record of a failure, with the inputs as they are now, and returns it.

        Raises:
          OSError: if it cannot be written.
        """
        return self.write(line, {"error": error}, self.identity(line))

    def claim(self, line: Line) -> filelock.FileLock | None:
        """Returns the lock of an output, None if another batch is at it.

        The lock goes with the process that holds it, however that ends. What a killed one
        left half-written is removed here, since nobody else can be writing it now.

        Raises:
          ConfigError: if the folder may not be written to.
          OSError: if the disk is full, or else cannot be written.
        """
        path = self._own / "locks" / f"{_key(line.name)}.lock"
        # Taken and given back by different threads.
        lock = filelock.FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            return None
        except PermissionError as error:
            raise FolderError(f"cannot write to {path.parent}: {error.strerror}") from None
        for path in (line.job.output, self._record(line.name), self._state(line.name)):
            atomic.clear(path)
        return lock

    def save_state(self, first: Line, lines: list[Line], lanes: int, snapshot: Snapshot) -> None:
        """Saves the state of lanes in flight, under the name of one that is not failing.

        Raises:
          OSError: if it cannot be written.
        """
        arrays = {f"array{index}": array for index, array in enumerate(snapshot.arrays)}
        about = {"lines": [self._named(line) for line in lines], "lanes": lanes}
        with atomic.write(self._state(first.name)) as file:
            np.savez(
                file,
                about=np.frombuffer(json.dumps(about).encode(), np.uint8),
                position=np.array([snapshot.level, snapshot.iteration]),
                value=snapshot.value,
                finite=snapshot.finite,
                **arrays,  # pyright: ignore[reportArgumentType]  # none is called allow_pickle
            )

    def saved_beside(self, first: Line, lines: Iterable[Line], lanes: int) -> list[Line]:
        """Returns those of `lines` that were saved with `first`, for as many lanes."""
        saved = self._saved(first, lanes)
        return [line for line in lines if saved and self._named(line) in saved]

    def load_state(self, lines: list[Line], lanes: int) -> Snapshot | None:
        """Returns the state saved under the first of some lines, a lane for each; or None.

        Lanes that are not filled are copies of the first, as they are from the start.
        """
        saved = self._saved(lines[0], lanes)
        if not saved or any(self._named(line) not in saved for line in lines):
            return None
        rows = [saved.index(self._named(line)) for line in lines]
        rows += rows[:1] * (lanes - len(rows))
        with np.load(self._state(lines[0].name), allow_pickle=False) as file:
            count = sum(name.startswith("array") for name in file.files)
            arrays = [file[f"array{index}"] for index in range(count)]
            level, iteration = file["position"].tolist()
            value, finite = file["value"], file["finite"]
        arrays = [array[rows] if array.ndim else array for array in arrays]
        return Snapshot(level, iteration, arrays, value[rows], finite[rows])

    def drop_state(self, line: Line) -> None:
        """Removes what was saved under the name of a line that is done.

        If lines that were saved with it are not done, it becomes theirs.
        """
        for name, identity in self._about(line.name).get("lines", []):
            if name != line.name and not self._settled(name, identity):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(self._state(line.name), self._state(name))
                return
        self._state(line.name).unlink(missing_ok=True)

    def publish(self, name: str, content: bytes) -> None:
        """Writes a file of the whole batch, such as its report, beside the outputs.

        Raises:
          OSError: if it cannot be written.
        """
        path = self.folder / name
        with filelock.FileLock(self._own / "locks" / "batch.lock"):
            atomic.clear(path)
            with atomic.write(path) as file:
                file.write(content)

    def _saved(self, first: Line, lanes: int) -> list[list[str | None]]:
        """Returns what was saved under the name of a line; nothing if for other lanes."""
        about = self._about(first.name)
        return about["lines"] if about.get("lanes") == lanes else []

    def _about(self, name: str) -> dict[str, Any]:
        """Returns the lines and lanes of the state under a name; empty if there is none."""
        try:
            with np.load(self._state(name), allow_pickle=False) as file:
                return json.loads(file["about"].tobytes())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return {}

    def _settled(self, name: str, identity: str) -> bool:
        """Whether an output is there, or failed, with inputs and settings of this digest."""
        try:
            record = json.loads(self._record(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return record.get("identity_sha256") == identity

    def _identity_sha256(self, line: Line) -> str | None:
        identity = self.identity(line)
        return None if identity is None else _sha256(identity)

    def _named(self, line: Line) -> list[str | None]:
        return [line.name, self._identity_sha256(line)]

    def _record(self, name: str) -> Path:
        return self._own / "records" / f"{_key(name)}.json"

    def _state(self, name: str) -> Path:
        return self._own / "states" / f"{_key(name)}.npz"


def _key(name: str) -> str:
    """Returns a file's name for an output's: outputs may lie in folders, or have long names."""
    return f"{Path(name).name[:40]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=4096)
def _digest(path: Path, size: int, modified: int) -> str:
    """Returns a file's digest, computed once for as long as the file stays the same."""
    return atomic.digest(path, "sha256")
