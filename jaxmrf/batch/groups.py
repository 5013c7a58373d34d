"""Which lines of a batch can run side by side."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from jaxmrf import api
from jaxmrf.batch.manifest import Line
from jaxmrf.core import pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.run import lanes
from jaxmrf.core.run.inputs import settled
from jaxmrf.core.run.plan import Plan, make_plan
from jaxmrf.errors import ConfigError, ImageError
from jaxmrf.files import image
from jaxmrf.networks import weights


class Group(NamedTuple):
    """Lines that can run side by side."""

    shape: lanes.Shape
    lines: list[Line]


def final_shape(line: Line) -> tuple[int, int]:
    """Returns (height, width) of a line's output.

    Raises:
      ImageError: if the content cannot be read.
    """
    if line.job.content is None:
        return line.job.shape
    return pyramid.fit(*image.shape_of(line.job.content), line.job.config.size)


def group(
    lines: Iterable[Line],
    network: weights.Loaded,
    bucket: int,
    on_failure: Callable[[Line, Exception], Any],
) -> list[Group]:
    """Returns the lines by shape, in order of their first one; only headers are read.

    Args:
      lines: of the batch.
      network: from `weights.load`.
      bucket: see `BatchOptions`.
      on_failure: called with a line that cannot be planned, and why.
    """
    groups: dict[lanes.Shape, list[Line]] = {}
    for line in lines:
        try:
            groups.setdefault(_shape(line, network, bucket), []).append(line)
        except (ImageError, ConfigError) as error:
            on_failure(line, error)
    return [Group(*entry) for entry in groups.items()]


def _shape(line: Line, network: weights.Loaded, bucket: int) -> lanes.Shape:
    job, config = line.job, _config_of(line, network)
    final = final_shape(line)
    image.check_size(job.output, final)
    shape = tuple(-(-side // bucket) * bucket for side in final)
    styles = []
    for path in job.styles:
        style = image.shape_of(path)
        if bucket > 1:
            fitted = pyramid.fit(*style, max(1, round(max(shape) * config.style_scale)))
            style = tuple(max(1, round(side / bucket)) * bucket for side in fitted)
        styles.append(style)
    # The seed has no part in it, and plans of equal pictures are found again.
    plain = dataclasses.replace(config, seed=0)
    guided = job.content is not None
    plan = _plan(shape, tuple(styles), _Network(network), plain, guided)
    labeled, masked = job.content_guide is not None, job.mask is not None
    trained = api.with_pooling(network, config).decoder
    return lanes.shape_of(
        plan, config, guided=guided, labeled=labeled, masked=masked, trained=trained
    )


def _config_of(line: Line, network: weights.Loaded) -> Config:
    guided = line.job.content is not None
    config = api.for_network(line.job.config, network, guided=guided)
    trained = api.with_pooling(network, config).decoder
    return settled(config, guided=guided, started=line.job.initial is not None, trained=trained)


@dataclasses.dataclass(frozen=True)
class _Network:
    """A network that is hashed by its digest, so that plans can be kept."""

    loaded: weights.Loaded = dataclasses.field(hash=False, compare=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Network) and self.loaded.sha256 == other.loaded.sha256

    def __hash__(self) -> int:
        return hash(self.loaded.sha256)


@functools.lru_cache(maxsize=4096)
def _plan(
    shape: tuple[int, int],
    styles: tuple[tuple[int, int], ...],
    network: _Network,
    config: Config,
    guided: bool,
) -> Plan:
    loaded = network.loaded
    return make_plan(
        shape, styles, loaded.params, features=loaded.network, config=config, guided=guided
    )
