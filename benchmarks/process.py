"""A whole transfer as a process of its own: seconds, memory, and how a second one starts."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def whole_runs(content: Path, style: Path, size: int) -> dict[str, float]:
    """Returns figures of a first run with an empty program cache and of a second one."""
    with tempfile.TemporaryDirectory() as folder:
        first, first_start = _run(content, style, size, Path(folder))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        second, second_start = _run(content, style, size, Path(folder))
    return {
        "first run, seconds": first,
        "first run, seconds to the first iteration": first_start,
        "second run, seconds": second,
        "second run, seconds to the first iteration": second_start,
        "peak memory, MB": peak,
    }


def _run(content: Path, style: Path, size: int, folder: Path) -> tuple[float, float]:
    trace = folder / "trace.jsonl"
    trace.unlink(missing_ok=True)
    started = time.perf_counter()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "jaxmrf", "transfer", str(content), str(style)),
            *("-o", str(folder / "out.png"), "--size", str(size), "--trace", str(trace)),
        ],
        env={**os.environ, "XDG_CACHE_HOME": str(folder)},
        stderr=subprocess.DEVNULL,
    )
    while not (trace.exists() and trace.stat().st_size):
        if process.poll() is not None:
            raise RuntimeError(f"the transfer failed with {process.returncode}")
        time.sleep(0.02)
    first_iteration = time.perf_counter() - started
    if process.wait():
        raise RuntimeError(f"the transfer failed with {process.returncode}")
    return time.perf_counter() - started, first_iteration
