"""A job: which files go in and come out, with which settings, and what its output says of it."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from jaxmrf.core.config import Config, Shape
from jaxmrf.core.features import Network
from jaxmrf.core.run import plan
from jaxmrf.core.settings import Settings, decoder_rounds
from jaxmrf.errors import ImageError
from jaxmrf.files import guides, image, paths, record
from jaxmrf.files.sources import Sources
from jaxmrf.networks.weights import Loaded
from jaxmrf.planning import resolved, with_pooling


@dataclasses.dataclass(frozen=True)
class Job:
    """A picture to paint.

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
      format: ending of the output's format, without its point; None: that of its name.
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
    format: str | None = None
    memory: float | None = None

    @property
    def sources(self) -> Sources:
        """What its pictures are read from."""
        return Sources(
            self.styles,
            self.content,
            self.initial,
            self.content_guide,
            self.style_guides,
            mask=self.mask,
        )


def check_files(job: Job, others: Iterable[Path | None] = ()) -> None:
    """Checks before a long run that outputs can be written and take no input's place.

    Args:
      job: what is painted.
      others: files beside those of the job that are read for it.

    Raises:
      ImageError: if they cannot, or do.
    """
    image.check_output(job.output, job.format)
    pictures = (
        job.content,
        *job.styles,
        job.initial,
        job.content_guide,
        *job.style_guides,
        job.mask,
    )
    inputs = {paths.identity(path): path for path in (*pictures, *others) if path is not None}
    if job.trace is not None and paths.identity(job.trace) == paths.identity(job.output):
        raise ImageError(f"the trace would overwrite {job.output}; choose another name")
    for name, path in {"picture": job.output, "trace": job.trace}.items():
        if path is not None and paths.identity(path) in inputs:
            raise ImageError(
                f"the {name} would overwrite {inputs[paths.identity(path)]}, which is read for "
                "it; choose another name"
            )
    if job.trace is not None:
        place = job.trace if job.trace.exists() else job.trace.parent
        if job.trace.is_dir() or not os.access(place, os.W_OK):
            raise ImageError(
                f"cannot write the trace {job.trace}: no such folder, or no permission"
            )


def with_guides(job: Job, beside: Callable[[Path], Path | None] = guides.beside) -> Job:
    """Returns the job with the guides that lie beside all of its pictures, if it has none.

    They are not taken where they have no effect.

    Args:
      job: what is painted.
      beside: returns the guide of a picture; of many jobs one that remembers them.
    """
    if job.content is None or job.content_guide or job.style_guides:
        return job
    if beside(job.content) is None:
        return job
    if not job.config.guide_weight or not job.config.matches_patches():
        return job
    guide_paths = [beside(path) for path in (job.content, *job.styles)]
    if None in guide_paths:
        return job
    return dataclasses.replace(
        job, content_guide=guide_paths[0], style_guides=tuple(guide_paths[1:])
    )


def guides_found(job: Job) -> str:
    """Returns a line that says which guides were taken without being asked for."""
    guide_paths = (job.content_guide, *job.style_guides)
    names = ", ".join(path.name for path in guide_paths if path is not None)
    return f"guides found beside the pictures: {names} (--guide-weight 0 leaves them out)"


def resolved_for(job: Job, loaded: Loaded) -> tuple[Network, Settings]:
    """Returns network and settings of a job with every choice made, see `planning.resolved`.

    Raises:
      ConfigError: if a setting cannot be used with this network, or at this size.
    """
    return resolved(
        job.config,
        loaded.network,
        _longest_side(job),
        has_content=job.content is not None,
        has_start=job.initial is not None,
    )


def check_iterations(job: Job, loaded: Loaded) -> None:
    """Checks iterations as `resolved_for` does, without asking the network for its layers.

    Raises:
      ConfigError: if there are more of them than levels, or nothing paints.
    """
    rounds = decoder_rounds(job.config, with_pooling(loaded.network, job.config))
    has_content = job.content is not None
    plan.check_iterations(job.config, _longest_side(job), rounds=rounds, has_content=has_content)


def _longest_side(job: Job) -> Shape:
    """Returns what levels follow from: photographs need not be read for it."""
    return job.shape or (job.config.size,)


def record_of(
    job: Job,
    loaded: Loaded,
    shape: Shape,
    titles: Mapping[Path, str] = MappingProxyType({}),
) -> dict[str, object]:
    """Returns what the output file says about how it was made: no times, no folders.

    Args:
      job: what is painted.
      loaded: from `weights.load`.
      shape: (height, width) of the result.
      titles: what inputs are called, instead of their names.
    """

    def title(path: Path) -> str:
        return titles.get(path, path.name)

    network, settings = resolved_for(job, loaded)
    return record.record_of(job.sources, shape, settings.config, network, loaded.sha256, title)
