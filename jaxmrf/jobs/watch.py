"""What is written while a job runs: previews and the trace."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from jaxmrf.core.run.progress import Progress
from jaxmrf.errors import ImageError
from jaxmrf.files import image, paths
from jaxmrf.files.image import Picture
from jaxmrf.jobs.job import Job


class Watch:
    """Writes previews and trace lines as a run goes on; their failure does not end it."""

    def __init__(
        self, job: Job, record: Mapping[str, object], on_warning: Callable[[str], Any]
    ) -> None:
        self._job, self._record, self._warn = job, record, on_warning
        self._trace: TextIO | None = None
        self._trace_path, self._writes_previews = job.trace, job.preview_every > 0
        self._preview = preview_of(job.output)
        self._preview_is_ours = False
        self._started = time.monotonic()

    def close(self) -> None:
        """Closes the trace."""
        if self._trace is not None:
            with contextlib.suppress(OSError):
                self._trace.close()

    def clear(self) -> None:
        """Removes the preview, which is of no use beside the picture; else it is what is left."""
        if self._preview_is_ours:
            with contextlib.suppress(OSError):
                self._preview.unlink(missing_ok=True)

    def see(self, progress: Progress) -> None:
        """Writes what is due after an iteration."""
        if progress.iteration == 0 and progress.decoded == 0:
            return
        if self._trace_path is not None and progress.iteration:
            try:
                self._write_line(self._trace_path, progress)
            except OSError as error:
                self._trace_path = None
                self._warn(f"warning: the trace ends here: {error.strerror}")
        if self._writes_previews and progress.iteration % self._job.preview_every == 0:
            picture = Picture(np.asarray(progress.picture()))
            record = {**self._record, "preview": position(progress)}
            try:
                image.save(self._preview, picture, record)
                self._preview_is_ours = True
            except ImageError as error:
                self._writes_previews = False
                self._warn(f"warning: no more previews: {error}")

    def _write_line(self, path: Path, progress: Progress) -> None:
        if self._trace is None:
            self._trace = path.open("w", encoding="utf-8")
        line = {
            **position(progress),
            "energy": progress.value,
            "terms": progress.terms,
            "gradient_norm": progress.gradient_norm,
            "seconds": round(time.monotonic() - self._started, 3),
        }
        if not math.isnan(progress.exact_matches):
            line["exact_matches"] = progress.exact_matches
        self._trace.write(json.dumps(line) + "\n")
        self._trace.flush()


def preview_of(output: Path) -> Path:
    """Returns where previews of a picture are written to; they go when it is finished.

    ``NAME.preview.png``, or with a number where something lies that is no preview of ours. What
    a run that was killed left there is.
    """
    place = paths.beside(output, ".preview.png")
    with contextlib.suppress(ImageError):
        if not place.is_symlink() and "preview" in image.read_settings(place):
            return place
    return paths.free(place)


def position(progress: Progress) -> dict[str, int]:
    """Returns where a run is, as previews, traces and stopped pictures say it."""
    return {"level": progress.level + 1, "iteration": progress.iteration}
