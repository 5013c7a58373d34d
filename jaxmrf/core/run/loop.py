"""One coarse-to-fine run: pictures in, a progress record per iteration out.

Everything under one step is one compiled program. On CPUs the host loops over steps, since a
step inside `lax.scan` is slower there (docs/design.md); accelerators are given chunks of
several steps, so that they need not wait for the host.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import jax
from jaxtyping import Array, Float, PyTree

from jaxmrf.core import energy
from jaxmrf.core.config import Config
from jaxmrf.core.decoder import Decoder
from jaxmrf.core.energy import Targets
from jaxmrf.core.features import Features
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.pyramid import enlarged
from jaxmrf.core.run.inputs import (
    decoder_rounds,
    initial_picture,
    level_inputs,
    make_inputs,
    settled,
)
from jaxmrf.core.run.plan import Plan
from jaxmrf.core.run.progress import NOTHING_SEEN, NonFiniteEnergyError, Progress
from jaxmrf.core.run.step import exact_matches, jit_decode, jit_prepare, jit_steps

LONGEST_CHUNK = 10
"""Iterations of a level that an accelerator does in one program, at most."""

CHUNK_PIXELS = 2**22
"""Pixels of the pictures that such a program hands out, at most: what starts slowly is the
program of a small picture."""


def run(
    params: PyTree,
    content: Float[Array, "_ _ 3"] | None,
    styles: Sequence[Float[Array, "_ _ 3"]],
    plan: Plan,
    *,
    features: Features,
    config: Config,
    initial: Float[Array, "_ _ 3"] | None = None,
    guides: Guides | None = None,
    mask: Float[Array, "_ _"] | None = None,
    trained: Decoder | None = None,
    judge_matches: bool = False,
) -> Iterator[Progress]:
    """Runs the pyramid, yielding after every round of the decoder and every iteration.

    Args:
      params: parameters of the network.
      content: content picture of any size, sRGB in 0 to 1; None: un-guided synthesis.
      styles: style pictures of any size, sRGB in 0 to 1.
      plan: from `make_plan`.
      features: the network.
      config: settings.
      initial: picture to start from instead of what `config.init` says.
      guides: what is where, in the result and in each style; of any size.
      mask: where the result may differ from the content (above 0.5); of any size.
      trained: decoder of the network, for `Config.decoder_rounds`; None: there is none.
      judge_matches: whether to find the share of exact matches at the end of a level,
        which takes one more program and some seconds where they come from clusters.

    Yields:
      One record when a level starts (iteration 0), one after each round of the decoder, and
      one after each iteration.

    Raises:
      NonFiniteEnergyError: if the energy is not a number.
    """
    guided, started = content is not None, initial is not None
    config = settled(config, guided=guided, started=started, trained=trained)
    inputs = make_inputs(content, styles, config, guides=guides, mask=mask)
    levels = len(plan.shapes)
    rounds = decoder_rounds(config, trained)
    progress = Progress(
        level=0,
        levels=levels,
        iteration=0,
        iterations=plan.iterations[0],
        decoded=0,
        image=initial_picture(inputs, initial, plan, config),
        original=content,
        mask=mask,
        shape=plan.shapes[-1],
        config=config,
        finish=inputs.finish,
        **NOTHING_SEEN,
    )
    for level, shape in enumerate(plan.shapes):
        start = dataclasses.replace(
            progress,
            level=level,
            iteration=0,
            iterations=plan.iterations[level],
            decoded=0,
            image=enlarged(progress.image, shape, config),
            **NOTHING_SEEN,
        )
        yield start
        program = plan.program(level, config)
        targets = jit_prepare(
            params,
            level_inputs(inputs, plan, level, config),
            shape=shape,
            features=features,
            config=program,
        )
        for done in range(1, rounds + 1):
            image, finite = jit_decode(
                start.image, params, trained, targets, features=features, config=program
            )
            undecodable = start.undecodable or not finite
            start = dataclasses.replace(start, image=image, decoded=done, undecodable=undecodable)
            yield start
        progress = start
        for progress in _run_level(start, params, targets, features=features, config=program):
            if judge_matches and progress.iteration == progress.iterations:
                share = exact_matches(
                    progress.image, params, targets, features=features, config=program
                )
                progress = dataclasses.replace(progress, exact_matches=share)
            yield progress
        del targets  # or they would be held while those of the next level are prepared


def _run_level(
    progress: Progress, params: PyTree, targets: Targets, *, features: Features, config: Config
) -> Iterator[Progress]:
    """Yields the records of the iterations of one level, which starts at `progress`."""
    state = optimizers.init(progress.image, optimizers.make_optimizer(config))
    memory = energy.no_memory(progress.image, params, targets, features=features, config=config)
    (device,) = progress.image.devices()
    chunk = chunk_length(device.platform, progress.image.shape[:2], progress.iterations)
    good = progress
    for done in range(0, progress.iterations, chunk):
        state, memory, images, records = jit_steps(
            *state, memory, params, targets, count=chunk, features=features, config=config
        )
        records = jax.device_get(records)
        for place in range(chunk):
            record = jax.tree.map(lambda leaf, place=place: leaf[place], records)
            if not record.finite:
                raise NonFiniteEnergyError(good)
            good = progress  # its energy was just found to be finite
            progress = dataclasses.replace(
                progress,
                iteration=done + place + 1,
                image=images[place],
                value=float(record.value),
                terms={name: float(term) for name, term in record.more.items()},
                gradient_norm=float(record.gradient_norm),
            )
            yield progress


def chunk_length(platform: str, shape: tuple[int, int], iterations: int) -> int:
    """Returns how many iterations of a level go into one program: a divisor of their number.

    Example:
      >>> chunk_length("gpu", (384, 298), 15), chunk_length("cpu", (384, 298), 15)
      (5, 1)
    """
    if platform == "cpu":
        return 1
    longest = min(LONGEST_CHUNK, CHUNK_PIXELS // math.prod(shape))
    return max((n for n in range(1, longest + 1) if iterations % n == 0), default=1)
