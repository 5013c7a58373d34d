"""What a run would be refused for, found before its turn and without compiling."""

import bisect
import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxmrf.core.config import Config, Shape
from jaxmrf.core.features import Network
from jaxmrf.core.run import lanes
from jaxmrf.core.run.plan import make_plan
from jaxmrf.errors import ConfigError, ImageError
from jaxmrf.files import guides, image
from jaxmrf.jobs import options
from jaxmrf.jobs.job import Job
from jaxmrf.planning import Planned, resolved, result_shape

LARGEST_TRIED = 4096
"""Sizes up to this are looked through for one that fits."""


def planned(
    values: Mapping[str, str],
    job: Job,
    network: Network,
    content: Shape | None,
    styles: Sequence[Shape],
) -> Planned:
    """Returns what a run would be computed with, resolved as the run itself does it.

    Only the memory that it takes is not looked into: that is known once it is compiled.

    Args:
      values: options that were chosen.
      job: what they describe.
      network: the network; shapes in the place of its parameters will do.
      content: (height, width) of the photograph; None: there is none.
      styles: (height, width) of each painting.

    Raises:
      ConfigError: if the run would be refused; its `option` says what can mend it.
    """
    options.check_effect(values, job)
    sizes = Sizes(job.shape, content, tuple(styles))
    try:
        image.check_size(job.output, sizes.of_result(job.config))
    except ImageError as error:
        raise ConfigError(str(error), "size") from None
    try:
        return _planned(job.config, network, sizes)
    except ConfigError as error:
        if error.option != "size" or content is None:
            raise
    raise _too_small(job.config, network, sizes)


class Sizes(NamedTuple):
    """(height, width) of the pictures of a run.

    Attributes:
      shape: of the result, where there is no photograph.
      content: of the photograph; None: there is none.
      styles: of each painting.
    """

    shape: Shape | None
    content: Shape | None
    styles: tuple[Shape, ...]

    def of_result(self, config: Config) -> Shape:
        """Returns (height, width) of the result."""
        if self.content is not None:
            return result_shape(self.content, config)
        return self.shape or (config.size, config.size)


def _planned(config: Config, network: Network, sizes: Sizes) -> Planned:
    shape, has_content = sizes.of_result(config), sizes.content is not None
    network, settings = resolved(config, network, shape, has_content=has_content, here=False)
    return Planned(network, settings, make_plan(shape, sizes.styles, network, settings))


def _too_small(config: Config, network: Network, pictures: Sizes) -> ConfigError:
    """Returns the error of a size at which no patch fits: it names what does."""
    finest = dataclasses.replace(config, levels=1, iterations=())

    def fits(size: int, style_scale: float = config.style_scale) -> bool:
        tried = dataclasses.replace(finest, size=size, style_scale=style_scale)
        try:
            _planned(tried, network, pictures)
        except ConfigError as error:
            return error.option != "size"
        return True

    if config.style_scale < 1 and fits(config.size, 1.0):
        return ConfigError(
            f"style_scale is {config.style_scale}: not even one patch fits on the painting then",
            "style_scale",
        )
    sizes = range(config.size + 1, LARGEST_TRIED + 1)
    place = bisect.bisect_left(sizes, True, key=fits)
    if place == len(sizes):
        return ConfigError(
            f"not even one patch of {config.patch_size} features fits on these pictures",
            "patch_size",
        )
    return ConfigError(
        f"not even one patch fits; the smallest size for these pictures is {sizes[place]}", "size"
    )


def program_of(planned: Planned, job: Job) -> str:
    """Returns a name of all that the programs depend on that compute a run."""
    _, settings, plan = planned
    labeled, masked = job.content_guide is not None, job.mask is not None
    key = lanes.key_of(plan, settings, labeled=labeled, masked=masked)
    # A set has no order that lasts.
    parts = dataclasses.asdict(key) | {"has": sorted(key.has), "memory": job.memory}
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def labels(job: Job, sizes: Sizes, titles: Mapping[Path, str]) -> None:
    """Checks that the guides and the mask of a run go with its pictures.

    Args:
      job: with the files, which are read: they must be encoded by the server itself.
      sizes: of its pictures.
      titles: what the files are called.

    Raises:
      ConfigError: if they do not; its `option` is ``content_guide`` or ``mask``.
    """
    shape = sizes.of_result(job.config)
    try:
        guides.check_together(job.content_guide, job.style_guides)
        if job.content_guide is not None:
            _guides_fit(job.content_guide, job.style_guides, shape, sizes.styles)
    except (ConfigError, ImageError) as error:
        raise ConfigError(named(str(error), titles), "content_guide") from None
    try:
        if job.mask is not None:
            _mask_fits(job.mask, shape)
    except (ConfigError, ImageError) as error:
        raise ConfigError(named(str(error), titles), "mask") from None


@functools.lru_cache(maxsize=64)
def _guides_fit(
    content: Path, styles: tuple[Path, ...], shape: Shape, style_shapes: tuple[Shape, ...]
) -> None:
    guides.load(content, styles, shape, style_shapes)


@functools.lru_cache(maxsize=64)
def _mask_fits(mask: Path, shape: Shape) -> None:
    guides.load_mask(mask, shape)


def named(message: str, titles: Mapping[Path, str]) -> str:
    """Returns what is said of files with their titles: no path of the server is told."""
    for path, title in titles.items():
        message = message.replace(str(path), title)
    return message
