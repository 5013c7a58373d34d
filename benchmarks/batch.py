"""`jaxmrf batch` over very many lines: how soon it paints, what it takes, a second start."""

import itertools
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from jaxmrf import side_by_side
from jaxmrf.batch import manifest
from jaxmrf.batch.groups import group
from jaxmrf.batch.ledger import Ledger
from jaxmrf.core.run import programs
from jaxmrf.jobs import inputs, options
from jaxmrf.jobs.job import resolved_for
from jaxmrf.machine import program_cache
from jaxmrf.networks import weights

LITTLE = "--size 64 --levels 1 --iterations 2 --layers relu2_1 --content-layer relu2_1"
"""Options whose painting takes little, so that all else is seen."""

SIDES = 48, 64
"""Height and width of all pictures."""

MOST_FINISHED = 100_000
"""Lines of a second start at most: a million records would take a quarter of an hour to write."""

FIRST = 5
"""Pictures that are not timed, after which all is compiled."""


def measure(count: int, pictures: int, words: Sequence[str]) -> dict[str, float]:
    """Returns figures of batches of so many lines, on one folder of pictures.

    Compiled programs are on disk: two lines are painted before. The second start is that of a
    batch whose records and outputs were written without painting.

    Args:
      count: of the lines.
      pictures: that are painted and timed.
      words: options of the command line.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make(folder, count)
        with (folder / "list.jsonl").open() as file:
            rows = list(itertools.islice(file, FIRST + pictures))
        (folder / "few.jsonl").write_text("".join(rows))
        _paint(folder, "few.jsonl", "first", words, 2)
        found = {"painting alone, ms a picture": painting(folder / "few.jsonl", words)}
        for listed, label in (
            ("few.jsonl", f"{len(rows)} lines"),
            ("list.jsonl", f"{count} lines"),
        ):
            figures = _paint(folder, listed, listed.partition(".")[0], words, FIRST + pictures)
            found |= {f"{label}: {figure}": value for figure, value in figures.items()}
        finished = min(count, MOST_FINISHED)
        with (folder / "list.jsonl").open() as file:
            (folder / "done.jsonl").write_text("".join(itertools.islice(file, finished)))
        _finish(folder / "done.jsonl", folder / "done", words)
        found |= {
            f"{finished} finished lines: {figure}": value
            for figure, value in _paint(folder, "done.jsonl", "done", words, None).items()
        }
    return found


def painting(listed: Path, words: Sequence[str]) -> float:
    """Returns milliseconds that the programs of one line take, without reading and writing."""
    program_cache.enable()
    loaded = weights.load("vgg16")
    lines = manifest.read(listed, listed.parent / "none", options.from_arguments(words)[1], loaded)
    members, *_ = group(lines, loaded, 1, lambda line, error: None)
    mesh, line = side_by_side.local_mesh(), lines[0]
    network, settings = resolved_for(line.job, loaded)
    network = programs.placed(network, mesh, programs.SHARED)
    shape = inputs.shape_of(line.job)
    ready = side_by_side.prepare(inputs.load(line.job), shape, members.key, settings)
    taken = []
    for _ in range(30):
        started = time.perf_counter()
        for stage in side_by_side.run([ready], members.key, network, mesh=mesh, count=1):
            last = stage
        np.asarray(last.images)
        taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken[FIRST:])


def _make(folder: Path, count: int) -> None:
    """Writes photographs, paintings and the list of pairs of them, each with its own seed."""
    random = np.random.default_rng(0)
    sides = [math.ceil(math.sqrt(count))] * 2
    for kind, number in zip("cs", sides, strict=True):
        (folder / kind).mkdir()
        for index in range(number):
            small = random.integers(0, 256, (SIDES[0] // 4, SIDES[1] // 4, 3), np.uint8)
            picture = Image.fromarray(small).resize(SIDES[::-1], Image.Resampling.BICUBIC)
            picture.save(folder / kind / f"{index}.png")
    with (folder / "list.jsonl").open("w") as file:
        for number in range(count):
            content, style = divmod(number, sides[1])
            row = {"content": f"c/{content}.png", "style": f"s/{style}.png", "seed": number}
            file.write(json.dumps({**row, "output": f"{content}-{style}.png"}) + "\n")


def _paint(
    folder: Path, listed: str, out: str, words: Sequence[str], pictures: int | None
) -> dict[str, float]:
    """Runs a batch until it has painted so many pictures; None: until it ends by itself."""
    command = [sys.executable, "-m", "jaxmrf", "batch", listed, "--out", out, *words]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )
    told, times, processor, peak = [], [], 0.0, 0.0
    for line in process.stderr:
        told.append(line)
        peak = _peak(process.pid) or peak
        if " done, " in line:
            processor = processor or sum(psutil.Process(process.pid).cpu_times()[:2])
            times.append(time.perf_counter() - started)
            if len(times) == pictures:
                process.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 128 + signal.SIGTERM):
        told.append(f"it ended with {process.returncode}")
        raise RuntimeError(f"{' '.join(command)} failed:\n{''.join(told[-20:])}")
    figures = {"peak memory, MB": peak}
    if times:
        figures["seconds to the first picture"] = times[0]
        figures["processor seconds to it"] = processor
    else:
        figures["seconds"] = time.perf_counter() - started
        figures["processor seconds"] = usage.ru_utime + usage.ru_stime
    if pictures is not None and FIRST < pictures <= len(times):
        timed = times[FIRST - 1 : pictures]
        figures["ms a picture"] = 1000 * (timed[-1] - timed[0]) / max(1, len(timed) - 1)
    return figures


def _peak(process: int) -> float:
    """Returns the MB that a process had at most; zero if it has ended.

    What the system counts for a process that has ended includes what its parent had.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status) or [0]
    return int(peak) / 1024


def _finish(listed: Path, out: Path, words: Sequence[str]) -> None:
    """Writes outputs and records of all lines, as if they had been painted."""
    loaded = weights.load("vgg16")
    lines = manifest.read(listed, out, options.from_arguments(words)[1], loaded)
    ledger = Ledger(out, loaded, 1)
    seen = {"energy": 1.0, "terms": {"mrf": 1.0}, "seconds": 0.1, "lanes": 1, "size": SIDES[::-1]}

    def write(place: int) -> None:
        line = lines[place]
        Image.new("RGB", SIDES[::-1]).save(line.job.output)
        ledger.write(line, seen, ledger.identity(line), "0" * 64)

    # Many at once share the disk's time: records are synchronized together.
    with ThreadPoolExecutor(64) as pool:
        for start in range(0, len(lines), 4096):
            list(pool.map(write, range(start, min(start + 4096, len(lines)))))
