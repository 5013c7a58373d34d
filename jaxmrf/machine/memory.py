"""Whether a run fits into memory, found out before it starts."""

import dataclasses
import functools
import math
from typing import Any

import jax
import numpy as np
import psutil
from jaxtyping import PyTree

from jaxmrf.core import energy
from jaxmrf.core.config import Config
from jaxmrf.core.decoder import Decoder
from jaxmrf.core.features import Features
from jaxmrf.core.losses import style_losses
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.pyramid import copies_of_all
from jaxmrf.core.run.inputs import LevelInputs, decoder_rounds, level_weights, settled
from jaxmrf.core.run.plan import Plan
from jaxmrf.core.run.step import jit_decode, jit_prepare, jit_steps, prepare_level
from jaxmrf.errors import ConfigError
from jaxmrf.networks import vgg, weights

UNCHECKED_PIXELS = 1_000_000
"""Pictures up to this size are not checked unless a budget is given: it would take the
time of compiling their largest program before anything is seen."""

OVERHEAD = 1.35
"""What a process takes at its peak over what the compiler reports for its largest program,
at 1920×1080 pixels (docs/performance.md)."""


COMFORTABLE = 0.25
"""Share of all memory from which on a run is computed in strips, where no budget is given:
a machine should stay usable beside it, and the choice not depend on what else runs."""


def _device_limit() -> int | None:
    device = jax.config.jax_default_device or jax.devices()[0]
    return (device.memory_stats() or {}).get("bytes_limit")


def available() -> int:
    """Returns the bytes that the device has for a run."""
    return _device_limit() or psutil.virtual_memory().available


def comfortable() -> int:
    """Returns the bytes that a run may take without being computed in strips."""
    return int(COMFORTABLE * (_device_limit() or psutil.virtual_memory().total))


def fit(
    network: weights.Loaded, plan: Plan, config: Config, *, guided: bool, budget: int | None
) -> weights.Loaded:
    """Returns the network as it is, or in strips where the run would take much memory.

    Args:
      network: from `weights.load`.
      plan: of the run.
      config: of the run.
      guided: whether there is a content picture.
      budget: bytes; None: what is `available`, for pictures above `UNCHECKED_PIXELS`, in
        strips beyond what is `comfortable`.

    Raises:
      ConfigError: if it does not fit even so.
    """
    largest = max(map(math.prod, (plan.shapes[-1], *plan.style_shapes[-1])))
    if budget is None and largest <= UNCHECKED_PIXELS:
        return network
    whole = comfortable() if budget is None else budget
    budget = available() if budget is None else budget
    candidates = [network, *_in_strips(network, config)]
    needed = []
    for candidate in candidates:
        limit = budget if candidate is candidates[-1] else min(whole, budget)
        compiled = memory_needed(
            plan,
            candidate.params,
            features=candidate.network,
            config=config,
            guided=guided,
            trained=candidate.decoder,
        )
        needed.append(OVERHEAD * compiled)
        if needed[-1] <= limit:
            return candidate
    # Memory grows with the number of pixels, but for the parameters.
    fixed = sum(leaf.nbytes for leaf in jax.tree.leaves(network.params))
    ratio = max(0.0, (budget - fixed) / (min(needed) - fixed)) ** 0.5
    fitting = [int(side * ratio) // 8 * 8 for side in plan.shapes[-1]]
    advice = "there is no size that fits"
    if min(fitting) >= config.coarsest:
        advice = f"try --size {max(fitting)}" if guided else "try --size {1}x{0}".format(*fitting)
    height, width = plan.shapes[-1]
    raise ConfigError(
        f"{width}×{height} pixels need about {min(needed) / 1e9:.2g} GB of memory, "
        f"{budget / 1e9:.2g} GB are there; {advice}"
    )


def _in_strips(network: weights.Loaded, config: Config) -> list[weights.Loaded]:
    if not isinstance(network.network, vgg.Network):
        return []
    used = (*style_losses.layers(config), config.content_layer)
    if any(name.startswith("relu1_") for name in used):
        return []
    strips = dataclasses.replace(network.network, in_strips=True)
    return [dataclasses.replace(network, network=strips)]


def memory_needed(
    plan: Plan,
    params: PyTree,
    *,
    features: Features,
    config: Config,
    guided: bool = True,
    trained: Decoder | None = None,
) -> int:
    """Returns the bytes that the finest level of a run takes, as its compiler reports them.

    Compiles the level's programs, for shapes alone; with a persistent compilation cache
    the run itself finds them there.

    Args:
      plan: from `make_plan`.
      params: parameters of the network.
      features: the network.
      config: settings.
      guided: whether there is a content picture.
      trained: decoder of the network; None: there is none.
    """
    config = settled(config, guided=guided, started=False, trained=trained)
    rounds = decoder_rounds(config, trained)
    shape = plan.shapes[-1]
    picture = jax.ShapeDtypeStruct((*shape, 3), np.float32)
    styles = [jax.ShapeDtypeStruct((*each, 3), np.float32) for each in plan.style_shapes[-1]]
    copies = jax.eval_shape(functools.partial(copies_of_all, config=config.copies()), styles)
    weights = level_weights(config, 0, 1)
    inputs = LevelInputs(picture if guided else None, tuple(copies), weights, None, None, None)
    config = plan.program(-1, config)
    static = {"features": features, "config": config}
    targets = jax.eval_shape(
        functools.partial(prepare_level, shape=shape, **static), params, inputs
    )
    programs = [jit_prepare.lower(params, inputs, shape=shape, **static)]
    if rounds:
        programs.append(jit_decode.lower(picture, params, trained, targets, **static))
    if plan.iterations[-1]:
        state = jax.eval_shape(
            lambda image: optimizers.init(image, optimizers.make_optimizer(config)), picture
        )
        memory = jax.eval_shape(
            lambda image: energy.no_memory(image, params, targets, **static), picture
        )
        programs.append(jit_steps.lower(*state, memory, params, targets, count=1, **static))
    return max(_bytes(program.compile().memory_analysis()) for program in programs)


def _bytes(analysis: Any) -> int:
    """Returns the bytes that a program holds at once."""
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return held + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes
