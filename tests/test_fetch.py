"""Fetching weights, against a server on loopback that misbehaves in every way."""

import contextlib
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from jaxmrf.cli import app
from jaxmrf.errors import FetchError, WeightsError
from jaxmrf.networks import architectures, fetch, published, weights

ROOT = Path(__file__).resolve().parent.parent


class Server(http.server.ThreadingHTTPServer):
    """Serves one file; `script` holds what to do with the next requests, then "plain"."""

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.script, self.requests = content, [], []
        self.go_on = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/weights.h5"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(self.headers.get("Range"))
        action = server.script.pop(0) if server.script else "plain"
        if isinstance(action, int):
            self.send_error(action)
            return
        if action == "redirect":
            self.send_response(302)
            self.send_header("Location", "/elsewhere.h5")
            self.end_headers()
            return
        start = 0
        if self.headers.get("Range") and action != "no ranges":
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
        else:
            self.send_response(200)
        body = server.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            if action == "hold":
                server.go_on.wait(60)
            if action == "cut":
                self.wfile.write(body[: len(body) // 2])
            elif action == "slow":
                for i in range(4):
                    self.wfile.write(body[i * len(body) // 4 : (i + 1) * len(body) // 4])
                    time.sleep(0.05)
            else:
                self.wfile.write(body)


@pytest.fixture(scope="module")
def content():
    """What is loaded as bytes alone."""
    return np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    """A Keras file with VGG-19's real names and shapes."""
    path = tmp_path_factory.mktemp("served") / "weights.h5"
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name, shape in architectures.kernel_shapes("vgg19").items():
            group = file.create_group(f"block{name[4]}_conv{name[6]}")
            group["W"] = 0.01 * generator.standard_normal(shape, np.float32)
            group["b"] = np.zeros(shape[-1], np.float32)
    return path.read_bytes()


@pytest.fixture(scope="module")
def converted(keras, tmp_path_factory):
    """What is stored of it."""
    folder = tmp_path_factory.mktemp("converted")
    (folder / "mine.h5").write_bytes(keras)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        assert command("convert", str(folder / "mine.h5")).exit_code == 0
        return weights.stored_file("vgg19").read_bytes()


@pytest.fixture
def server(content, monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0.01)
    with Server(content) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def part(tmp_path):
    return tmp_path / "weights.part"


def load(server, part, **more):
    arguments = {
        "algorithm": "md5",
        "digest": hashlib.md5(server.content).hexdigest(),
        "max_bytes": 10**9,
        **more,
    }
    fetch.download(server.url, part, **arguments)


@pytest.mark.parametrize(
    "script", [[], ["slow"], ["redirect"], [500, 503], ["cut"], ["cut", "cut", 500, "cut"]]
)
def test_the_file_arrives_whole(server, part, script):
    server.script = list(script)
    load(server, part)
    assert part.read_bytes() == server.content


def test_a_broken_download_is_continued_not_repeated(server, part):
    server.script = ["cut"]
    load(server, part)
    half = len(server.content) // 2
    assert server.requests == [None, f"bytes={half}-"]


def test_a_later_call_continues_what_an_earlier_one_left(server, part):
    part.write_bytes(server.content[:1000])
    seen = []
    load(server, part, on_progress=lambda done, total: seen.append((done, total)))
    assert server.requests == ["bytes=1000-"]
    assert seen[0] == (1000, len(server.content))
    assert seen[-1] == (len(server.content), len(server.content))


def test_a_part_that_is_complete_is_not_loaded_again(server, part):
    part.write_bytes(server.content)
    load(server, part)
    assert server.requests == []


def test_a_part_longer_than_the_file_is_dropped(server, part):
    part.write_bytes(server.content + b"more")
    server.script = [416]
    load(server, part)
    assert part.read_bytes() == server.content


def test_a_full_disk_is_not_mistaken_for_the_network(server, part, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch, "_copy", full)
    with pytest.raises(OSError, match="No space left"):
        load(server, part)
    assert len(server.requests) == 1


def test_a_server_without_ranges_sends_all_of_it(server, part):
    part.write_bytes(b"x" * 1000)
    server.script = ["no ranges"]
    load(server, part)
    assert part.read_bytes() == server.content


def test_a_wrong_digest_removes_the_part(server, part):
    with pytest.raises(FetchError, match="altered or damaged: md5 is"):
        load(server, part, digest="0" * 32)
    assert not part.exists()


def test_a_file_that_is_not_there_is_named(server, part):
    server.script = [404]
    with pytest.raises(FetchError, match="answers 404"):
        load(server, part)
    assert len(server.requests) == 1


def test_a_server_that_keeps_failing_is_given_up(server, part):
    server.script = ["cut"] + [500] * 10
    with pytest.raises(FetchError, match="call again to continue"):
        load(server, part)
    assert part.stat().st_size == len(server.content) // 2
    assert len(server.requests) == fetch.ATTEMPTS


def test_too_large_a_file_is_not_loaded(server, part):
    with pytest.raises(FetchError, match="more than VGG weights"):
        load(server, part, max_bytes=1000)


def test_nobody_listens(part):
    with Server(b"") as closed:
        url = closed.url
    fetch_error = pytest.raises(FetchError, match="weights convert FILE")
    with pytest.MonkeyPatch.context() as patch, fetch_error:
        patch.setattr(fetch, "PAUSE_SECONDS", 0.01)
        fetch.download(url, part, algorithm="md5", digest="0", max_bytes=10)


@pytest.fixture
def home(server, keras, tmp_path, monkeypatch):
    """An empty cache folder, and VGG-19 published on the loopback server."""
    server.content = keras
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(weights.ENVIRONMENT, raising=False)
    here = published.Published(
        "vgg19", "keras", server.url, "md5", hashlib.md5(server.content).hexdigest(), 80, "CC"
    )
    monkeypatch.setattr(weights, "PUBLISHED", (here,))
    return tmp_path


@pytest.fixture
def stored(home, converted):
    """Where the weights are that were fetched before."""
    path = weights.stored_file("vgg19")
    path.parent.mkdir(parents=True)
    path.write_bytes(converted)
    return path


def command(*arguments):
    return CliRunner().invoke(app.app, ["weights", *arguments])


def test_fetch_makes_vgg19_the_network_in_use(home, server):
    assert weights.load().features.architecture == "vgg16"
    done = command("fetch", "vgg19")
    assert done.exit_code == 0, done.output
    loaded = weights.load()
    assert loaded.features == weights.load("vgg19").features
    assert loaded.features.architecture == "vgg19"
    assert abs(loaded.path.stat().st_size / 1e6 - 23.5) < 0.1
    left = {path.name for path in loaded.path.parent.iterdir()}
    assert left <= {"vgg19.safetensors", "vgg19.lock"}
    listing = command("list").output
    assert {("vgg19", "in"), ("vgg16", "here"), ("decoder-vgg16", "here")} <= marks(listing)
    verified = command("verify").output
    assert "vgg19" in verified
    assert "decoder-vgg16" in verified


def marks(listing):
    """Returns the first two words of each line: what it is of, and where that is."""
    return {tuple(line.split()[:2]) for line in listing.splitlines()}


def test_a_failed_fetch_leaves_the_good_file(stored, converted, server):
    server.content = server.content[:-1] + b"?"
    done = command("fetch", "vgg19")
    assert done.exit_code == 2
    assert "altered or damaged" in done.output
    assert stored.read_bytes() == converted


def test_a_full_disk_is_one_line_and_leaves_the_good_file(stored, converted, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = command("fetch", "vgg19")
    assert done.exit_code == 2
    assert "No space left on device" in done.output
    assert "Traceback" not in done.output
    assert stored.read_bytes() == converted


def test_damaged_stored_weights_are_told_of(stored, converted):
    assert command("verify").exit_code == 0
    damaged = bytearray(converted)
    damaged[-5] ^= 1
    stored.write_bytes(damaged)
    done = command("verify")
    assert done.exit_code == 2
    assert "do not have the digest" in done.output


def test_two_processes_load_it_once(home, server):
    server.script = ["hold"]
    program = (
        "import sys; from jaxmrf.networks import published, weights\n"
        "place = published.Published('vgg19', 'keras', *sys.argv[1:], 80, 'CC')\n"
        "print('ready', flush=True)\n"
        "print(weights.fetch_file(place))\n"
    )
    arguments = [server.url, "md5", hashlib.md5(server.content).hexdigest()]
    running = []
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            cwd=ROOT,
            env=dict(os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        while not server.requests:  # the first one has the lock
            time.sleep(0.01)
    time.sleep(0.5)  # the second one waits for the lock by now
    server.go_on.set()
    for process in running:
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        assert stdout.strip() == str(weights.stored_file("vgg19"))
    assert weights.load("vgg19").features.architecture == "vgg19"
    assert server.requests == [None]
    assert not list(weights.stored_file("vgg19").parent.glob("*.part"))


def test_the_list_tells_of_an_override_and_of_damage(home, keras, monkeypatch):
    path = home / "mine.h5"
    path.write_bytes(keras)
    monkeypatch.setenv(weights.ENVIRONMENT, str(path))
    listing = command("list")
    assert ("vgg19", "in") in marks(listing.output)
    monkeypatch.setenv(weights.ENVIRONMENT, str(home / "nothing"))
    listing = command("list")
    assert listing.exit_code == 0
    assert "cannot read the weights" in listing.output
    assert ("vgg16", "here") in marks(listing.output)


def test_weights_by_option_and_environment(home, keras, monkeypatch):
    path = home / "mine.h5"
    path.write_bytes(keras)
    assert weights.load("auto", path).features.architecture == "vgg19"
    monkeypatch.setenv(weights.ENVIRONMENT, str(path))
    assert weights.load().path == path
    with pytest.raises(WeightsError, match="this is vgg19, not vgg16"):
        weights.load("vgg16")
    monkeypatch.setenv(weights.ENVIRONMENT, str(home / "nothing"))
    with pytest.raises(WeightsError, match="cannot read the weights"):
        weights.load()


def test_convert_stores_where_runs_find_it(home, keras):
    path = home / "mine.h5"
    path.write_bytes(keras)
    done = command("convert", str(path), "--network", "vgg19", "--deepest", "relu4_1")
    assert done.exit_code == 0, done.output
    loaded = weights.load()
    assert loaded.features.architecture == "vgg19"
    assert loaded.features.deepest == "conv4_1"
    wrong = command("convert", str(path), "--network", "vgg16")
    assert wrong.exit_code == 2
    assert "this is vgg19, not vgg16" in wrong.output


def test_places_that_publish_no_digest_are_not_fetched_from():
    assert weights.published("vgg19").name == "keras"
    assert weights.published("vgg19", "torchvision").digest == "dcbb9e9d"
    with pytest.raises(WeightsError, match="choose from keras, torchvision"):
        weights.published("vgg19", "timm")
