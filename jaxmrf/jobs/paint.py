"""One job from files to a file: pictures in, previews and trace on the way, picture out."""

import contextlib
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxmrf import api
from jaxmrf.analysis import label_coverage
from jaxmrf.analysis.suitability import Suitability
from jaxmrf.core.config import Config, Shape
from jaxmrf.core.run.progress import NonFiniteEnergyError, Progress
from jaxmrf.errors import StoppedError
from jaxmrf.files import image
from jaxmrf.files.image import Picture
from jaxmrf.files.sources import InputPictures
from jaxmrf.jobs import inputs
from jaxmrf.jobs.job import Job, check_files, guides_found, record_of, with_guides
from jaxmrf.jobs.watch import Watch, position
from jaxmrf.networks.weights import Loaded
from jaxmrf.planning import Planned, measure_suitability

QUICK_TRY = 128
"""Below this longest side a picture is not worth a forecast that takes as long."""


def run(
    job: Job,
    loaded: Loaded,
    *,
    titles: Mapping[Path, str] = MappingProxyType({}),
    on_plan: Callable[[Planned], Any] = lambda planned: None,
    on_progress: Callable[[Progress], Any] = lambda progress: None,
    on_warning: Callable[[str], Any] = lambda message: None,
    on_suitability: Callable[[Suitability], Any] | None = None,
) -> Progress:
    """Runs a job and writes its picture, all of it or nothing.

    Args:
      job: what to paint.
      loaded: from `weights.load`.
      titles: what the output calls an input, where that is not the name of its file.
      on_plan: called once, before the first iteration.
      on_progress: called when a level starts and after each iteration.
      on_warning: called with a line when something is done that nobody asked for, such as
        guides that are found beside the pictures, or layers left out; and if previews or trace
        cannot be written any more.
      on_suitability: called before the first iteration of a transfer by the MRF loss that
        is no quick try, with what its style patches can do; None: not measured.

    Returns:
      The last progress record.

    Raises:
      ImageError: if a picture cannot be read or written.
      ConfigError: if a setting cannot be used.
      StoppedError: if Ctrl-C or a non-finite energy ended it; the output holds the last
        good picture.
    """
    notes = [] if with_guides(job) == job else [guides_found(with_guides(job))]
    job = with_guides(job)
    check_files(job)
    shape = inputs.shape_of(job)
    image.check_size(job.output, shape, job.format)
    pictures = inputs.load(job)
    record = record_of(job, loaded, shape, titles)
    last: Progress | None = None
    finished: Mapping[str, object] = {}
    warned = False
    watch = Watch(job, record, on_warning)

    def deliver(progress: Progress, record: Mapping[str, object]) -> None:
        save(job, pictures, progress, record)
        watch.clear()

    def announce(planned: Planned) -> None:
        on_plan(planned)
        for note in (
            *notes,
            *inputs.left_out(job, planned.settings),
            *_loose(job, pictures, planned),
        ):
            on_warning(note)
        worth_it = is_worth_a_forecast(shape, job.config)
        if on_suitability is not None and pictures.content is not None and worth_it:
            suitability = measure_suitability(
                pictures.content.pixels, pictures.styles, job.config, loaded.network
            )
            on_suitability(suitability)

    records = api.iterate(
        pictures.pixels,
        pictures.styles,
        shape,
        job.config,
        initial=pictures.initial,
        guides=pictures.guides,
        mask=pictures.mask,
        network=loaded.network,
        memory_budget=None if job.memory is None else int(job.memory * 1e9),
        judge_matches=job.trace is not None,
        on_plan=announce,
    )
    with contextlib.closing(watch):
        try:
            last = first = next(records)  # when the first level starts
            for last in itertools.chain([first], records):
                watch.see(last)
                on_progress(last)
                if last.undecodable and not warned:
                    warned = True
                    on_warning(
                        "warning: the decoder made numbers that are not finite; going on without"
                    )
            finished = record
            deliver(last, record)
        except KeyboardInterrupt:
            if last is None or not last.painted:
                raise
            stopped = finished or {**record, "stopped": position(last)}
            deliver(last, stopped)
            raise StoppedError(last, interrupted=True) from None
        except NonFiniteEnergyError as error:
            last = error.progress
            if last.painted:
                deliver(last, {**record, "stopped": position(last)})
            raise StoppedError(last, interrupted=False) from None
    return last


def save(
    job: Job, pictures: InputPictures, progress: Progress, record: Mapping[str, object]
) -> None:
    """Writes the picture that a job has come to, all of it or nothing.

    Args:
      job: what is painted.
      pictures: of the job.
      progress: how far it is.
      record: what the output says of itself.

    Raises:
      ImageError: if it cannot be written.
    """
    alpha = None if pictures.content is None else pictures.content.alpha
    painted = Picture(np.asarray(progress.picture()), alpha)
    image.save(job.output, painted, record, job.format)


def _loose(job: Job, pictures: InputPictures, planned: Planned) -> list[str]:
    """Returns a line for each label of the content that is in no style patch."""
    guide, guides, plan = job.content_guide, pictures.guides, planned.plan
    if guide is None or guides is None:
        return []
    if not (job.config.guide_weight and job.config.matches_patches()):
        return []
    levels = label_coverage.unmatched(
        guides, plan, planned.network, planned.settings.program.patches
    )
    return [
        inputs.loose_label(guide, guides, label, plan.shapes[level])
        for label, level in levels.items()
    ]


def is_worth_a_forecast(shape: Shape, config: Config) -> bool:
    """Whether a transfer of (height, width) `shape` is large enough for `on_suitability`."""
    return max(shape) >= QUICK_TRY and "mrf" in config.style_losses()
