"""Throughput of lanes over their number and the number of devices."""

import json
import os
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np

import jaxmrf
from jaxmrf import planning
from jaxmrf.core.config import Config
from jaxmrf.core.features import Network
from jaxmrf.core.run import lanes, programs
from jaxmrf.networks import weights

ITERATIONS = 6
"""On a CPU. The first two compile and find matches; the others are timed."""

PAIRS, CPU_PAIRS = 128, 4
"""Pairs that `many` paints, on an accelerator and on a CPU."""

CHUNKS = 3
"""Programs of several iterations that an accelerator runs at least; the last ones are timed."""


def throughput(content: Any, style: Any, counts: list[int], devices: list[int]) -> dict[str, float]:
    """Returns iterations of one picture per second for lanes × devices.

    On CPUs every number of devices is a process of its own, with so many host devices.

    Args:
      content: picture, sRGB in 0 to 1.
      style: picture, sRGB in 0 to 1.
      counts: numbers of lanes of each device.
      devices: numbers of devices.
    """
    found = {}
    for number in devices:
        if jax.devices()[0].platform == "cpu":
            found |= _in_process(content, style, counts, number)
        elif number <= len(jax.devices()):
            found |= measure(content, style, counts, number)
    return found


def measure(content: Any, style: Any, counts: list[int], number: int) -> dict[str, float]:
    """Returns the same for one number of devices, in this process."""
    on_cpu = jax.devices()[0].platform == "cpu"
    iterations = ITERATIONS if on_cpu else CHUNKS * lanes.LONGEST_CHUNK
    config = Config(levels=1, iterations=(iterations,), decoder_rounds=0)
    shapes = content.shape[:2], [style.shape[:2]]
    network, settings, plan = planning.plan_run(*shapes, config, weights.load("vgg16").network)
    key = lanes.key_of(plan, settings, labeled=False, masked=False)
    lane = lanes.make_lane(content, [style], None, plan, settings)
    mesh, found = programs.make_mesh(jax.devices()[:number]), {}
    for count in counts:
        stages = lanes.run([lane] * (count * number), key, network, mesh=mesh)
        # Only behind the last iteration of a program there is a state to go on from.
        ends = (stage.iteration for stage in stages if stage.snapshot is not None)
        _, first = next(ends), next(ends)
        started = time.perf_counter()
        done = max(ends) - first
        seconds = time.perf_counter() - started
        name = f"{number} devices × {count} lanes, iterations/s"
        found[name] = done * count * number / seconds
    return found


def transfers(content: Any, style: Any, count: int, network: Network) -> dict[str, float]:
    """Returns transfers of one level a minute by so many lanes on the first device.

    A level has the default's rounds of the decoder and iterations; pictures are read, compared
    and written by nobody.

    Args:
      content: picture, sRGB in 0 to 1; its size is that of the level.
      style: picture, sRGB in 0 to 1.
      count: number of lanes.
      network: with a decoder.
    """
    config = Config(levels=1, size=max(content.shape[:2]))
    shapes = content.shape[:2], [style.shape[:2]]
    network, settings, plan = planning.plan_run(*shapes, config, network)
    key = lanes.key_of(plan, settings, labeled=False, masked=False)
    lane = lanes.make_lane(content, [style], None, plan, settings)
    mesh = None if count == 1 else programs.make_mesh(jax.devices()[:1])
    taken = []
    for _ in range(2):
        started = time.perf_counter()
        for stage in lanes.run([lane] * count, key, network, mesh=mesh):
            jax.block_until_ready(stage.images)
        taken.append(time.perf_counter() - started)
    return {
        "first run, seconds": taken[0],
        "transfers of one level a minute": 60 * count / taken[1],
    }


def many(content: Any, style: Any, size: int) -> dict[str, float]:
    """Returns pairs a minute by `jaxmrf.transfer_many` and by one `jaxmrf.transfer` after another.

    Every pair has its own seed; both ways are compiled before.

    Args:
      content: picture, sRGB in 0 to 1.
      style: picture, sRGB in 0 to 1.
      size: longest side of the results.
    """
    count = CPU_PAIRS if jax.devices()[0].platform == "cpu" else PAIRS
    loaded = weights.load("vgg16")
    options = {"size": size, "network": loaded}
    pairs = [{"content": content, "style": style, "seed": seed} for seed in range(count)]
    ways = {
        "transfer_many": lambda: jaxmrf.transfer_many(pairs, **options),
        "transfer": lambda: [jaxmrf.transfer(**pair, **options) for pair in pairs],
    }
    found = {}
    for name, way in ways.items():
        way()
        started = time.perf_counter()
        way()
        found[f"{count} pairs by {name}, a minute"] = 60 * count / (time.perf_counter() - started)
    return found


def _in_process(content: Any, style: Any, counts: list[int], number: int) -> dict[str, float]:
    """Returns what `measure` finds in a process with so many host devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={number}"
    request = {
        "content": np.asarray(content).tolist(),
        "style": np.asarray(style).tolist(),
        "counts": counts,
        "number": number,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.lanes"],
        env={**os.environ, "XLA_FLAGS": flags},
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    for key in ("content", "style"):
        asked[key] = np.array(asked[key], np.float32)
    json.dump(measure(**asked), sys.stdout)
