"""How soon `jaxmrf serve` shows a picture, and a painted one, and how right its time left is."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

PARTS = (0.1, 0.25, 0.5, 0.75)
"""Of a run, at which the time left is looked at."""

PREPARED_SECONDS = 30.0
"""For so long the pictures are chosen before Start, in the cases that are prepared."""


def first_pictures(content: Path, style: Path, size: int) -> dict[str, float]:
    """Returns seconds from Start to what is seen first and to what is painted first.

    Cold: no compiled program is on disk, and Start follows the choice of the pictures at
    once. Prepared: the pictures were chosen a while before. Warm: the server was started
    anew, with the programs of the runs before on disk, and Start follows at once.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, pause in (("cold", 0.0), ("warm", 0.0), ("warm, prepared", PREPARED_SECONDS)):
            found |= _measure(name, content, style, size, pause, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        found |= _measure("cold, prepared", content, style, size, PREPARED_SECONDS, Path(folder))
    return found


def times_left(content: Path, style: Path, sizes: Sequence[int]) -> dict[str, float]:
    """Returns what was told of the time left over what it was, at parts of runs.

    The first run of a size finds no programs on disk; the second one's are there.
    """
    told = {}
    with tempfile.TemporaryDirectory() as folder, _served(Path(folder), "page") as client:
        for size in sizes:
            for name in ("first", "second"):
                body = _chosen(client, content, style, {"size": str(size)})
                for part, ratio in _ratios(client, body).items():
                    told[f"{size} pixels, {name} run, at {part:.0%}: told over real"] = ratio
    return told


def _ratios(client: httpx.Client, body: dict[str, Any]) -> dict[float, float]:
    """Returns what was told of the time left over what it was, at `PARTS` of a run."""
    run = client.post("/api/runs", json=body).raise_for_status().json()
    started = time.perf_counter()
    seen: list[tuple[float, float]] = []
    while not run["ended"]:
        time.sleep(0.05)
        run = client.get(f"/api/runs/{run['id']}").json()
        if run["left"] is not None:
            seen.append((time.perf_counter() - started, run["left"]))
    total = time.perf_counter() - started
    ratios = {}
    for part in PARTS:
        later = [(elapsed, left) for elapsed, left in seen if elapsed >= part * total]
        if later:
            elapsed, left = later[0]
            ratios[part] = left / (total - elapsed)
    return ratios


def _measure(
    name: str, content: Path, style: Path, size: int, pause: float, folder: Path
) -> dict[str, float]:
    with _served(folder, f"page, {name}") as client:
        body = _chosen(client, content, style, {"size": str(size)})
        return _start(name, client, body, pause)


@contextlib.contextmanager
def _served(folder: Path, name: str) -> Iterator[httpx.Client]:
    """Yields a client of a server of its own, whose programs are kept in a folder."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "jaxmrf", "serve", "--port", "0"),
            *("--folder", str(folder / name)),
        ],
        env={**os.environ, "XDG_CACHE_HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        address, _, token = process.stdout.readline().split()[1].partition("/?token=")
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _chosen(
    client: httpx.Client, content: Path, style: Path, options: dict[str, str]
) -> dict[str, Any]:
    """Returns the request of a run of two pictures, which are uploaded."""
    body: dict[str, Any] = {"options": options}
    for kind, path in (("content", content), ("style", style)):
        answer = client.post("/api/pictures", content=path.read_bytes())
        body[kind] = answer.raise_for_status().json()["id"]
    return body


def _start(name: str, client: httpx.Client, body: dict[str, Any], pause: float) -> dict[str, float]:
    if pause:
        client.post("/api/prepare", json=body).raise_for_status()
        time.sleep(pause)
    started = time.perf_counter()
    run = client.post("/api/runs", json=body).raise_for_status().json()
    seen: dict[str, float] = {}
    while len(seen) < 2:
        run = client.get(f"/api/runs/{run['id']}").json()
        if run["ended"]:
            raise RuntimeError(f"the run ended: {run['state']} {run['message']}")
        elapsed = time.perf_counter() - started
        if run["picture"]:
            seen.setdefault(f"{name}: first picture, seconds", elapsed)
        if run["picture"] >= 2:  # the first one is what the run starts from
            seen.setdefault(f"{name}: first painted picture, seconds", elapsed)
        time.sleep(0.02)
    client.post(f"/api/runs/{run['id']}/cancel")
    return seen
