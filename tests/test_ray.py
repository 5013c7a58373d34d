"""Ray workers on this machine and on two nodes, some of which die; needs the extra ray."""

import dataclasses
import functools
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from jaxmrf.batch import ray
from jaxmrf.batch.events import BatchOptions
from jaxmrf.errors import AddressError, MissingExtraError
from tests.common import picture

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


class ActorDiedError(Exception):
    """That of a Ray that is none."""


class FewRooms:
    """Stands for Ray: the first actor dies at work, the second has no room and never starts."""

    exceptions = types.SimpleNamespace(RayActorError=ActorDiedError)

    def __init__(self, starts=True):
        self.actors, self.starts = 0, starts

    def cluster_resources(self):
        return {"CPU": 2.0}

    def remote(self, **_):
        return lambda _: types.SimpleNamespace(remote=self.actor)

    def actor(self, *_):
        self.actors += 1
        future = functools.partial(types.SimpleNamespace, actor=self.actors)
        return types.SimpleNamespace(
            process=types.SimpleNamespace(remote=lambda: Future(future(part=None))),
            paint=types.SimpleNamespace(remote=lambda part, _: Future(future(part=part))),
        )

    def wait(self, futures, timeout):
        ready = [future for future in futures if future.about.actor != 2 or not self.starts]
        assert ready, "it waits for what never starts"
        return ready, []

    def get(self, future):
        if not self.starts or (future.about.actor == 1 and future.about.part):
            raise ActorDiedError
        return future.about.part and (future.about.part, [], None)


@dataclasses.dataclass(frozen=True, eq=False)
class Future:
    about: types.SimpleNamespace


def engine_on(stand_in, folder, events):
    somewhere = types.SimpleNamespace(folder=folder, path=folder)
    engine = ray._Engine(
        stand_in, somewhere, somewhere, BatchOptions(lanes=1), "auto", events.append, str
    )
    engine._parts = lambda lines: [([line], 0) for line in lines]
    return engine


def test_actors_that_no_machine_has_room_for_are_not_waited_for(tmp_path):
    events = []
    engine = engine_on(FewRooms(), tmp_path, events)
    engine.run(["a", "b", "c", "d"], 3, lambda: False)
    assert sorted(events) == ["a", "b", "c", "d"]


def test_actors_none_of_which_starts_end_the_batch(tmp_path):
    engine = engine_on(FewRooms(starts=False), tmp_path, [])
    with pytest.raises(ActorDiedError):
        engine.run(["a"], 1, lambda: False)


def few_pictures(folder, contents, styles):
    for name, count, height in (("contents", contents, 48), ("styles", styles, 64)):
        (folder / name).mkdir()
        for index in range(count):
            pixels = np.asarray(picture(10 * count + index, height, 64) * 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name[0]}{index}.png")


@pytest.fixture
def start(tmp_path):
    """Starts a batch of tiny pictures; what is left of it is ended."""
    if importlib.util.find_spec("ray") is None:
        warnings.warn("RAY IS NOT INSTALLED: --engine ray is not tested", stacklevel=1)
        pytest.skip("RAY IS NOT INSTALLED: --engine ray is not tested")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    runs = []

    def start(out, iterations, *more):
        pictures = ("--contents", "contents", "--styles", "styles", "--out", out)
        little = ("--size", "64", "--levels", "1", "--iterations", str(iterations), "--lanes", "1")
        shallow = ("--layers", "relu2_1", "--content-layer", "relu2_1")
        run = subprocess.Popen(
            [sys.executable, str(ROOT / "cli.py"), "batch", *pictures, *little, *shallow, *more],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        runs.append(run)
        return run

    yield start
    for run in runs:
        run.terminate()


def wait_for(run, folder, count):
    """Waits until so many pictures are painted."""
    while len(list(folder.glob("*.png"))) < count:
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)


def workers_of(run, process, count):
    """Returns the actors below a process, once there are so many."""
    workers = []
    while len(workers) < count:
        assert run.poll() is None, run.communicate()
        workers = [
            child
            for child in psutil.Process(process).children(recursive=True)
            if "ray::" in (command := " ".join(child.cmdline())) and "Worker" in command
        ]
    assert len(workers) == count
    return workers


def check_whole(run, folder, start, iterations, count):
    """Checks that all pictures are those of a run without Ray, none of them painted twice."""
    text, _ = run.communicate(timeout=600)
    assert run.returncode == 0, text
    assert len(list(folder.glob("*.png"))) == count
    assert not list(folder.rglob(".jaxmrf-*"))
    records = [
        json.loads(line[9:])
        for file in (folder / ".jaxmrf" / "records").glob("*.log")
        for line in file.read_bytes().splitlines()
    ]
    assert len({record["output"] for record in records}) == len(records) == count, text
    local = start("local", iterations)
    said, _ = local.communicate(timeout=600)
    assert local.returncode == 0, said
    for path in (folder.parent / "local").glob("*.png"):
        assert path.read_bytes() == (folder / path.name).read_bytes()
    return text


@pytest.mark.slow
def test_the_pictures_of_a_dead_worker_are_painted_by_another(tmp_path, start):
    few_pictures(tmp_path, 4, 5)
    run = start("out", 40, "--engine", "ray", "--workers", "2")
    wait_for(run, tmp_path / "out", 2)
    workers_of(run, run.pid, 2)[0].send_signal(signal.SIGKILL)
    assert "a Ray worker died" in check_whole(run, tmp_path / "out", start, 40, 20)


@pytest.mark.slow
def test_eight_workers_of_one_machine_paint_what_a_single_process_does(tmp_path, start):
    few_pictures(tmp_path, 6, 6)
    run = start("out", 2, "--engine", "ray", "--workers", "8")
    text = check_whole(run, tmp_path / "out", start, 2, 36)
    assert "8 Ray workers" in text
    assert "36 painted" in text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:os.fork")  # Ray starts its nodes from here, and JAX warns
def test_a_cluster_goes_on_without_a_worker_and_a_node(tmp_path, start):
    from ray.cluster_utils import Cluster

    few_pictures(tmp_path, 6, 8)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        node = cluster.add_node(num_cpus=2)
        address = ("--address", cluster.address)
        run = start("out", 40, "--engine", "ray", "--workers", "4", *address)
        wait_for(run, tmp_path / "out", 2)
        first, second = (
            workers_of(run, place.all_processes["raylet"][0].process.pid, 2)
            for place in cluster.list_all_nodes()
        )
        first[0].send_signal(signal.SIGKILL)
        wait_for(run, tmp_path / "out", 8)
        # The new ones of the second node have no room in the first; those that are there go on.
        cluster.remove_node(node, allow_graceful=False)
        text = check_whole(run, tmp_path / "out", start, 40, 48)
        assert text.count("a Ray worker died") >= 2
        assert not any(map(psutil.Process.is_running, second))
        # What the dead ones had painted last, but not told, is skipped.
        painted, skipped = map(
            int, re.findall(r"(\d+) painted, (\d+) skipped, 0 failed, 0 left", text)[-1]
        )
        assert painted + skipped == 48
    finally:
        cluster.shutdown()
