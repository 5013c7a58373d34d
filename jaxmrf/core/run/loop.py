"""One coarse-to-fine run: pictures in, a progress record per iteration out.

A single picture is one lane (`lanes`); what is here tells of it.
"""

import dataclasses
from collections.abc import Iterator, Sequence

from jaxtyping import Array, Float

from jaxmrf.core.features import Network
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.core.run import lanes
from jaxmrf.core.run.lanes import Lane, ProgramKey, Stage
from jaxmrf.core.run.plan import Plan
from jaxmrf.core.run.progress import NonFiniteEnergyError, Progress
from jaxmrf.core.settings import Settings


def run(
    network: Network,
    content: Float[Array, "_ _ 3"] | None,
    styles: Sequence[Float[Array, "_ _ 3"]],
    plan: Plan,
    settings: Settings,
    *,
    initial: Float[Array, "_ _ 3"] | None = None,
    guides: Guides | None = None,
    mask: Float[Array, "_ _"] | None = None,
    judge_matches: bool = False,
) -> Iterator[Progress]:
    """Runs the pyramid, yielding after every round of the decoder and every iteration.

    Args:
      network: the network.
      content: content picture of any size, sRGB in 0 to 1; None: un-guided synthesis.
      styles: style pictures of any size, sRGB in 0 to 1.
      plan: from `plan.make_plan`.
      settings: from `settings.resolve`.
      initial: picture to start from instead of what `Config.init` says.
      guides: what is where, in the result and in each style; of any size.
      mask: where the result may differ from the content (above 0.5); of any size.
      judge_matches: whether to find the share of exact matches at the end of a level,
        which takes one more program and some seconds where they come from clusters.

    Yields:
      One record when a level starts (iteration 0), one after each round of the decoder, and
      one after each iteration.

    Raises:
      NonFiniteEnergyError: if the energy is not a number.
    """
    key = lanes.key_of(plan, settings, labeled=guides is not None, masked=mask is not None)
    lane = lanes.make_lane(content, styles, initial, plan, settings, guides=guides, mask=mask)
    follow = Follower(0, lane, key, settings)
    for stage in lanes.run([lane], key, network):
        progress = follow(stage)
        if judge_matches and stage.exact_matches is not None and progress.complete:
            share = float(stage.exact_matches()[0])
            progress = dataclasses.replace(progress, exact_matches=share)
        yield progress


class Follower:
    """Tells of one lane, stage by stage.

    Args:
      index: place of the lane.
      lane: this.
      key: of the run.
      settings: of this lane.
    """

    def __init__(self, index: int, lane: Lane, key: ProgramKey, settings: Settings) -> None:
        self._index, self._lane, self._key, self._settings = index, lane, key, settings
        self._good: Progress | None = None
        self._last: Progress | None = None

    def __call__(self, stage: Stage) -> Progress:
        """Returns what a stage says of the lane.

        Raises:
          NonFiniteEnergyError: if the energy is not a number.
        """
        if self._good is not None and not stage.finite[self._index]:  # the first is the start
            raise NonFiniteEnergyError(self._good)
        progress = lanes.progress_of(stage, self._index, self._lane, self._key, self._settings)
        # The energy of the picture before was just found to be finite.
        self._good = self._last if stage.iteration else progress
        self._last = progress
        return progress
