"""A real `jaxmrf serve` process for the tests of the page."""

import contextlib
import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image
from typer.testing import CliRunner

from jaxmrf.cli import app
from tests.common import SHALLOW, picture

ROOT = Path(__file__).resolve().parent.parent
LONG = {**SHALLOW, "iterations": "30000"}
PATIENCE = 180


class Server:
    """The process; its pictures and runs are kept in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "page"
        self.start()

    def start(self, *more):
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(ROOT / "cli.py"), "serve", "--port", "0"),
                *("--folder", str(self.folder), *more),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        assert line.startswith("open http://127.0.0.1:"), line
        self.entrance = line.split()[1]
        self.address, _, self.token = self.entrance.partition("/?token=")
        headers = {"Authorization": f"Bearer {self.token}"}
        self.client = httpx.Client(base_url=self.address, headers=headers, timeout=60)

    def end(self, how=signal.SIGINT):
        self.client.close()
        self.process.send_signal(how)
        self.process.wait(30)
        self.process.stdout.close()
        return self.process.returncode

    def memory(self, child=None):
        """Resident bytes of the server, or of one of its processes."""
        process = psutil.Process(self.process.pid) if child is None else self.child(child)
        return process.memory_info().rss

    def worker(self):
        return self.child("worker")

    def child(self, name):
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if f"jaxmrf.web.{name}" in child.cmdline())

    def files(self):
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())

    def upload(self, path):
        answer = self.client.post(
            "/api/pictures", params={"name": path.name}, content=path.read_bytes()
        )
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def submit(self, content, style, more=None, **options):
        """Starts a run; `more` are its other pictures by role, such as a mask."""
        body = {"content": content, "style": style, "options": options, **(more or {})}
        answer = self.client.post("/api/runs", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def run(self, name):
        return self.client.get(f"/api/runs/{name}").json()

    def inputs(self, run, folder):
        """Downloads the pictures of a run under the names that its command line has."""
        for role, names in run["titles"].items():
            for number, name in enumerate(names):
                answer = self.client.get(f"/api/runs/{run['id']}/inputs/{role}/{number}")
                assert answer.headers["content-disposition"].startswith("attachment")
                (folder / name).write_bytes(answer.content)

    def wait(self, name, condition=lambda run: run["ended"]):
        deadline = time.monotonic() + PATIENCE
        while not condition(run := self.run(name)):
            assert time.monotonic() < deadline, run
            assert not run["ended"], run
            time.sleep(0.05)
        return run

    def clear(self):
        """Cancels and deletes all runs."""
        all_runs = sorted(self.events(1)[0], key=lambda run: run["state"] != "waiting")
        for run in all_runs:  # those that wait first, or they would begin
            self.client.post(f"/api/runs/{run['id']}/cancel")
        for run in all_runs:
            while not self.run(run["id"])["ended"]:
                time.sleep(0.05)
            assert self.client.delete(f"/api/runs/{run['id']}").status_code == 204

    def events(self, count):
        """Returns the data of the first events of a stream."""
        found = []
        with self.client.stream("GET", "/api/events") as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    found.append(json.loads(line[6:]))
                if len(found) == count:
                    break
        return found


def write_pictures(folder):
    """Writes two small pictures and returns their paths."""
    paths = []
    for name, seed, height, width in (("content", 1, 48, 80), ("style", 2, 70, 64)):
        pixels = np.asarray(picture(seed, height, width) * 255).astype(np.uint8)
        paths.append(folder / f"{name}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def command_line(command, folder, *, here=False):
    """Runs the command that the page gives, in a folder; returns the bytes of the picture.

    Args:
      command: of the page.
      folder: where its pictures are.
      here: whether to run it in this process.
    """
    words = shlex.split(command)
    assert words[0] == "jaxmrf"
    assert words[1] in ("transfer", "synthesize")
    if here:
        with contextlib.chdir(folder):
            done = CliRunner().invoke(app.app, words[1:])
        assert done.exit_code == 0, done.output
        return (folder / "out.png").read_bytes()
    subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *words[1:]],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return (folder / "out.png").read_bytes()
