"""Time to the energy that the authors' algorithm in eager PyTorch ends with.

Both sides start from the content in the style's colors, go through the same pyramid with
the same weights, and are judged by `benchmarks.evaluator` at the finest level.
"""

import dataclasses
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.evaluator import Evaluator
from jaxmrf import api
from jaxmrf.core import color, pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.features import Network
from jaxmrf.core.presets import PATCHES_ALONE
from jaxmrf.core.settings import Settings, TermWeights, resolve
from jaxmrf.files import image
from jaxmrf.networks import weights


class Level(NamedTuple):
    """What both sides work with at one pyramid level."""

    content: np.ndarray
    style: np.ndarray
    weights: TermWeights


Reached = tuple[float, float, np.ndarray]
"""Seconds, seconds without compilation, picture."""


def compare(content: Path, style: Path, size: int, iterations: int) -> dict[str, float]:
    """Returns seconds of the baseline, and of this package to the baseline's energy."""
    network = weights.load("vgg16").network
    # What the baseline knows: patches alone, averaged, and no learned start.
    config = Config(size=size, iterations=(iterations,), overlap="mean", **PATCHES_ALONE)
    original, painting = (image.load(path).pixels for path in (content, style))
    levels = _levels(original, painting, resolve(config, network))
    finest = levels[-1]
    judge = Evaluator(network, finest.content, [finest.style], finest.weights, config)
    seconds, picture = _baseline(network, config, levels)
    goal = judge(picture)
    ours = _ours(network, config, original, painting, len(levels))
    reached, energy = _first_below(ours, judge, goal)
    results = {
        "baseline, seconds": seconds,
        "baseline, energy": goal,
        "ours, energy": energy,
        "ours, seconds with compilation": ours[reached][0],
        "ours, seconds without compilation": ours[reached][1],
        "ours, iterations at the finest level": reached + 1,
        "ours, reached the baseline's energy": energy <= goal,
    }
    if energy <= goal:
        results["ratio with compilation"] = seconds / ours[reached][0]
        results["ratio without compilation"] = seconds / ours[reached][1]
    return results


def _levels(original: np.ndarray, painting: np.ndarray, settings: Settings) -> list[Level]:
    config = settings.config
    shape = _shape(original, config)
    count = pyramid.level_count(shape, config)
    shapes = pyramid.level_shapes(shape, count)
    style_shapes = pyramid.level_shapes(pyramid.fit(*painting.shape[:2], config.size), count)
    guide = np.asarray(color.match_distribution(original, (painting,)))
    return [
        Level(
            _scaled(guide, shapes[level]),
            _scaled(painting, style_shapes[level]),
            settings.weights(level, count),
        )
        for level in range(count)
    ]


def _scaled(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.clip(np.asarray(pyramid.resize(picture, shape)), 0, 1)


def _baseline(network: Network, config: Config, levels: list[Level]) -> tuple[float, np.ndarray]:
    """Returns seconds and picture of eager PyTorch, the same iterations at every level."""
    from benchmarks import torch_baseline

    started = time.perf_counter()
    torch_network = torch_baseline.Network(network)
    picture = levels[0].content  # in the style's colors, as a run starts
    for level in levels:
        energy = torch_baseline.Energy(
            torch_network, level.content, [level.style], level.weights, config
        )
        start = np.asarray(pyramid.resize(picture, level.content.shape[:2]))
        picture = torch_baseline.minimize(energy, start, config.iterations[0])
    return time.perf_counter() - started, picture


def _ours(
    network: Network,
    config: Config,
    original: np.ndarray,
    painting: np.ndarray,
    levels: int,
) -> list[Reached]:
    """Returns what was reached after each iteration at the finest level.

    Coarse levels, where iterations cost little, do all the more of them.
    """
    finest = config.iterations[0]
    coarse = [finest * 2 ** (levels - 2 - level) for level in range(levels - 1)]
    config = dataclasses.replace(config, iterations=(*coarse, finest))
    found, warm, durations = [], 0.0, []
    started = last = time.perf_counter()
    for progress in api.iterate(
        original, painting, _shape(original, config), config, network=network
    ):
        progress.image.block_until_ready()
        now = time.perf_counter()
        if progress.iteration == 0:
            warm, durations = warm + _typical(durations), []
        else:
            durations.append(now - last)
            if progress.level == levels - 1:
                found.append((now - started, warm + _typical(durations), progress.image))
        last = now
    return found


def _shape(original: np.ndarray, config: Config) -> tuple[int, int]:
    return pyramid.fit(*original.shape[:2], config.size)


def _typical(durations: list[float]) -> float:
    """Returns the time of these iterations as if the first, that compiles, were as the rest.

    Iterations that find matches and those that keep them take turns, hence no median.
    """
    rest = durations[1:] or durations
    return float(np.mean(rest)) * len(durations) if durations else 0.0


def _first_below(found: list[Reached], judge: Evaluator, goal: float) -> tuple[int, float]:
    """Returns the first picture with at most the goal's energy, by bisection.

    The energy falls nearly monotonically; if it never gets there, the last picture.
    """
    low, high = 0, len(found) - 1
    best = judge(np.asarray(found[high][2]))
    while low < high:
        middle = (low + high) // 2
        value = judge(np.asarray(found[middle][2]))
        if value <= goal:
            high, best = middle, value
        else:
            low = middle + 1
    return high, best
