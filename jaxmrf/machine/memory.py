"""Whether a run fits into memory, found out before it starts."""

import dataclasses
import functools
import math
from typing import Any, cast

import jax
import numpy as np
from jaxtyping import Array

from jaxmrf.core.features import Network
from jaxmrf.core.losses import style_losses
from jaxmrf.core.pyramid import copies_of_all
from jaxmrf.core.run import lanes
from jaxmrf.core.run.inputs import LevelPictures
from jaxmrf.core.run.plan import Plan
from jaxmrf.core.settings import Program, Settings
from jaxmrf.errors import ConfigError
from jaxmrf.machine import limits
from jaxmrf.machine.device import current
from jaxmrf.networks import vgg

UNCHECKED_PIXELS = 1_000_000
"""Pictures up to this size are not checked where there is `ample` memory, unless a budget is
given: it would take the time of compiling their largest program before anything is seen."""

AMPLE_BYTES, AMPLE_BYTES_PER_PIXEL = 1_000_000_000, 5_000
"""What is more than any run takes: it was 6.4 GB at 1920×1080 pixels, 3.1 kB for each."""

OVERHEAD, BESIDE = 1.2, 600_000_000
"""What a process takes at its peak over what the compiler reports for its largest program, and
the bytes of the compiler and what it leaves, on a CPU: 2.1 GB of 1.3 at 700×700 pixels, 6.4 GB of
5.1 at 1920×1080 (docs/experiments.md)."""


COMFORTABLE = 0.25
"""Share of all memory from which on a run is computed in strips, where no budget is given:
a machine should stay usable beside it, and the choice not depend on what else runs."""


def _device_limit() -> int | None:
    device = current()
    return (device.memory_stats() or {}).get("bytes_limit")


def _beside() -> int:
    return 0 if _device_limit() else BESIDE


def available() -> int:
    """Returns the bytes that the device has for a run."""
    return _device_limit() or limits.available()


def comfortable() -> int:
    """Returns the bytes that a run may take without being computed in strips."""
    return int(COMFORTABLE * (_device_limit() or limits.total()))


def ample(pixels: int) -> bool:
    """Whether there is more than a run of so many pixels can take, without a closer look."""
    return available() > AMPLE_BYTES + AMPLE_BYTES_PER_PIXEL * pixels


def fit(network: Network, plan: Plan, settings: Settings, *, budget: int | None) -> Network:
    """Returns the network as it is, or in strips where the run would take much memory.

    Args:
      network: the network.
      plan: of the run.
      settings: of the run.
      budget: bytes; None: what is `available`, for pictures above `UNCHECKED_PIXELS` or where
        that is not `ample`; in strips beyond what is `comfortable`.

    Raises:
      ConfigError: if it does not fit even so.
    """
    largest = max(map(math.prod, (plan.shapes[-1], *plan.style_shapes[-1])))
    if budget is None and largest <= UNCHECKED_PIXELS and ample(largest):
        return network
    whole = comfortable() if budget is None else budget
    allowed = available() if budget is None else budget
    if allowed < _beside():  # there is not even enough to compile what would tell
        raise ConfigError(
            f"any picture needs more than {_beside() / 1e9:.2g} GB of memory, "
            f"{allowed / 1e9:.2g} GB are there",
            None if budget is None else "memory",
        )
    candidates = [network, *_in_strips(network, settings.program)]
    needed = []
    for candidate in candidates:
        limit = allowed if candidate is candidates[-1] else min(whole, allowed)
        needed.append(_beside() + OVERHEAD * memory_needed(plan, candidate, settings))
        if needed[-1] <= limit:
            return candidate
    # Memory grows with the number of pixels, but for the parameters.
    fixed = _beside() + sum(leaf.nbytes for leaf in jax.tree.leaves(network.params))
    ratio = max(0.0, (allowed - fixed) / (min(needed) - fixed)) ** 0.5
    fitting = [int(side * ratio) // 8 * 8 for side in plan.shapes[-1]]
    advice = "there is no size that fits"
    if min(fitting) >= settings.config.coarsest:
        width_and_height = "{1}x{0}".format(*fitting)
        advice = f"try --size {max(fitting) if settings.has_content else width_and_height}"
    height, width = plan.shapes[-1]
    raise ConfigError(
        f"{width}×{height} pixels need about {min(needed) / 1e9:.2g} GB of memory, "
        f"{allowed / 1e9:.2g} GB are there; {advice}",
        "size",
    )


def memory_needed(plan: Plan, network: Network, settings: Settings) -> int:
    """Returns the bytes that the finest level of a run takes, as its compiler reports them.

    Compiles the level's programs, for shapes alone; with a persistent compilation cache
    the run itself finds them there.

    Args:
      plan: from `plan.make_plan`.
      network: the network.
      settings: of the run.
    """
    key = lanes.key_of(plan, settings, labeled=False, masked=False)
    picture = jax.ShapeDtypeStruct((*plan.shapes[-1], 3), np.float32)
    styles = [jax.ShapeDtypeStruct((*shape, 3), np.float32) for shape in plan.style_shapes[-1]]
    copies = jax.eval_shape(functools.partial(copies_of_all, settings=settings.copies), styles)
    content = cast(Array, picture) if settings.has_content else None  # its shape stands for it
    weights = settings.weights(0, 1)
    pictures = LevelPictures(content, tuple(copies), weights, None, None, None)
    programs = lanes.lowered(key, pictures, network)
    return max(bytes_held(program.compile().memory_analysis()) for program in programs)


def _in_strips(network: Network, program: Program) -> list[Network]:
    if not isinstance(network.features, vgg.VGGFeatures):
        return []
    used = (*style_losses.layers(program), program.content_layer)
    if any(name.startswith("relu1_") for name in used):
        return []
    strips = dataclasses.replace(network.features, in_strips=True)
    return [dataclasses.replace(network, features=strips)]


def bytes_held(analysis: Any) -> int:
    """Returns the bytes that a program holds at once."""
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return held + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes
