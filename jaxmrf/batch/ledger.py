"""What a batch has done, on disk: a record for each output, and a claim while it is made.

All of it is in a hidden folder of the outputs', so that a batch that was killed, or another
one on the same folder, knows what is left.
"""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from jaxmrf._version import __version__
from jaxmrf.batch.claims import Claim, claims_of
from jaxmrf.batch.lines import Line
from jaxmrf.batch.records import Records
from jaxmrf.core.config import Config
from jaxmrf.core.run.lanes import Snapshot
from jaxmrf.errors import FolderError
from jaxmrf.files import atomic
from jaxmrf.networks.weights import Loaded

FOLDER = ".jaxmrf"

OF_SPEED = ("score_precision",)
"""Settings that no output follows from: they say how matches are found, which are the same."""

FILES_REMEMBERED = 2**16
"""Inputs whose digests are kept: many lines have the same ones."""


class Ledger:
    """The records, claims and saved states of one folder of outputs."""

    def __init__(self, folder: Path, loaded: Loaded, bucket: int) -> None:
        self.folder = folder
        self._own = folder / FOLDER
        self._loaded, self._bucket = loaded, bucket
        for name in ("records", "locks", "states"):
            (self._own / name).mkdir(parents=True, exist_ok=True)
        self._states = self._own / "states"
        self._records = Records(self._own / "records")
        self._claims = claims_of(self._own / "locks" / "outputs.lock")
        # Those of jaxmrf up to 0.2, a file for each output.
        self._has_single_records = any((self._own / "records").glob("*.json"))
        self._has_states = _has_files(self._states)

    def identity(
        self, line: Line, digest_of: Callable[[Path], str] | None = None
    ) -> dict[str, Any] | None:
        """Returns what an output follows from; it is made anew if that changes.

        None if an input cannot be read: there is nothing to compare with later.

        Args:
          line: whose output it is.
          digest_of: returns the digest of an input; None: each is looked at anew.
        """
        try:
            inputs = {
                kind: list(map(digest_of or _digest_of, paths))
                for kind, paths in line.inputs.items()
            }
        except OSError:
            return None
        return {
            "inputs": inputs,
            "shape": line.job.shape and list(line.job.shape),
            "config_sha256": _config(line.job.config)[1],
            "weights_sha256": self._loaded.sha256,
            "bucket": self._bucket,
        }

    def refresh(self) -> None:
        """Takes notice of what other batches have recorded."""
        self._records.refresh()
        self._has_states = _has_files(self._states)

    def record(
        self, line: Line, digest_of: Callable[[Path], str] | None = None
    ) -> dict[str, Any] | None:
        """Returns the record of a line if it is of the same inputs and settings, else None.

        The record of an output that is gone or not the one that was written does not count.

        Args:
          line: whose output it is.
          digest_of: see `identity`.
        """
        record = self._last(line.name)
        try:
            identity = None if record is None else self.identity(line, digest_of)
            if record is None or identity is None:
                return None
            if {name: record[name] for name in identity} != identity:
                return None
            if "error" not in record and not _is_output(line.job.output, record):
                return None
        except (OSError, KeyError, TypeError):
            return None
        return record

    def records(self) -> Callable[[Line], dict[str, Any] | None]:
        """Returns `record` for very many lines: each input is looked at once."""
        digest_of = functools.lru_cache(FILES_REMEMBERED)(_digest_of)
        return functools.partial(self.record, digest_of=digest_of)

    def write(
        self,
        line: Line,
        seen: Mapping[str, Any],
        identity: Mapping[str, Any] | None,
        output_sha256: str | None = None,
    ) -> dict[str, Any]:
        """Writes the record of an output that is there, or of a failure, and returns it.

        Args:
          line: whose output it is.
          seen: what is to be known of it; with ``error`` for a failure.
          identity: from `identity`, taken before the inputs were read.
          output_sha256: digest of the output; None: there is none.

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
            record |= {"identity_sha256": _identity_sha256(line.job.config, identity), **identity}
        if output_sha256 is not None:
            record |= {"output_sha256": output_sha256, "output_stamp": _stamp(line.job.output)}
        self._records.append(record)
        return record

    def forget(self, line: Line) -> None:
        """Removes the record of an earlier picture, as a new one is written.

        Who is killed from here on leaves none, and the line is painted by the next batch.
        """
        if self._last(line.name) is not None:
            self._records.forget(line.name)

    def write_failure(self, line: Line, error: str) -> dict[str, Any]:
        """Writes the record of a failure, with the inputs as they are now, and returns it.

        Raises:
          OSError: if it cannot be written.
        """
        return self.write(line, {"error": error}, self.identity(line))

    def claim(self, line: Line) -> Claim | None:
        """Returns the claim of an output, None if another batch is at it.

        It goes with the process that holds it, however that ends.

        Raises:
          FolderError: if the file system has no locks.
        """
        try:
            claim = self._claims.take(line.name)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
                raise
            raise FolderError(
                f"cannot lock files in {self._own}: {error.strerror}; choose an --out on a file "
                "system with locks"
            ) from None
        if claim is not None:
            if os.path.islink(line.job.output):  # what is half-written lies where it leads
                atomic.clear(line.job.output)
            atomic.clear(self._state(line.name))
        return claim

    def clear_up(self, lines: Iterable[Line], folders: Iterable[Path]) -> None:
        """Removes what killed batches left half-written of some lines.

        Args:
          lines: of a batch.
          folders: that their outputs are in.

        Raises:
          OSError: if it cannot be removed.
        """
        left = {folder: atomic.left_in(folder) for folder in folders}
        if not any(left.values()):
            return
        for line in lines:
            folder = line.job.output.parent
            names = left.get(folder, {}).get(atomic.prefix(line.job.output))
            claim = self._claims.take(line.name) if names else None
            if claim is not None:
                for name in names or ():
                    (folder / name).unlink(missing_ok=True)
                claim.release()

    def save_state(self, first: Line, lines: list[Line], lanes: int, snapshot: Snapshot) -> None:
        """Saves the state of lanes in flight, under the name of one that is not failing.

        Raises:
          OSError: if it cannot be written.
        """
        arrays = {f"array{index}": array for index, array in enumerate(snapshot.arrays)}
        about = {"lines": [self._named(line) for line in lines], "lanes": lanes}
        self._has_states = True
        with atomic.write(self._state(first.name)) as file:
            np.savez(
                file,
                about=np.frombuffer(json.dumps(about).encode(), np.uint8),
                position=np.array([snapshot.level, snapshot.iteration]),
                value=snapshot.value,
                finite=snapshot.finite,
                **arrays,  # pyright: ignore[reportArgumentType]  # none is called allow_pickle
            )

    def saved_beside(
        self, first: Line, lines: Sequence[Line], places: Iterable[int], lanes: int
    ) -> list[int]:
        """Returns the places of those of `lines` that were saved with `first`, for so many lanes.

        Args:
          first: under whose name they were saved.
          lines: of its group.
          places: of those that may be taken.
          lanes: number of lanes.
        """
        names: dict[str, str | None] = dict(self._saved(first, lanes))
        names.pop(first.name, None)
        beside = []
        for place in places if names else ():
            line = lines[place]
            if names.get(line.name, "") == self._identity_sha256(line):
                beside.append(place)
                if len(beside) == len(names):
                    break
        return beside

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
        if not (self._has_states and self._state(line.name).exists()):
            return
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

    def _saved(self, first: Line, lanes: int) -> list[Any]:
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
        record = self._last(name)
        return record is not None and record.get("identity_sha256") == identity

    def _last(self, name: str) -> dict[str, Any] | None:
        """Returns the last record of an output, of whatever inputs."""
        record = self._records.last(name)
        if record is not None or not self._has_single_records or self._records.has(name):
            return record
        try:
            return json.loads((self._own / "records" / f"{_key(name)}.json").read_bytes())
        except (OSError, ValueError):
            return None

    def _identity_sha256(self, line: Line) -> str | None:
        identity = self.identity(line)
        return None if identity is None else _identity_sha256(line.job.config, identity)

    def _named(self, line: Line) -> list[str | None]:
        return [line.name, self._identity_sha256(line)]

    def _state(self, name: str) -> Path:
        return self._states / f"{_key(name)}.npz"


def _key(name: str) -> str:
    """Returns a file's name for an output's: outputs may lie in folders, or have long names."""
    return f"{name.rpartition('/')[2][:40]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _config(config: Config) -> tuple[str, str]:
    """Returns settings as JSON, and their digest."""
    before, after = _around_seed(config.with_seed(0))
    text = f"{before}{config.seed}{after}"
    return text, _sha256(text)


@functools.lru_cache(maxsize=1024)
def _around_seed(config: Config) -> tuple[str, str]:
    """Returns settings as JSON but the seed: most lines differ in nothing else."""
    values = dataclasses.asdict(config)
    for name in OF_SPEED:
        del values[name]
    text = json.dumps(values, sort_keys=True)
    before, key, after = text.partition('"seed": ')
    return before + key, after.removeprefix(str(config.seed))


def _identity_sha256(config: Config, identity: Mapping[str, Any]) -> str:
    """Returns the digest of an identity together with the settings themselves."""
    # As json.dumps writes all of it: settings are many, and the same for most lines.
    before = json.dumps({"bucket": identity["bucket"]})
    after = json.dumps({**identity, "bucket": None}, sort_keys=True).removeprefix('{"bucket": null')
    return _sha256(f'{before[:-1]}, "config": {_config(config)[0]}{after}')


def _is_output(path: Path, record: Mapping[str, Any]) -> bool:
    """Whether a file is the one that was recorded: it is read if its time or size differ."""
    if record.get("output_stamp") == list(_stamp(path)):
        return True
    return atomic.digest(path, "sha256") == record["output_sha256"]


def _has_files(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entries)


def _stamp(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _digest_of(path: Path) -> str:
    """Returns a file's digest as it is now."""
    return _digest(path, *_stamp(path))


@functools.lru_cache(maxsize=FILES_REMEMBERED)
def _digest(path: Path, size: int, modified: int) -> str:
    """Returns a file's digest, computed once for as long as the file stays the same."""
    return atomic.digest(path, "sha256")
