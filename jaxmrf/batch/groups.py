"""Which lines of a batch can run side by side."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from jaxmrf.batch.manifest import Line
from jaxmrf.core import pyramid
from jaxmrf.core.config import Shape
from jaxmrf.core.run import lanes
from jaxmrf.core.run.lanes import ProgramKey
from jaxmrf.core.run.plan import Plan, make_plan
from jaxmrf.core.settings import Settings
from jaxmrf.errors import ConfigError, ImageError
from jaxmrf.files import image
from jaxmrf.jobs import inputs
from jaxmrf.jobs.job import resolved_for
from jaxmrf.networks.weights import Loaded
from jaxmrf.planning import with_pooling


class Group(NamedTuple):
    """Lines that can run side by side."""

    key: ProgramKey
    lines: list[Line]


def group(
    lines: Iterable[Line],
    loaded: Loaded,
    bucket: int,
    on_failure: Callable[[Line, Exception], Any],
) -> list[Group]:
    """Returns the lines by program, in order of their first one; only headers are read.

    Args:
      lines: of the batch.
      loaded: from `weights.load`.
      bucket: see `BatchOptions`.
      on_failure: called with a line that cannot be planned, and why.
    """
    groups: dict[ProgramKey, list[Line]] = {}
    for line in lines:
        try:
            groups.setdefault(_key(line, loaded, bucket), []).append(line)
        except (ImageError, ConfigError) as error:
            on_failure(line, error)
    return [Group(*entry) for entry in groups.items()]


def _key(line: Line, loaded: Loaded, bucket: int) -> ProgramKey:
    job = line.job
    final = inputs.shape_of(job)
    image.check_size(job.output, final)
    shape = tuple(-(-side // bucket) * bucket for side in final)
    styles = []
    for path in job.styles:
        style = image.shape_of(path)
        if bucket > 1:
            fitted = pyramid.fit(*style, max(1, round(max(shape) * job.config.style_scale)))
            style = tuple(max(1, round(side / bucket)) * bucket for side in fitted)
        styles.append(style)
    _, settings = resolved_for(job, loaded)
    # The seed has no part in it, and plans of equal pictures are found again.
    plain = dataclasses.replace(settings, config=dataclasses.replace(settings.config, seed=0))
    plan = _plan(shape, tuple(styles), _Hashed(loaded), plain)
    labeled, masked = job.content_guide is not None, job.mask is not None
    return lanes.key_of(plan, settings, labeled=labeled, masked=masked)


@dataclasses.dataclass(frozen=True)
class _Hashed:
    """A network that is hashed by its digest, so that plans can be kept."""

    loaded: Loaded = dataclasses.field(hash=False, compare=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashed) and self.loaded.sha256 == other.loaded.sha256

    def __hash__(self) -> int:
        return hash(self.loaded.sha256)


@functools.lru_cache(maxsize=4096)
def _plan(
    shape: Shape,
    styles: tuple[Shape, ...],
    hashed: _Hashed,
    settings: Settings,
) -> Plan:
    network = with_pooling(hashed.loaded.network, settings.config)
    return make_plan(shape, styles, network, settings)
