"""What a run would be refused for, found before its turn and without compiling."""

import bisect
import dataclasses
from collections.abc import Mapping

from jaxmrf.core.config import Config, Shape
from jaxmrf.core.features import Network
from jaxmrf.core.run.plan import make_plan
from jaxmrf.errors import ConfigError, ImageError
from jaxmrf.files import image
from jaxmrf.jobs import options
from jaxmrf.jobs.job import Job
from jaxmrf.planning import Planned, resolved, result_shape

LARGEST_TRIED = 4096
"""Sizes up to this are looked through for one that fits."""


def planned(
    values: Mapping[str, str], job: Job, network: Network, content: Shape, style: Shape
) -> Planned:
    """Returns what a run would be computed with, resolved as the run itself does it.

    Only the memory that it takes is not looked into: that is known once it is compiled.

    Args:
      values: options that were chosen.
      job: what they describe.
      network: the network; shapes in the place of its parameters will do.
      content: (height, width) of the photograph.
      style: (height, width) of the painting.

    Raises:
      ConfigError: if the run would be refused; its `option` says what can mend it.
    """
    options.check_effect(values, job)
    try:
        image.check_size(job.output, result_shape(content, job.config))
    except ImageError as error:
        raise ConfigError(str(error), "size") from None
    try:
        return _planned(job.config, network, content, style)
    except ConfigError as error:
        if error.option != "size":
            raise
    raise _too_small(job.config, network, content, style)


def _planned(config: Config, network: Network, content: Shape, style: Shape) -> Planned:
    shape = result_shape(content, config)
    network, settings = resolved(config, network, shape)
    return Planned(network, settings, make_plan(shape, [style], network, settings))


def _too_small(config: Config, network: Network, content: Shape, style: Shape) -> ConfigError:
    """Returns the error of a size at which no patch fits: it names what does."""
    finest = dataclasses.replace(config, levels=1, iterations=())

    def fits(size: int, style_scale: float = config.style_scale) -> bool:
        tried = dataclasses.replace(finest, size=size, style_scale=style_scale)
        try:
            _planned(tried, network, content, style)
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
