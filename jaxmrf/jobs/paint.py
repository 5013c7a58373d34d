"""One job from files to a file: pictures in, previews and trace on the way, picture out."""

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

import numpy as np

from jaxmrf import api
from jaxmrf._version import __version__
from jaxmrf.analysis import label_coverage
from jaxmrf.analysis.suitability import Suitability
from jaxmrf.core import pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.decoder import LAYERS
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.core.run.plan import Plan
from jaxmrf.core.run.progress import NonFiniteEnergyError, Progress
from jaxmrf.errors import ConfigError, ImageError
from jaxmrf.files import guides, image
from jaxmrf.files.image import Picture
from jaxmrf.networks import weights

QUICK_TRY = 128
"""Below this longest side a picture is not worth a forecast that takes as long."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What to paint.

    Attributes:
      styles: the paintings.
      output: file of the finished picture.
      config: settings.
      content: the photograph; None for un-guided synthesis.
      shape: (height, width) of an un-guided synthesis.
      initial: picture to start from.
      content_guide: label picture of the result.
      style_guides: label picture of each style.
      mask: white where the result may differ from the photograph.
      preview_every: iterations between previews, 0 for none.
      trace: JSON Lines file with one record per iteration.
      memory: budget in gigabytes; None: what the device has.
    """

    styles: tuple[Path, ...]
    output: Path
    config: Config
    content: Path | None = None
    shape: tuple[int, int] | None = None
    initial: Path | None = None
    content_guide: Path | None = None
    style_guides: tuple[Path, ...] = ()
    mask: Path | None = None
    preview_every: int = 0
    trace: Path | None = None
    memory: float | None = None

    @property
    def preview(self) -> Path:
        """The file that previews are written to; it goes when the picture is finished."""
        return self.output.with_name(f"{self.output.stem}.preview.png")


class StoppedError(Exception):
    """A run that ended early; the picture so far is in the output file, if there is one.

    Attributes:
      progress: the last progress record.
      interrupted: whether the user stopped it; else its energy was not finite.
    """

    def __init__(self, progress: Progress, *, interrupted: bool) -> None:
        super().__init__("interrupted" if interrupted else "energy not finite")
        self.progress = progress
        self.interrupted = interrupted


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
    _check_files(job)
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
    watch = _Watch(job, settings, on_warning)

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
            _deliver(job, last, content, {**settings, "stopped": _position(last)})
            raise StoppedError(last, interrupted=True) from None
        except NonFiniteEnergyError as error:
            last = error.progress
            if last.painted:
                _deliver(job, last, content, {**settings, "stopped": _position(last)})
            raise StoppedError(last, interrupted=False) from None
        _deliver(job, last, content, settings)
    return last


def is_worth_a_forecast(shape: tuple[int, int], config: Config) -> bool:
    """Whether a transfer of (height, width) `shape` is large enough for `on_suitability`."""
    return max(shape) >= QUICK_TRY and "mrf" in config.style_losses()


class _Watch:
    """Writes previews and trace lines as a run goes on; their failure does not end it."""

    def __init__(
        self, job: Job, settings: Mapping[str, object], on_warning: Callable[[str], Any]
    ) -> None:
        self._job, self._settings, self._warn = job, settings, on_warning
        self._trace: TextIO | None = None
        self._writes_trace, self._writes_previews = job.trace is not None, job.preview_every > 0
        self._preview_is_ours = False
        self._started = time.monotonic()

    def close(self) -> None:
        """Closes the trace; the run is over, so its preview goes."""
        if self._trace is not None:
            with contextlib.suppress(OSError):
                self._trace.close()
        if self._preview_is_ours:
            with contextlib.suppress(OSError):
                self._job.preview.unlink(missing_ok=True)

    def see(self, progress: Progress) -> None:
        if progress.iteration == 0 and progress.decoded == 0:
            return
        if self._writes_trace and progress.iteration:
            try:
                self._write_line(progress)
            except OSError as error:
                self._writes_trace = False
                self._warn(f"warning: the trace ends here: {error.strerror}")
        if self._writes_previews and progress.iteration % self._job.preview_every == 0:
            picture = Picture(np.asarray(progress.picture()))
            settings = {**self._settings, "preview": _position(progress)}
            try:
                image.save(self._job.preview, picture, settings)
                self._preview_is_ours = True
            except ImageError as error:
                self._writes_previews = False
                self._warn(f"warning: no more previews: {error}")

    def _write_line(self, progress: Progress) -> None:
        if self._trace is None:
            self._trace = self._job.trace.open("w", encoding="utf-8")
        line = {
            **_position(progress),
            "energy": progress.value,
            "terms": progress.terms,
            "gradient_norm": progress.gradient_norm,
            "seconds": round(time.monotonic() - self._started, 3),
        }
        if not math.isnan(progress.exact_matches):
            line["exact_matches"] = progress.exact_matches
        self._trace.write(json.dumps(line) + "\n")
        self._trace.flush()


def _check_files(job: Job) -> None:
    """Checks before a long run that outputs can be written and take no input's place."""
    image.check_output(job.output)
    given = (job.content, *job.styles, job.initial, job.content_guide, *job.style_guides, job.mask)
    inputs = {path.resolve() for path in given if path is not None}
    written = {"preview": job.preview if job.preview_every else None, "trace": job.trace}
    for name, path in written.items():
        if path is not None and path.resolve() in {*inputs, job.output.resolve()}:
            raise ImageError(f"the {name} would overwrite {path}; choose another name")
    if job.trace is not None:
        there = job.trace if job.trace.exists() else job.trace.parent
        if job.trace.is_dir() or not os.access(there, os.W_OK):
            raise ImageError(
                f"cannot write the trace {job.trace}: no such folder, or no permission"
            )


def with_guides(job: Job) -> Job:
    """Returns the job with the guides that lie beside all of its pictures, if it has none.

    They are not taken where they have no effect.
    """
    given = job.content_guide or job.style_guides or job.content is None
    if given or not job.config.guide_weight or not job.config.matches_patches():
        return job
    found = [guides.beside(path) for path in (job.content, *job.styles)]
    if None in found:
        return job
    return dataclasses.replace(job, content_guide=found[0], style_guides=tuple(found[1:]))


def guides_found(job: Job) -> str:
    """Returns a line that says which guides were taken without being asked for."""
    names = ", ".join(path.name for path in (job.content_guide, *job.style_guides))
    return f"guides found beside the pictures: {names} (--guide-weight 0 leaves them out)"


def layers_left_out(job: Job, network: weights.Loaded) -> list[str]:
    """Returns a line that says which layers of the Gram loss the network lacks, if it does."""
    there = api.for_network(job.config, network).gram_layers
    missing = [name for name in job.config.gram_layers if name not in there]
    if not missing:
        return []
    return [f"left out {', '.join(missing)} of the Gram loss: the network has no such layer"]


def start_missed(job: Job, network: weights.Loaded) -> list[str]:
    """Returns a line that says that levels start without the decoder that was asked for."""
    config = job.config
    wanted = config.decoder_rounds and not config.tileable
    matched = "mrf" in config.style_losses()
    if not (wanted and matched) or api.rounds_of(config, network):
        return []
    if not set(LAYERS) <= set(config.layers):
        return [f"the decoder needs the layers {', '.join(LAYERS)}: levels start without it"]
    return [
        f"there is no decoder for this {network.network.architecture} with "
        f"{config.pooling} pooling: levels start without it (docs/weights.md)"
    ]


def check_guides(job: Job) -> None:
    """Checks that there are guides for the picture and for the styles, or for neither.

    Raises:
      ConfigError: if there are not.
    """
    if (job.content_guide is None) != (not job.style_guides):
        raise ConfigError("a content guide and style guides are of use only together")


def load_guides(
    job: Job, shape: tuple[int, int], style_shapes: Sequence[tuple[int, int]]
) -> Guides | None:
    """Returns what the guides of a job say, None if it has none.

    Args:
      job: what to paint.
      shape: (height, width) of the result.
      style_shapes: (height, width) of each style.

    Raises:
      ImageError: if a file cannot be read.
      ConfigError: if guides are missing or do not go together.
    """
    check_guides(job)
    if job.content_guide is None:
        return None
    return guides.load(job.content_guide, job.style_guides, shape, style_shapes)


def _loose_label(job: Job, loaded: Guides, label: int, shape: tuple[int, int]) -> str:
    """Returns a line that says where a label of the content guide is in no style patch."""
    pixels = image.load(job.content_guide).pixels
    color = guides.code(np.median(pixels[loaded.picture[..., label] > 0], axis=0))
    return (
        f"the label {color} of {job.content_guide} is in no style patch at {shape[1]}×{shape[0]} "
        "pixels: there it matches anything"
    )


def _deliver(
    job: Job, progress: Progress, content: Picture | None, settings: Mapping[str, object]
) -> None:
    """Writes the finished picture, with the alpha of the content."""
    alpha = None
    if content is not None and content.alpha is not None:
        opacity = pyramid.resize(content.alpha[..., None], progress.shape)
        alpha = np.clip(np.asarray(opacity[..., 0]), 0.0, 1.0)
    image.save(job.output, Picture(np.asarray(progress.picture()), alpha), settings)


def settings_of(
    job: Job,
    network: weights.Loaded,
    shape: tuple[int, int],
    titles: Mapping[Path, str] = MappingProxyType({}),
) -> dict[str, object]:
    """Returns what the output file says about how it was made: no times, no folders.

    Args:
      job: what is painted.
      network: from `weights.load`.
      shape: (height, width) of the result.
      titles: what inputs are called, instead of their names.
    """

    def title(path: Path | None) -> str | None:
        return None if path is None else titles.get(path, path.name)

    return {
        "jaxmrf": __version__,
        "command": "synthesize" if job.content is None else "transfer",
        "content": title(job.content),
        "style": [title(path) for path in job.styles],
        "initial": title(job.initial),
        "content_guide": title(job.content_guide),
        "style_guides": [title(path) for path in job.style_guides],
        "mask": title(job.mask),
        "width": shape[1],
        "height": shape[0],
        "network": network.network.architecture,
        "weights_sha256": network.sha256,
        "config": dataclasses.asdict(
            api.for_network(job.config, network, guided=job.content is not None)
        ),
    }


def _position(progress: Progress) -> dict[str, int]:
    return {"level": progress.level + 1, "iteration": progress.iteration}
