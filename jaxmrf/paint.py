"""One job from files to a file: pictures in, previews and trace on the way, picture out."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

import jaxmrf
from jaxmrf import api, image, pyramid, weights
from jaxmrf.config import Config
from jaxmrf.image import ImageError, Picture
from jaxmrf.transfer import NonFiniteEnergyError, Plan, Progress

MAX_OUTPUT_PIXELS = 100_000_000


@dataclasses.dataclass(frozen=True)
class Job:
    """What to paint.

    Attributes:
      style: the painting.
      output: file of the finished picture.
      config: settings.
      content: the photograph; None for un-guided synthesis.
      shape: (height, width) of an un-guided synthesis.
      initial: picture to start from.
      preview_every: iterations between previews, 0 for none.
      trace: JSON Lines file with one record per iteration.
    """

    style: Path
    output: Path
    config: Config
    content: Path | None = None
    shape: tuple[int, int] | None = None
    initial: Path | None = None
    preview_every: int = 0
    trace: Path | None = None

    @property
    def preview(self) -> Path:
        """The file that previews are written to; it goes when the picture is finished."""
        return self.output.with_name(f"{self.output.stem}.preview.png")


class StoppedError(Exception):
    """A run that ended early; the picture so far is in the output file.

    Attributes:
      progress: the last progress record.
      interrupted: whether the user stopped it; else its energy was not finite.
    """

    def __init__(self, progress: Progress, *, interrupted: bool) -> None:
        super().__init__("interrupted" if interrupted else "energy not finite")
        self.progress = progress
        self.interrupted = interrupted


def paint(
    job: Job,
    network: weights.Loaded,
    *,
    on_plan: Callable[[Plan], Any] = lambda plan: None,
    on_progress: Callable[[Progress], Any] = lambda progress: None,
) -> Progress:
    """Runs a job and writes its picture, all of it or nothing.

    Args:
      job: what to paint.
      network: from `weights.load`.
      on_plan: called once, before the first iteration.
      on_progress: called when a level starts and after each iteration.

    Returns:
      The last progress record.

    Raises:
      ImageError: if a picture cannot be read or written.
      ConfigError: if a setting cannot be used.
      StoppedError: if Ctrl-C or a non-finite energy ended it; the output holds the last
        good picture.
    """
    image.check_output(job.output)
    content = None if job.content is None else image.load(job.content)
    style = image.load(job.style)
    initial = None if job.initial is None else image.load(job.initial)
    shape = job.shape or pyramid.fit(*content.pixels.shape[:2], job.config.size)
    if shape[0] * shape[1] > MAX_OUTPUT_PIXELS:
        raise ImageError(
            f"{shape[1]}×{shape[0]} is more than 100 megapixels; choose a smaller size"
        )
    settings = _settings(job, network, shape)
    last: Progress | None = None

    with _trace_file(job.trace) as trace:
        watch = _Watch(job, settings, trace)
        records = api.iterate(
            None if content is None else content.pixels,
            style.pixels,
            shape,
            job.config,
            initial=None if initial is None else initial.pixels,
            network=network,
            on_plan=on_plan,
        )
        try:
            for last in records:
                watch.see(last)
                on_progress(last)
        except KeyboardInterrupt:
            if last is None:
                raise
            _deliver(job, last, content, {**settings, "stopped": _position(last)})
            raise StoppedError(last, interrupted=True) from None
        except NonFiniteEnergyError as error:
            last = error.progress
            _deliver(job, last, content, {**settings, "stopped": _position(last)})
            raise StoppedError(last, interrupted=False) from None
    _deliver(job, last, content, settings)
    return last


@dataclasses.dataclass
class _Watch:
    """Writes previews and trace lines as a run goes on."""

    job: Job
    settings: Mapping[str, object]
    trace: TextIO | None
    started: float = dataclasses.field(default_factory=time.monotonic)

    def see(self, progress: Progress) -> None:
        if progress.iteration == 0:
            return
        if self.trace is not None:
            line = {
                **_position(progress),
                "energy": progress.value,
                "terms": progress.terms,
                "gradient_norm": progress.gradient_norm,
                "seconds": round(time.monotonic() - self.started, 3),
            }
            self.trace.write(json.dumps(line) + "\n")
            self.trace.flush()
        if self.job.preview_every and progress.iteration % self.job.preview_every == 0:
            picture = Picture(np.asarray(progress.picture()))
            image.save(self.job.preview, picture, {**self.settings, "preview": _position(progress)})


def _deliver(
    job: Job, progress: Progress, content: Picture | None, settings: Mapping[str, object]
) -> None:
    """Writes the finished picture, with the alpha of the content, and drops the preview."""
    alpha = None
    if content is not None and content.alpha is not None:
        opacity = pyramid.resize(content.alpha[..., None], progress.shape)
        alpha = np.clip(np.asarray(opacity[..., 0]), 0.0, 1.0)
    image.save(job.output, Picture(np.asarray(progress.picture()), alpha), settings)
    if job.preview_every:
        job.preview.unlink(missing_ok=True)


def _settings(job: Job, network: weights.Loaded, shape: tuple[int, int]) -> dict[str, object]:
    """Returns what the output file says about how it was made: no times, no folders."""
    return {
        "jaxmrf": jaxmrf.__version__,
        "command": "synthesize" if job.content is None else "transfer",
        "content": None if job.content is None else job.content.name,
        "style": job.style.name,
        "initial": None if job.initial is None else job.initial.name,
        "width": shape[1],
        "height": shape[0],
        "network": network.network.architecture,
        "weights_sha256": network.sha256,
        "config": dataclasses.asdict(job.config),
    }


def _position(progress: Progress) -> dict[str, int]:
    return {"level": progress.level + 1, "iteration": progress.iteration}


@contextlib.contextmanager
def _trace_file(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise ImageError(f"cannot write the trace {path}: {error.strerror}") from None
    with file:
        yield file
