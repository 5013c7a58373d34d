"""What an accelerator does with the default: its peaks, the CPU's picture, seconds, lanes.

Compiling is slow there, so that every size and number of lanes is a part of its own, the most
telling ones first; what is measured is reported at once.
"""

import dataclasses
import functools
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np

from benchmarks import kernels, lanes, parts, picture_measures, process
from jaxmrf import api, planning
from jaxmrf.core import pyramid
from jaxmrf.core.config import Config, ScorePrecision, Shape
from jaxmrf.core.features import Network
from jaxmrf.core.losses import mrf
from jaxmrf.core.run import lanes as engine
from jaxmrf.core.run import programs
from jaxmrf.core.run.plan import make_plan
from jaxmrf.core.settings import Program
from jaxmrf.files import image
from jaxmrf.machine import device, memory, program_cache
from jaxmrf.networks import weights

Rows = dict[str, Any]
Part = Callable[[], Rows]

TIMED = 12
"""Iterations that are timed at least."""


@dataclasses.dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
      product: sides of the matrices that are multiplied.
      copy: bytes of the array that is read and written.
      shapes: (height, width) of pictures; the first one is what most is measured at.
      last: those that are measured where time is left.
      lanes: their numbers, at the first shape.
      more_lanes: a shape and numbers of lanes, after all else but `last`.
      chunks: iterations of one program; the largest is a multiple of the others.
      start: longest side of the run whose first and second start are timed.
    """

    product: int = 8192
    copy: int = 2**30
    shapes: tuple[Shape, ...] = ((256, 256), (384, 384), (512, 512), (1080, 1920))
    last: tuple[Shape, ...] = ((2160, 3840),)
    lanes: tuple[int, ...] = (1, 4, 16, 64)
    more_lanes: tuple[Shape, tuple[int, ...]] = ((384, 384), (1, 8, 32))
    chunks: tuple[int, ...] = (1, 5, 10)
    start: int = 384


SMALL = Extent(
    product=512,
    copy=2**24,
    shapes=((64, 64),),
    last=(),
    lanes=(2,),
    more_lanes=((64, 64), ()),
    chunks=(1,),
    start=64,
)
"""For CPUs: shows that everything runs."""


@dataclasses.dataclass
class Bench:
    """What the parts have in common.

    Attributes:
      content: file of the photograph.
      style: file of the painting.
      network: with a decoder.
      peak: GFLOP/s of the float32 product in full precision, once it is measured.
    """

    content: Path
    style: Path
    network: Network
    peak: float = math.nan

    def pictures(self, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
        """Returns content and style, both resized to a shape."""
        loaded = (image.load(path).pixels for path in (self.content, self.style))
        return tuple(np.asarray(pyramid.resize(pixels, shape)).clip(0, 1) for pixels in loaded)


def set_up(cache: Path) -> None:
    """Prepares the process, before there is a device.

    Args:
      cache: empty folder for the programs: so what is compiled is compiled once, and its
        seconds do not depend on earlier runs.
    """
    os.environ["XDG_CACHE_HOME"] = str(cache)
    # Runs in processes of their own need memory beside this one.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    platforms = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]  # no stub
    if platforms and "cpu" not in platforms:
        jax.config.update("jax_platforms", f"{platforms},cpu")  # its picture is compared
    device.compile_quickly()
    program_cache.enable()


def measure(
    bench: Bench,
    extent: Extent,
    *,
    seconds: float,
    report: Callable[[str, Rows], Any],
    only: Sequence[str] = ("",),
) -> bool:
    """Measures part after part; returns whether none failed.

    Args:
      bench: pictures and network.
      extent: sizes and numbers.
      only: parts whose name has one of these in it.
      seconds: after which no part starts any more.
      report: called with the name of a part and what it measured, why it failed, or that it
        was skipped.
    """
    started, failed = time.perf_counter(), False
    for name, part in _parts(bench, extent).items():
        if not any(text in name for text in only):
            continue
        begun = time.perf_counter()
        if begun - started >= seconds:
            report(name, {"skipped": f"{seconds:.0f} seconds were over"})
            continue
        try:
            rows = part()
        except Exception as error:  # the others go on
            traceback.print_exc(file=sys.stderr)
            rows, failed = {"error": f"{type(error).__name__}: {error}"}, True
        report(name, rows | {"seconds of this part": time.perf_counter() - begun})
    return not failed


def _parts(bench: Bench, extent: Extent) -> dict[str, Part]:
    """Returns the parts by name, in their order."""
    (first, *shapes), call = extent.shapes, functools.partial
    (lane_shape, lane_counts) = extent.more_lanes
    listed: dict[str, Part] = {
        "device": call(_device, bench, extent),
        _name(first): call(_size, bench, first),
        f"picture against the CPU, {_name(first)}": call(_against_cpu, bench, first),
    }
    listed |= {_name(shape): call(_size, bench, shape) for shape in shapes}
    last = extent.shapes[-1]
    listed |= {f"matches by precision, {_name(last)}": call(_by_precision, bench, last)}
    listed |= _lane_parts(bench, first, extent.lanes)
    listed |= {
        f"chunks of {count}, {_name(first)}": call(_chunk, bench, first, count, max(extent.chunks))
        for count in extent.chunks
    }
    listed |= {
        f"profile of an iteration, {_name(first)}": call(
            _profile, bench, first, max(extent.chunks)
        ),
        f"starts, {extent.start} pixels": call(
            process.whole_runs, bench.content, bench.style, extent.start
        ),
    }
    listed |= _lane_parts(bench, lane_shape, lane_counts)
    return listed | {_name(shape): call(_size, bench, shape) for shape in extent.last}


def _lane_parts(bench: Bench, shape: Shape, counts: tuple[int, ...]) -> dict[str, Part]:
    def part(count: int) -> Rows:
        return lanes.transfers(*bench.pictures(shape), count, bench.network)

    return {f"lanes: {count}, {_name(shape)}": functools.partial(part, count) for count in counts}


def _name(shape: Shape) -> str:
    height, width = shape
    return f"{width}×{height}"


def _device(bench: Bench, extent: Extent) -> Rows:
    """Returns what the device is, and its peaks."""
    first = jax.devices()[0]
    rows: Rows = {
        "kind": first.device_kind,
        "platform": first.platform,
        "version": first.client.platform_version,
        "memory, GB": (first.memory_stats() or {}).get("bytes_limit", memory.available()) / 1e9,
        "jax": jax.__version__,
        "python": sys.version.split()[0],
    }
    bench.peak = parts.matmul_peak(extent.product, precision="highest")
    return rows | {
        "float32 product, highest precision, GFLOP/s": bench.peak,
        "float32 product, default precision, GFLOP/s": parts.matmul_peak(extent.product),
        "bfloat16 product, GFLOP/s": parts.matmul_peak(extent.product, kind="bfloat16"),
        "read and written, GB/s": parts.bandwidth(extent.copy),
    }


class Level:
    """The only level of a run of one picture, whose programs are compiled one by one.

    Attributes:
      compiling: seconds of compilation by program.
      held: bytes of the largest program, as its compiler reports them.
      network: of the run.
      static: what the programs depend on.
      targets: of the level.
    """

    def __init__(self, bench: Bench, shape: Shape, iterations: int | None = None) -> None:
        content, style = bench.pictures(shape)
        given = () if iterations is None else (iterations,)
        config = Config(size=max(shape), levels=1, iterations=given)
        self.network, settings = planning.resolved(config, bench.network, shape)
        plan = make_plan(shape, [style.shape[:2]], self.network, settings)
        self._shape, self._iterations = shape, plan.iterations[-1]
        self.static = {"program": plan.program(-1, settings.program), "mesh": None}
        self.compiling, self.held = {}, 0
        lane = engine.make_lane(content, [style], None, plan, settings)
        self._image = jax.device_put(lane.start)
        self.network, self._pictures = jax.device_put((self.network, lane.levels[-1]))
        self._prepare = self._compiled(programs.prepare, self.network, self._pictures, shape=shape)
        self.targets = self._prepare(self.network, self._pictures)

    def _compiled(self, program: Any, *arguments: Any, **static: Any) -> Any:
        started = time.perf_counter()
        compiled = program.lower(*arguments, **self.static, **static).compile()
        self.compiling[program.__name__] = time.perf_counter() - started
        held = memory.bytes_held(compiled.memory_analysis())
        self.held = max(self.held, held)
        return compiled

    def preparing(self) -> float:
        """Returns the seconds of the preparation."""
        return parts.seconds(self._prepare, self.network, self._pictures, repeats=3)

    def decoding(self) -> float:
        """Returns the seconds of a round of the decoder; iterations start from its picture."""
        arguments = self.network, self._image, self.targets
        decode = self._compiled(programs.decode, *arguments)
        taken = parts.seconds(decode, *arguments)
        self._image, _ = decode(*arguments)
        return taken

    def iterating(self, count: int | None = None) -> float:
        """Returns the mean seconds of an iteration.

        Args:
          count: iterations of one program; None: as many as the engine takes.
        """
        platform = jax.devices()[0].platform
        count = count or engine.chunk_length(platform, math.prod(self._shape), self._iterations)
        chunk, total = self.chunk(count), max(TIMED, self._iterations)
        chunk()
        started, done, taken = time.perf_counter(), 0, 0.0
        while done < total and taken < parts.LONG:
            chunk()
            done, taken = done + count, time.perf_counter() - started
        return taken / done

    def chunk(self, count: int) -> Callable[[], Any]:
        """Returns a call that takes the next iterations, by one program."""
        begin = functools.partial(programs.begin, self.network, self._image, self.targets)
        state, loss_state = begin(**self.static)
        arguments = self.network, *state, loss_state, self.targets
        steps = self._compiled(programs.steps, *arguments, count=count)
        held = {"states": (state, loss_state)}

        def call() -> Any:
            state, loss_state = held["states"]
            state, loss_state, _, records = steps(self.network, *state, loss_state, self.targets)
            held["states"] = state, loss_state
            return jax.device_get(records)  # as the engine does after every program

        return call


def _size(bench: Bench, shape: Shape) -> Rows:
    """Returns seconds and memory of the finest level of a default run, by its parts."""
    level = Level(bench, shape)
    rows = {
        "preparation": level.preparing(),
        "round of the decoder": level.decoding(),
        "iteration": level.iterating(),
    }
    flops = parts.vgg_flops("vgg16", "conv4_2", shape)
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return {
        **{f"compiling {name}": taken for name, taken in level.compiling.items()},
        **rows,
        "network FLOPs at the full float32 product, over the iteration": flops
        / (bench.peak * 1e9)
        / rows["iteration"],
        "largest program, MB": level.held / 1e6,
        "peak of the device until here, MB": peak and peak / 1e6,
    }


def _by_precision(bench: Bench, shape: Shape) -> Rows:
    """Returns the seconds of finding all matches with each precision of scores, and what differs.

    Those of a default run's finest level, the photograph's own.
    """
    level, rows = Level(bench, shape), {}
    target, reference = level.targets.style["mrf"], None
    for precision in get_args(ScorePrecision)[1:]:  # without auto
        patches = dataclasses.replace(level.static["program"].patches, score_precision=precision)
        matched = _matching(dataclasses.replace(level.static["program"], patches=patches))
        positions = matched(target)
        reference = reference or positions
        rows |= {precision: parts.seconds(matched, target)} | {
            f"{precision}, {name}, share of float32's matches": _share(positions[name], expected)
            for name, expected in reference.items()
        }
    return rows


def _chunk(bench: Bench, shape: Shape, count: int, iterations: int) -> Rows:
    level = Level(bench, shape, iterations)
    taken = level.iterating(count)
    return {"compiling steps": level.compiling["steps"], "iteration": taken}


def _profile(bench: Bench, shape: Shape, iterations: int) -> Rows:
    """Returns the largest kernels of an iteration that finds the matches."""
    chunk = Level(bench, shape, iterations).chunk(1)
    for _ in range(2):  # matches are found in every second one
        chunk()
    return kernels.largest(chunk)


def _against_cpu(bench: Bench, shape: Shape) -> Rows:
    """Returns how the device's picture and matches differ from the CPU's."""
    content, style = bench.pictures(shape)
    config = Config(size=max(shape))
    cpu, own = jax.devices("cpu")[0], jax.devices()[0]

    networks = {target: jax.device_put(bench.network, target) for target in (cpu, own)}

    def painted(target: Any) -> np.ndarray:
        with jax.default_device(target):
            return api.transfer(content, style, config, network=networks[target]).image

    def level(target: Any) -> Level:
        with jax.default_device(target):
            return Level(dataclasses.replace(bench, network=networks[target]), shape)

    with ThreadPoolExecutor(len(networks)) as pool:  # two devices compile at once
        reference, picture = pool.map(painted, (cpu, own))
        cpu_level, own_level = pool.map(level, (cpu, own))
    started = time.perf_counter()
    painted(own)
    again = time.perf_counter() - started
    difference = np.abs(picture - reference)
    rows = {
        "largest difference of a pixel, of 1": float(difference.max()),
        "mean difference": float(difference.mean()),
        "pixels that differ by more than 1/255": float((difference.max(-1) > 1 / 255).mean()),
        "whole run, programs compiled, seconds": again,
    }
    for name, measured in (("device", picture), ("CPU", reference)):
        measures = picture_measures.measure(content, style, measured)
        rows |= {f"{measure}, {name}": value for measure, value in measures.items()}
    of_cpu, of_own = (level.targets.style["mrf"] for level in (cpu_level, own_level))
    return rows | _equal_matches(of_cpu, of_own, own_level.static["program"], own)


def _equal_matches(of_cpu: mrf.Target, of_own: mrf.Target, program: Program, own: Any) -> Rows:
    """Returns the shares of the photograph's patches that both devices match alike."""
    matched = _matching(program)
    reference, separate = matched(of_cpu), matched(of_own)
    same, rows = matched(jax.device_put(of_cpu, own)), {}
    for name, expected in reference.items():
        features, others = (np.asarray(target.anchor.features[name]) for target in (of_cpu, of_own))
        error = np.abs(features - others).max() / np.abs(features).max()
        rows |= {
            f"{name}, largest difference over largest value": float(error),
            f"{name}, equal matches of the same features": _share(same[name], expected),
            f"{name}, equal matches of its own features": _share(separate[name], expected),
        }
    return rows


def _matching(program: Program) -> Callable[[mrf.Target], dict[str, jax.Array]]:
    """Returns the program that finds the matches of the photograph itself."""

    @jax.jit
    def matched(target: mrf.Target) -> dict[str, jax.Array]:
        matches = mrf.match(target.anchor.features, target, program)
        return {name: match.position for name, match in matches.items()}

    return matched


def _share(one: Any, other: Any) -> float:
    return float((np.asarray(one) == np.asarray(other)).mean())


def default_bench(content: Path, style: Path) -> Bench:
    """Returns the bench with the network that comes with the package."""
    return Bench(content, style, weights.load("vgg16").network)
