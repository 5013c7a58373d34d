"""Which precision of scores this device is fastest with: measured once, and remembered."""

import functools
import re
import time
from collections.abc import Callable
from typing import Any

import jax

from jaxmrf.core.matching import nearest, rounded, style_patches
from jaxmrf.core.numerics import dot
from jaxmrf.core.settings import ACCELERATOR_TILE_BYTES, PatchSettings
from jaxmrf.machine import device, program_cache

WORTH = 2.0
"""Seconds that have to be saved: rounded scores and the second look are a larger program, which
takes longer to compile and to load."""

PROMISING = 2.0
"""Products have to be so many times as fast before matches are tried."""

CHANNELS = 256
"""Of what is matched, as of relu3_1 of VGG."""

SIDES = {False: 48, True: 128}
"""Of the maps that are matched, on CPUs and on accelerators."""

FEW_PAIRS = {False: 2**29, True: 2**32}
"""With fewer pairs no precision saves seconds, on CPUs and on accelerators."""

SIDE = 512
"""Of the matrices that are multiplied."""


def fastest(pairs: float, *, accelerates: bool) -> str:
    """Returns the precision that takes the least time for so many pairs of patches.

    It is float32 unless another one saves `WORTH` seconds. The first call that has many pairs
    measures, for a second on a CPU.

    Args:
      pairs: that are compared in a run.
      accelerates: whether the device is no CPU.
    """
    if pairs < FEW_PAIRS[accelerates]:
        return "float32"
    kind = re.sub(r"\W+", "-", device.current().device_kind)
    kept = f"seconds-of-a-pair-{kind}-{jax.__version__}"
    taken = program_cache.read_numbers(kept)
    if "float32" not in taken:
        taken = _measured(accelerates)
        program_cache.write_numbers(kept, taken)
    best = min(taken, key=lambda name: taken[name])
    return best if (taken["float32"] - taken[best]) * pairs >= WORTH else "float32"


def _measured(accelerates: bool) -> dict[str, float]:
    """Returns the seconds for a pair of patches of the precisions that look promising."""
    matrix = jax.random.uniform(jax.random.key(0), (SIDE, SIDE))
    exact = _seconds(jax.jit(dot), matrix, matrix)
    names = ["float32"]
    for name, precision in rounded.PRECISIONS.items():
        values = precision.rounded(matrix)
        if PROMISING * _seconds(jax.jit(precision.product), values, values) < exact:
            names.append(name)
    if names == ["float32"]:
        return {"float32": 0.0}  # it is taken whatever it takes
    side = SIDES[accelerates]
    features = jax.nn.relu(jax.random.normal(jax.random.key(1), (side, side, CHANNELS)))
    size, tile_bytes = PatchSettings.patch_size, PatchSettings.tile_bytes
    tile_bytes = ACCELERATOR_TILE_BYTES if accelerates else tile_bytes
    style = jax.jit(lambda features: style_patches.collect((features,), size, 1))(features)

    def matching(name: str) -> Callable[..., Any]:
        match = functools.partial(nearest.match, precision=name, tile_bytes=tile_bytes)
        return jax.jit(lambda features, style: match(features, style, size, 1))

    return {name: _seconds(matching(name), features, style) / side**4 for name in names}


def _seconds(compute: Callable[..., Any], *arguments: Any) -> float:
    """Returns the shortest time of three calls, after one that compiles."""
    jax.block_until_ready(compute(*arguments))
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        jax.block_until_ready(compute(*arguments))
        taken.append(time.perf_counter() - started)
    return min(taken)
