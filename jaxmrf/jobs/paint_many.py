"""Several jobs of one program from files to files, as lanes: each picture whole, or not at all."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jaxmrf import side_by_side
from jaxmrf.core.run import lanes
from jaxmrf.core.run.lanes import ProgramKey, Stage
from jaxmrf.core.run.loop import Follower
from jaxmrf.core.run.plan import make_plan
from jaxmrf.core.run.progress import NonFiniteEnergyError, Progress
from jaxmrf.errors import StoppedError, UserError
from jaxmrf.files import image
from jaxmrf.jobs import inputs
from jaxmrf.jobs.job import Job, check_files, record_of, resolved_for
from jaxmrf.jobs.paint import save
from jaxmrf.jobs.watch import position
from jaxmrf.machine import memory
from jaxmrf.networks.weights import Loaded
from jaxmrf.planning import Planned

Ended = Exception | KeyboardInterrupt | None
"""Why a job ended; None: it is finished."""


def run(
    jobs: Sequence[Job],
    loaded: Loaded,
    count: int,
    *,
    titles: Mapping[Path, str] = MappingProxyType({}),
    on_plan: Callable[[Planned], Any] = lambda planned: None,
    on_progress: Callable[[int, Progress], Any] = lambda place, progress: None,
    on_end: Callable[[int, Ended], Any] = lambda place, error: None,
) -> None:
    """Runs jobs side by side and writes their pictures as `paint.run` does.

    A job that fails or is stopped leaves the others as they are. Of more than one lane a device,
    pictures differ from those of `paint.run` by rounding.

    Args:
      jobs: of equal `lanes.ProgramKey`, `count` at most.
      loaded: from `weights.load`.
      count: lanes, from `lane_count`, or a multiple of the number of devices; those that no job
        has are filled, so that programs are the same however many jobs there are.
      titles: what the outputs call an input, where that is not the name of its file.
      on_plan: called once, before the first iteration, with the plan of the first job.
      on_progress: called with the place of a job when a level starts, after each round and
        each iteration; KeyboardInterrupt of it stops this job alone.
      on_end: called with the place of a job that has ended, and with what `paint.run` would
        have raised.

    Raises:
      ConfigError: if settings of the jobs cannot be used.
    """
    planned = plan_of(jobs[0], loaded)
    budget = None if jobs[0].memory is None else int(jobs[0].memory * 1e9)
    network = memory.fit(planned.network, planned.plan, planned.settings, budget=budget)
    on_plan(planned._replace(network=network))
    key = _key(jobs[0], planned)
    members: dict[int, _Member] = {}
    for place, job in enumerate(jobs):
        if _key(job, plan_of(job, loaded)) != key:
            raise ValueError("these jobs do not have the same programs")
        try:
            members[place] = _Member(job, loaded, key, titles, len(members))
        except UserError as error:
            on_end(place, error)
    if not members:
        return
    ready = [member.ready for member in members.values()]
    mesh = side_by_side.local_mesh()
    for stage in side_by_side.run(ready, key, network, mesh=mesh, count=count):
        for place, member in list(members.items()):
            try:
                on_progress(place, member.follow(stage))
            except (KeyboardInterrupt, NonFiniteEnergyError) as error:
                del members[place]
                on_end(place, member.stopped(error))
        if not members:
            return
    for place, member in members.items():
        on_end(place, member.delivered())


def plan_of(job: Job, loaded: Loaded) -> Planned:
    """Returns what a job is computed with; only headers are read.

    Raises:
      ImageError: if a picture cannot be read.
      ConfigError: if a setting cannot be used.
    """
    network, settings = resolved_for(job, loaded)
    styles = [image.shape_of(path) for path in job.styles]
    return Planned(network, settings, make_plan(inputs.shape_of(job), styles, network, settings))


def lane_count(job: Job, loaded: Loaded, members: int, wanted: int | None = None) -> int:
    """Returns how many jobs like this one are computed at once; on a CPU one for each device.

    Args:
      job: one of them.
      loaded: from `weights.load`.
      members: how many there are.
      wanted: see `side_by_side.lane_count`.
    """
    planned = plan_of(job, loaded)
    mesh = side_by_side.local_mesh()
    key = _key(job, planned)
    return side_by_side.lane_count(key, planned.settings, planned.network, mesh, members, wanted)


def _key(job: Job, planned: Planned) -> ProgramKey:
    labeled, masked = job.content_guide is not None, job.mask is not None
    return lanes.key_of(planned.plan, planned.settings, labeled=labeled, masked=masked)


class _Member:
    """A job among others, and what becomes of its picture."""

    def __init__(
        self, job: Job, loaded: Loaded, key: ProgramKey, titles: Mapping[Path, str], lane: int
    ) -> None:
        check_files(job)
        shape = inputs.shape_of(job)
        image.check_size(job.output, shape, job.format)
        self._job, self._pictures = job, inputs.load(job)
        self._record = record_of(job, loaded, shape, titles)
        self._last: Progress | None = None
        _, settings = resolved_for(job, loaded)
        self.ready = side_by_side.prepare(self._pictures, shape, key, settings)
        self._follower = Follower(lane, self.ready.lane, key, settings)

    def follow(self, stage: Stage) -> Progress:
        """Returns what a stage says of the job."""
        self._last = self._follower(stage)
        return self._last

    def stopped(self, error: KeyboardInterrupt | NonFiniteEnergyError) -> Ended:
        """Keeps what is painted; returns why the job ended."""
        interrupted = isinstance(error, KeyboardInterrupt)
        last = self._last if interrupted else error.progress
        if last is None:
            return error
        if last.painted:
            failure = self._save(last, {**self._record, "stopped": position(last)})
            if failure is not None:
                return failure
        elif interrupted:
            return error
        return StoppedError(last, interrupted=interrupted)

    def delivered(self) -> Ended:
        """Writes the finished picture; returns why the job ended."""
        return None if self._last is None else self._save(self._last, self._record)

    def _save(self, progress: Progress, record: Mapping[str, object]) -> Ended:
        try:
            save(self._job, self._pictures, progress, record)
        except UserError as error:
            return error
        return None
