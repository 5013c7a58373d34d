"""Which lines of a batch can run side by side."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from jaxmrf.batch.manifest import Line
from jaxmrf.core.run.lanes import ProgramKey
from jaxmrf.errors import ConfigError, ImageError
from jaxmrf.files import image
from jaxmrf.jobs import inputs
from jaxmrf.jobs.job import resolved_for
from jaxmrf.networks.weights import Loaded
from jaxmrf.side_by_side import Planner


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
    planner = Planner(loaded.network, bucket)
    for line in lines:
        try:
            groups.setdefault(_key(line, loaded, planner), []).append(line)
        except (ImageError, ConfigError) as error:
            on_failure(line, error)
    return [Group(*entry) for entry in groups.items()]


def _key(line: Line, loaded: Loaded, planner: Planner) -> ProgramKey:
    job = line.job
    shape = inputs.shape_of(job)
    image.check_size(job.output, shape)
    _, settings = resolved_for(job, loaded)
    return planner.key(
        shape,
        [image.shape_of(path) for path in job.styles],
        settings,
        labeled=job.content_guide is not None,
        masked=job.mask is not None,
    )
