"""Two Ray workers on this machine, one of which dies; needs the extra ray."""

import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from jaxmrf.batch import ray
from jaxmrf.errors import AddressError, MissingExtraError
from tests.conftest import picture

ROOT = Path(__file__).resolve().parent.parent


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"engine ray needs ray: pip install ray"):
        ray.run([], None, None, None)


def test_a_cluster_that_is_not_there_is_told_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ray.check_address(f"ray://127.0.0.1:{port}")
    with pytest.raises(AddressError, match="cannot reach"):
        ray.check_address(f"127.0.0.1:{port}")
    ray.check_address("auto")


@pytest.mark.slow
def test_the_pictures_of_a_dead_worker_are_painted_by_another(tmp_path):
    try:
        import ray  # noqa: F401
    except ImportError:
        warnings.warn("RAY IS NOT INSTALLED: --engine ray is not tested", stacklevel=1)
        pytest.skip("RAY IS NOT INSTALLED: --engine ray is not tested")
    for folder, count, height in (("contents", 4, 48), ("styles", 5, 64)):
        (tmp_path / folder).mkdir()
        for index in range(count):
            pixels = np.asarray(picture(10 * count + index, height, 64) * 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{folder[0]}{index}.png")
    arguments = [
        *("batch", "--contents", "contents", "--styles", "styles", "--size", "64", "--levels", "1"),
        *("--iterations", "40", "--lanes", "1"),
    ]
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
    }

    def start(*more):
        return subprocess.Popen(
            [sys.executable, str(ROOT / "cli.py"), *arguments, *more],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    run = start("--out", "out", "--engine", "ray", "--workers", "2")
    while len(list((tmp_path / "out").glob("*.png"))) < 2:
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    workers = [
        child
        for child in psutil.Process(run.pid).children(recursive=True)
        if "Worker" in " ".join(child.cmdline()) and "ray::" in " ".join(child.cmdline())
    ]
    assert len(workers) == 2
    workers[0].send_signal(signal.SIGKILL)
    text, _ = run.communicate(timeout=300)
    assert run.returncode == 0, text
    assert "a Ray worker died" in text
    assert len(list((tmp_path / "out").glob("*.png"))) == 20
    assert not list((tmp_path / "out").rglob(".jaxmrf-*"))
    local = start("--out", "local")
    text, _ = local.communicate(timeout=300)
    assert local.returncode == 0, text
    for path in (tmp_path / "local").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()
