"""One job from files to a file: pictures in, previews and trace on the way, picture out."""

import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxmrf import api
from jaxmrf.analysis import label_coverage
from jaxmrf.analysis.suitability import Suitability
from jaxmrf.core import pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.run.plan import Plan
from jaxmrf.core.run.progress import NonFiniteEnergyError, Progress
from jaxmrf.errors import ConfigError
from jaxmrf.files import guides, image
from jaxmrf.files.image import Picture
from jaxmrf.jobs.inputs import _loose_label, layers_left_out, load_guides, start_missed
from jaxmrf.jobs.job import Job, StoppedError, check_files, guides_found, settings_of, with_guides
from jaxmrf.jobs.watch import Watch, position
from jaxmrf.networks import weights

QUICK_TRY = 128
"""Below this longest side a picture is not worth a forecast that takes as long."""


def run(
    job: Job,
    network: weights.Loaded,
    *,
    titles: Mapping[Path, str] = MappingProxyType({}),
    on_plan: Callable[[Plan], Any] = lambda plan: None,
    on_progress: Callable[[Progress], Any] = lambda progress: None,
    on_warning: Callable[[str], Any] = lambda message: None,
    on_suitability: Callable[[Suitability], Any] | None = None,
) -> Progress:
    """Runs a job and writes its picture, all of it or nothing.

    Args:
      job: what to paint.
      network: from `weights.load`.
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
    if job.memory is not None and not 0 < job.memory < math.inf:
        raise ConfigError(f"memory is {job.memory}; it must be a number of gigabytes above 0")
    notes = [] if with_guides(job) == job else [guides_found(with_guides(job))]
    job = with_guides(job)
    check_files(job)
    content = None if job.content is None else image.load(job.content)
    styles = [image.load(path).pixels for path in job.styles]
    initial = None if job.initial is None else image.load(job.initial)
    shape = job.shape or api.result_shape(content.pixels.shape[:2], job.config)
    image.check_size(job.output, shape)
    loaded = load_guides(job, shape, [style.shape[:2] for style in styles])
    mask = None if job.mask is None else guides.load_mask(job.mask, shape)
    settings = settings_of(job, network, shape, titles)
    last: Progress | None = None
    warned = False
    watch = Watch(job, settings, on_warning)

    def loose(plan: Plan) -> list[str]:
        if loaded is None or not (job.config.guide_weight and job.config.matches_patches()):
            return []
        found = label_coverage.unmatched(
            loaded, plan, network.params, features=network.network, config=job.config
        )
        return [_loose_label(job, loaded, label, plan.shapes[found[label]]) for label in found]

    def planned(plan: Plan) -> None:
        on_plan(plan)
        for note in (
            *notes,
            *layers_left_out(job, network),
            *start_missed(job, network),
            *loose(plan),
        ):
            on_warning(note)
        worth_it = is_worth_a_forecast(shape, job.config)
        if on_suitability is not None and content is not None and worth_it:
            on_suitability(api.measure_suitability(content.pixels, styles, job.config, network))

    records = api.iterate(
        None if content is None else content.pixels,
        styles,
        shape,
        job.config,
        initial=None if initial is None else initial.pixels,
        guides=loaded,
        mask=mask,
        network=network,
        memory_budget=None if job.memory is None else int(job.memory * 1e9),
        judge_matches=job.trace is not None,
        on_plan=planned,
    )
    with contextlib.closing(watch):
        try:
            for last in records:
                watch.see(last)
                on_progress(last)
                if last.undecodable and not warned:
                    warned = True
                    on_warning(
                        "warning: the decoder made numbers that are not finite; going on without"
                    )
        except KeyboardInterrupt:
            if last is None or not last.painted:
                raise
            _deliver(job, last, content, {**settings, "stopped": position(last)})
            raise StoppedError(last, interrupted=True) from None
        except NonFiniteEnergyError as error:
            last = error.progress
            if last.painted:
                _deliver(job, last, content, {**settings, "stopped": position(last)})
            raise StoppedError(last, interrupted=False) from None
        _deliver(job, last, content, settings)
    return last


def is_worth_a_forecast(shape: tuple[int, int], config: Config) -> bool:
    """Whether a transfer of (height, width) `shape` is large enough for `on_suitability`."""
    return max(shape) >= QUICK_TRY and "mrf" in config.style_losses()


def _deliver(
    job: Job, progress: Progress, content: Picture | None, settings: Mapping[str, object]
) -> None:
    """Writes the finished picture, with the alpha of the content."""
    alpha = None
    if content is not None and content.alpha is not None:
        opacity = pyramid.resize(content.alpha[..., None], progress.shape)
        alpha = np.clip(np.asarray(opacity[..., 0]), 0.0, 1.0)
    image.save(job.output, Picture(np.asarray(progress.picture()), alpha), settings)
