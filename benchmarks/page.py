"""How soon `jaxmrf serve` shows a picture, and a painted one, after Start."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

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


def _measure(
    name: str, content: Path, style: Path, size: int, pause: float, folder: Path
) -> dict[str, float]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "jaxmrf", "serve", "--port", "0"),
            *("--folder", str(folder / f"page, {name}")),
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
            return _start(name, client, content, style, size, pause)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _start(
    name: str, client: httpx.Client, content: Path, style: Path, size: int, pause: float
) -> dict[str, float]:
    body: dict[str, Any] = {"options": {"size": str(size)}}
    for kind, path in (("content", content), ("style", style)):
        answer = client.post("/api/pictures", content=path.read_bytes())
        body[kind] = answer.raise_for_status().json()["id"]
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
