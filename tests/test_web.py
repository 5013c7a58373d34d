"""The page's HTTP interface, against a real server process."""

import argparse
import asyncio
import dataclasses
import inspect
import io
import itertools
import json
import math
import re
import shutil
import signal
import socket
import struct
import threading
import time
import zipfile
import zlib
from urllib.parse import unquote

import httpx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from jaxmrf import planning
from jaxmrf.analysis import suitability
from jaxmrf.cli import app as cli
from jaxmrf.cli import serve
from jaxmrf.cli.app import transfer
from jaxmrf.core.run.plan import Plan
from jaxmrf.core.run.progress import Progress
from jaxmrf.core.settings import CopySettings, Program, Settings
from jaxmrf.errors import ConfigError, ImageError, MissingExtraError
from jaxmrf.files import decode, image
from jaxmrf.jobs import inputs, option_table, options
from jaxmrf.jobs.job import record_of
from jaxmrf.machine import memory
from jaxmrf.machine.compilation import (
    COMPILED,
    LOWERED,
    READ,
    READING_SECONDS,
    UNKNOWN_SECONDS,
    Compilation,
    Ongoing,
    Programs,
)
from jaxmrf.networks import weights
from jaxmrf.planning import Planned, plan_run
from jaxmrf.web import app, form, reader, runs, security, uploads, worker, zipped
from jaxmrf.web import queue as queue_module
from jaxmrf.web import report as report_module
from jaxmrf.web.networks import Networks, shapes_of
from jaxmrf.web.queue import Queue
from tests.common import SHALLOW
from tests.serving import LONG, command_line, write_pictures

LARGE = {"size": "257", "levels": "1", "iterations": "2000"}


@pytest.fixture
def paths(tmp_path):
    return write_pictures(tmp_path)


@pytest.fixture
def pair(server, paths):
    yield [server.upload(path) for path in paths]
    server.clear()


def status(server, method="GET", path="/api/form", **more):
    with httpx.Client(base_url=server.address, timeout=60) as stranger:
        return stranger.request(method, path, **more).status_code


# Who may speak to the server


def test_the_entrance_gives_a_cookie_and_the_cookie_opens_the_page(server):
    with httpx.Client(base_url=server.address) as browser:
        assert browser.get("/").status_code == 401
        entrance = browser.get(server.entrance)
        assert entrance.status_code == 200
        cookie = entrance.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert server.token.lower() not in cookie
        page = browser.get("/")
        assert page.status_code == 200
        assert '<main id="main"' in page.text
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<script>|<style|style=|onclick|https?://", page.text)
        assert browser.get("/api/form").status_code == 200


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Cookie": "jaxmrf-80=x; =;;"}, 401),
        ({"Host": "evil.example"}, 400),
        ({"Host": "127.0.0.1"}, 400),
        ({"Host": "127.0.0.1:x"}, 400),
        ({"Host": "user@127.0.0.1:{port}"}, 400),
        ({"Host": "localhost:{port}"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "{address}", "Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_strangers_and_other_sites_are_refused(server, headers, expected):
    port = server.address.rpartition(":")[2]
    headers = {
        name: value.format(port=port, address=server.address) for name, value in headers.items()
    }
    if expected != 401:
        headers.setdefault("Authorization", f"Bearer {server.token}")
    assert status(server, headers=headers) == expected
    assert status(server, path="/?token=wrong") == 401
    assert status(server, method="POST", path=f"/?token={server.token}") == 401


def test_a_wrong_token_stores_nothing(server, paths):
    before = server.files()
    assert status(server, "POST", "/api/pictures", content=paths[0].read_bytes()) == 401
    assert server.files() == before


@pytest.mark.parametrize(
    "path",
    [
        "/api/runs/..%2F..%2Fsecret/result",
        "/api/runs/%2e%2e/result",
        "/api/pictures/..%2fsecret",
        "/api/pictures/%2Fetc%2Fpasswd",
        "/api/pictures/%00",
        "/../secret",
        "/secret",
        "/static/..%2f..%2fapp.py",
        "/app.py",
    ],
)
def test_no_path_of_a_client_touches_the_file_system(server, path):
    assert server.client.get(path).status_code == 404
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as raw:  # not normalized
        raw.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
            f"Authorization: Bearer {server.token}\r\n\r\n".encode()
        )
        assert raw.makefile("rb").readline().split()[1] == b"404"


@pytest.mark.parametrize(
    ("options", "control", "message"),
    [
        ({"init": "/etc/passwd"}, "init", "choose from content, noise"),
        ({"content": "/etc/passwd"}, None, "no control 'content'"),
        ({"size": "wide"}, "size", "it takes whole numbers"),
        ({"network": "vgg19"}, "network", "jaxmrf weights fetch vgg19"),
        ({"layers": "relu3_1,relu9_1"}, "layers", "no layer 'relu9_1'"),
    ],
)
def test_options_that_cannot_be_used_are_named_beside_their_control(
    server, pair, options, control, message
):
    for path in ("/api/runs", "/api/prepare"):
        body = {"content": pair[0], "style": pair[1], "options": options}
        answer = server.client.post(path, json=body)
        assert answer.status_code == 422
        assert answer.json()["control"] == control
        assert message in answer.json()["message"]
    assert server.events(1) == [[]]


def test_pictures_that_are_missing_are_named(server, pair):
    for body, control in (({}, "content"), ({"content": pair[0], "style": "../x"}, "style")):
        answer = server.client.post("/api/runs", json=body)
        assert (answer.status_code, answer.json()["control"]) == (422, control)
    for body in (b"words", b"[]", b"[" * 50_000):
        assert server.client.post("/api/runs", content=body).status_code in (400, 422)
    assert server.client.post("/api/runs", content=b"x" * 100_000).status_code == 413
    assert server.client.post("/api/form").status_code == 405


# Uploads


def raw_upload(server, headers, chunks):
    """Sends a body by hand; returns the status line and the bytes that were sent."""
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as raw:
        head = f"POST /api/pictures?name=a.png HTTP/1.1\r\nHost: {host}:{port}\r\n"
        head += f"Authorization: Bearer {server.token}\r\n{headers}\r\n\r\n"
        raw.sendall(head.encode())
        sent = 0
        for chunk in chunks:
            raw.sendall(chunk)
            sent += len(chunk)
        return raw.makefile("rb").readline(), sent


def test_a_gigabyte_is_refused_without_being_stored(server):
    before, memory = server.files(), server.memory()
    most, size = 0, 2**30

    def chunks(chunk):
        nonlocal most
        for number in range(size // 2**20):
            yield chunk
            if number % 256 == 0:
                most = max(most, sum(map(len_of, server.folder.rglob("*"))))

    def len_of(path):
        return path.stat().st_size if path.is_file() else 0

    megabyte = b"x" * 2**20
    line, sent = raw_upload(server, f"Content-Length: {size}", chunks(megabyte))
    assert b" 413 " in line
    assert sent == size
    parts = itertools.chain(chunks(b"100000\r\n" + megabyte + b"\r\n"), [b"0\r\n\r\n"])
    line, _ = raw_upload(server, "Transfer-Encoding: chunked", parts)
    assert b" 413 " in line
    line, _ = raw_upload(server, f"Expect: 100-continue\r\nContent-Length: {size}", [])
    assert b" 413 " in line
    too_large = uploads.MAX_BYTES + 1
    answer = server.client.post("/api/pictures", content=(b"x" * too_large for _ in range(1)))
    assert answer.status_code == 413
    assert "larger than 64 MB" in answer.json()["message"]
    assert server.files() == before
    assert most < 2 * uploads.MAX_BYTES
    assert server.memory() < memory + 200e6
    assert server.memory("reader") < 500e6  # its libraries take 200


def bomb_png():
    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(12_501 * 1000), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def bomb_tiff():
    """A picture of 64×64 deep pixels whose data inflates to sixteen gigabytes."""
    deflate = zlib.compressobj(9)
    data = deflate.compress(bytes(2**24)) + deflate.flush(zlib.Z_FULL_FLUSH)
    data += (deflate.compress(bytes(2**24)) + deflate.flush(zlib.Z_FULL_FLUSH)) * 1000
    entries = {
        256: 64, 257: 64, 258: 16, 259: 8, 262: 2, 273: 8, 277: 3, 278: 64, 279: len(data),
    }  # fmt: skip
    directory = struct.pack("<H", len(entries))
    for tag, value in entries.items():
        directory += struct.pack("<HHII", tag, 4, 1, value)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4)


def icon():
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "ICO")
    return buffer.getvalue()


def test_the_files_of_the_page_are_served_and_name_each_other(server):
    files = {file.name for file in app.STATIC.iterdir()} - {"index.html"}
    page = server.client.get("/").text
    wanted = set(re.findall(r'(?:src|href)="/([^"]+)"', page))
    for name in files:
        answer = server.client.get(f"/{name}")
        assert answer.status_code == 200
        if name.endswith(".js"):
            assert answer.headers["content-type"].startswith("text/javascript")
            wanted |= set(re.findall(r'from "\./([^"]+)"', answer.text))
    for control in form.controls():
        if control.kind == "pictured":
            wanted |= {f"{control.name}-{choice}.jpg" for choice in control.choices}
    wanted = {name for name in wanted if not name.startswith("api/")}
    assert wanted == files


def test_the_page_asks_for_what_can_be_read(server):
    assert f'accept="{decode.accepted()}"' in server.client.get("/").text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"words, not a picture", "not a JPEG, PNG, WebP or TIFF"),
        (b"", "empty"),
        (bomb_png(), "more than 50 megapixels"),
        (icon(), "not a JPEG, PNG, WebP or TIFF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a JPEG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "this file"),
    ],
    ids=["text", "empty", "png-bomb", "icon", "eps", "broken-png"],
)
def test_what_is_no_picture_is_refused_and_not_kept(server, content, message):
    assert_refused_and_not_kept(server, content, message)


@pytest.mark.slow
def test_a_tiff_that_inflates_to_gigabytes_is_refused_and_not_kept(server):
    assert_refused_and_not_kept(server, bomb_tiff(), "too much memory")


def assert_refused_and_not_kept(server, content, message):
    before, memory = server.files(), server.memory()
    answer = server.client.post("/api/pictures", params={"name": "a.png"}, content=content)
    assert answer.status_code == 422, answer.text
    assert message in answer.json()["message"]
    assert str(server.folder) not in answer.text
    assert server.files() == before
    assert server.memory() < memory + 300e6


def test_a_client_that_goes_half_way_leaves_nothing(server, paths):
    before = server.files()
    host, port = server.address.removeprefix("http://").split(":")
    for _ in range(10):
        with socket.create_connection((host, int(port))) as raw:
            head = f"POST /api/pictures HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 9999\r\n"
            raw.sendall(f"{head}Authorization: Bearer {server.token}\r\n\r\nhalf".encode())
    deadline = time.monotonic() + 30
    while server.files() != before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.upload(paths[0])  # the places in the gate are free again


def test_names_of_files_are_only_ever_text(server, paths):
    for name in ("../../evil.png", "/etc/passwd", "a\x00b\r\nc.png", "x" * 5000, "", "..", "é.png"):
        answer = server.client.post(
            "/api/pictures", params={"name": name}, content=paths[0].read_bytes()
        )
        assert answer.status_code == 201
        title = answer.json()["title"]
        assert title == uploads.clean_title(name)
        assert title
        assert len(title) <= uploads.MAX_NAME
        assert not set(title) & set("/\\\r\n\0")


@given(st.text())
def test_titles_are_short_lines_without_folders(name):
    title = uploads.clean_title(name)
    assert 0 < len(title) <= uploads.MAX_NAME
    assert not set(title) & set("/\\\r\n\0")
    assert title not in (".", "..")
    assert uploads.clean_title(title) == title


def test_two_hundred_requests_at_once(server, paths):
    content = paths[0].read_bytes()

    async def together():
        headers = {"Authorization": f"Bearer {server.token}"}
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=server.address, headers=headers, limits=limits, timeout=120
        ) as client:
            asked = [client.get("/api/form") for _ in range(100)]
            asked += [client.post("/api/pictures", content=content) for _ in range(100)]
            return await asyncio.gather(*asked)

    memory = server.memory()
    answers = asyncio.run(together())
    assert [answer.status_code for answer in answers] == [200] * 100 + [201] * 100
    assert len({answer.json()["id"] for answer in answers[100:]}) == 100
    assert server.memory() < memory + 200e6
    assert not [name for name in server.files() if name.startswith(".")]


# Groups


def pixels_of(path):
    with Image.open(path) as file:
        return np.asarray(file).astype(int)


def test_runs_of_a_group_are_computed_side_by_side(tmp_path):
    """And differ by rounding alone from those that are computed one by one."""
    paintings = {
        lanes: [
            painting(tmp_path, f"{lanes}-{weight}", **SHALLOW, tv_weight=weight)
            for weight in ("0.1", "1", "9")
        ]
        for lanes in (1, 2)
    }
    pictures = {}
    for lanes, runs_of_it in paintings.items():
        told = []
        computing = worker.Worker(worker.Inbox(), told.append, None, "auto", lanes)
        computing._run({"do": "quick", "runs": runs_of_it})
        ends = [message for message in told if message["told"] == "end"]
        assert {message["id"]: message["state"] for message in ends} == {
            made["id"]: "finished" for made in runs_of_it
        }
        assert {message["lanes"] for message in ends} == {lanes}
        for made in runs_of_it:
            positions = [
                message["position"]["iteration"]
                for message in told
                if message["told"] == "progress" and message["id"] == made["id"]
            ]
            assert positions == [0, 1, 2]
            with Image.open(made["preview"]) as preview:
                assert preview.size == (64, 38)
        pictures[lanes] = [pixels_of(made["output"]) for made in runs_of_it]
    for alone, together in zip(*pictures.values(), strict=True):
        assert np.abs(alone - together).max() <= 2
    assert np.abs(pictures[2][0] - pictures[2][2]).max() > 2


@pytest.mark.parametrize(
    ("values", "state", "kept"),
    [({"style_weight": "1e38"}, "failed", False), ({}, "canceled", False), ({}, "stopped", True)],
)
def test_a_lane_that_ends_early_leaves_the_others(tmp_path, values, state, kept):
    told = []
    computing = worker.Worker(worker.Inbox(), told.append, None, "auto", 2)

    def send(message):
        told.append(message)
        iteration = message["told"] == "progress" and message["position"]["iteration"]
        if state == "canceled" or (state == "stopped" and iteration):
            computing._inbox.put({"do": "cancel", "id": "b"})

    computing._send = send
    runs_of_it = [painting(tmp_path, name, **SHALLOW) for name in "ab"]
    runs_of_it[1]["values"] |= values
    computing._run({"do": "quick", "runs": runs_of_it})
    ends = {message["id"]: message["state"] for message in told if message["told"] == "end"}
    assert ends == {"a": "finished", "b": state}
    assert (tmp_path / "a.png").exists()
    assert (tmp_path / "b.png").exists() == kept


def test_runs_whose_lanes_are_not_free_yet_can_be_canceled(tmp_path):
    told = []
    computing = worker.Worker(worker.Inbox(), told.append, None, "auto", 1)
    runs_of_it = [painting(tmp_path, name, **SHALLOW) for name in "abc"]
    computing._inbox.put({"do": "cancel", "id": "b"})
    computing._run({"do": "quick", "runs": runs_of_it})
    ends = [(message["id"], message["state"]) for message in told if message["told"] == "end"]
    assert ends == [("b", "canceled"), ("a", "finished"), ("c", "finished")]


def test_a_group_has_the_bytes_of_its_command_lines(server, pair, paths, tmp_path):
    body = {"content": pair[0], "style": pair[1]}
    wanted = [{**body, "options": {**SHALLOW, "tv_weight": weight}} for weight in ("0.1", "9")]
    answer = server.client.post("/api/groups", json={"runs": wanted})
    assert answer.status_code == 201
    group = answer.json()
    assert len({run["group"] for run in group}) == 1
    for run in group:
        assert server.wait(run["id"])["lanes"] == 1  # one device
    last = server.client.get(f"/api/runs/{group[1]['id']}/result").content
    assert last == command_line(group[1]["command"], tmp_path, here=True)


def test_a_group_is_refused_as_a_whole(server, pair):
    body = {"content": pair[0], "style": pair[1], "options": SHALLOW}
    wrong = {**body, "options": {"size": "wide"}}
    for wanted, status in (([body, wrong], 422), ([], 422), ([body] * 99, 422), ("x", 422)):
        answer = server.client.post("/api/groups", json={"runs": wanted})
        assert answer.status_code == status
    assert server.events(1) == [[]]
    assert server.client.post("/api/groups/nothing/cancel").status_code == 404


def test_pictures_come_as_a_zip_file_with_their_commands(server, pair):
    assert server.client.get("/api/results.zip").status_code == 404
    body = {"content": pair[0], "style": pair[1]}
    wanted = [{**body, "options": {**SHALLOW, "tv_weight": weight}} for weight in ("0.1", "9")]
    group = server.client.post("/api/groups", json={"runs": wanted}).json()
    other = server.submit(*pair, **SHALLOW)
    results = []
    for run in (*group, other):
        server.wait(run["id"])
        results.append(server.client.get(f"/api/runs/{run['id']}/result").content)
    names = ["content in the manner of style.png"]
    names += [f"content in the manner of style-{number}.png" for number in (2, 3)]
    for query, count in (("", 3), (f"?group={group[0]['group']}", 2)):
        answer = server.client.get(f"/api/results.zip{query}")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == [*names[:count], "commands.txt"]
            assert [archive.read(name) for name in names[:count]] == results[:count]
            commands = archive.read("commands.txt").decode()
    assert f"{names[1]}:\n{group[1]['command']}\n" in commands
    assert server.client.get("/api/results.zip?group=nothing").status_code == 404


def test_a_zip_file_is_sent_part_by_part(tmp_path):
    large = bytes(range(256)) * 20_000
    (tmp_path / "large").write_bytes(large)
    entries = [
        zipped.Entry("gone.png", tmp_path / "gone", 0.0),
        zipped.Entry("é.png", tmp_path / "large", 2e9),
        zipped.Entry("b.txt", b"words", 0.0),
    ]
    parts = list(zipped.stream(entries))
    assert max(map(len, parts)) < zipped.CHUNK + 1000
    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "é.png": large,
            "b.txt": b"words",
        }


# Runs


def test_a_run_has_the_bytes_of_the_command_line(server, pair, paths, tmp_path):
    """At the smallest size that is named where another is refused."""
    options = {"iterations": "2", "seed": "3", "color": "keep"}
    body = {"content": pair[0], "style": pair[1], "options": {**options, "size": "8"}}
    refusal = server.client.post("/api/runs", json=body).json()["message"]
    assert "the smallest size for these pictures is 40" in refusal
    run = server.submit(*pair, **options, size="40")
    done = server.wait(run["id"])
    assert done["state"] == "finished", done
    assert (done["width"], done["height"]) == (40, 24)
    assert (done["levels"], done["iteration"], done["done"]) == (1, 2, 1.0)
    assert [point[0] for point in done["curve"]] == [1, 2]
    answer = server.client.get(f"/api/runs/{run['id']}/result")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.content == command_line(run["command"], tmp_path)
    for name in ("preview", "thumbnail"):
        answer = server.client.get(f"/api/runs/{run['id']}/{name}")
        assert answer.headers["content-type"] == "image/jpeg"


def test_the_command_and_the_pictures_beside_it_give_the_same_bytes(server, paths, tmp_path):
    """Two pasted pictures have the same name, an example is not on the client's disk.

    And a picture may be used twice."""
    example = next(iter(server.client.get("/api/form").json()["examples"]))
    one, other = (
        server.client.post(
            "/api/pictures", params={"name": "image.png"}, content=path.read_bytes()
        ).json()["id"]
        for path in paths
    )
    chosen = ((one, [other]), (example["id"], [one, example["id"]]))
    for number, (content, styles) in enumerate(chosen):
        run = server.submit(content, styles, **SHALLOW)
        server.wait(run["id"])
        folder = tmp_path / str(number)
        folder.mkdir()
        server.inputs(run, folder)
        result = server.client.get(f"/api/runs/{run['id']}/result").content
        assert result == command_line(run["command"], folder, here=True)
        assert len(list(folder.iterdir())) == len({content, *styles, "out.png"})
    server.clear()


def painted_picture(size, *parts):
    """Returns a picture in flat colors, as (color, box) parts on black, as a PNG file."""
    picture = Image.new("RGB", size)
    for color, box in parts:
        picture.paste(color, box)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


LABELS = {
    "content_guide": [painted_picture((80, 48), ("red", (0, 0, 40, 48)))],
    "style_guide": [
        painted_picture((64, 70), ("red", (0, 20, 64, 70))),
        painted_picture((80, 48), ("red", (0, 0, 40, 48))),
    ],
    "mask": [painted_picture((80, 48), ("white", (0, 0, 80, 24)))],
}


def upload_labels(server):
    """Uploads `LABELS`, all under the same name; returns their ids."""
    return {
        role: [
            server.client.post(
                "/api/pictures", params={"name": "guide.png"}, content=content
            ).json()["id"]
            for content in contents
        ]
        for role, contents in LABELS.items()
    }


@pytest.mark.parametrize("synthesis", [False, True])
def test_the_command_gives_the_same_bytes_with_all_kinds_of_pictures(
    server, pair, tmp_path, synthesis
):
    if synthesis:
        chosen = {**SHALLOW, "size": "64x48", "tileable": "true", "init": "shuffle"}
        chosen.pop("content_layer")
        run = server.submit(None, [pair[1], pair[0]], {"command": "synthesize"}, **chosen)
    else:
        styles = [pair[1], pair[0]]
        run = server.submit(pair[0], styles, upload_labels(server), **SHALLOW, style_blend="3,7")
    done = server.wait(run["id"])
    assert done["state"] == "finished", done
    server.inputs(run, tmp_path)
    result = server.client.get(f"/api/runs/{run['id']}/result")
    assert result.content == command_line(run["command"], tmp_path, here=True)
    assert ("--mask=guide-4.png" in run["command"]) != synthesis
    name = unquote(re.search("filename.*[\"'](.+png)", result.headers["content-disposition"])[1])
    whole = "content in the manner of style and content.png"
    assert name == (whole.removeprefix("content ") if synthesis else whole)


@pytest.mark.parametrize(
    ("change", "control", "message"),
    [
        ({"style_guide": None}, "content_guide", "guides are of use only together"),
        ({"mask": [painted_picture((80, 48))]}, "mask", "the mask guide-4.png is black everywhere"),
        ({"mask": [painted_picture((48, 80), ("white", (0, 0, 9, 9)))]}, "mask", "proportions"),
        (
            {"content_guide": [painted_picture((80, 48), ("blue", (0, 0, 40, 48)))]},
            "content_guide",
            "the label #0000ff of the content guide guide.png is in no style guide",
        ),
        ({"mask": "x"}, "mask", "this mask is no longer kept"),
        ({"style": []}, "style", "choose a painting first"),
        ({"content": None}, "content", "choose a photograph first"),
        ({"command": "synthesize"}, "content", "a synthesis has no photograph"),
        ({"content": ["{content}"] * 2}, "content", "2 are more than 1"),
    ],
)
def test_pictures_that_do_not_go_together_are_told_before_the_run(
    server, pair, change, control, message
):
    body = {"content": pair[0], "style": [pair[1], pair[0]], **upload_labels(server)}
    for role, value in change.items():
        if isinstance(value, list) and value and isinstance(value[0], bytes):
            answer = server.client.post(
                "/api/pictures", params={"name": "guide.png"}, content=value[0]
            )
            value = answer.json()["id"]
        body[role] = [pair[0]] * 2 if value == ["{content}"] * 2 else value
    answer = server.client.post("/api/runs", json={**body, "options": SHALLOW})
    assert answer.status_code == 422
    assert answer.json()["control"] == control
    assert message in answer.json()["message"]
    assert str(server.folder) not in answer.text


def test_turned_and_transparent_pictures_give_the_same_bytes_too(server, tmp_path):
    paths = write_pictures(tmp_path)
    turned = tmp_path / "turned and clear.webp"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(paths[0]) as file:
        lying = file.transpose(Image.Transpose.ROTATE_90)
        lying.putalpha(128)
        lying.save(turned, exif=exif, lossless=True)
    run = server.submit(server.upload(turned), server.upload(paths[1]), **SHALLOW)
    server.wait(run["id"])
    assert (run["width"], run["height"]) == (64, 38)
    command = run["command"].replace("'turned and clear.webp'", "t.webp")
    assert command != run["command"]
    answer = server.client.get(f"/api/runs/{run['id']}/result")
    shutil.copy(turned, tmp_path / "t.webp")
    made = command_line(command, tmp_path, here=True)
    with Image.open(io.BytesIO(made)) as one, Image.open(io.BytesIO(answer.content)) as other:
        assert one.mode == other.mode == "RGBA"
        assert one.tobytes() == other.tobytes()
        assert one.text["jaxmrf"].replace("t.webp", turned.name) == other.text["jaxmrf"]
    server.clear()


def test_a_canceled_run_keeps_what_is_there(server, pair):
    run = server.submit(*pair, **LONG)
    server.wait(run["id"], lambda run: run["iteration"] > 2)
    assert server.client.delete(f"/api/runs/{run['id']}").status_code == 409
    assert server.client.post(f"/api/runs/{run['id']}/cancel").status_code == 202
    done = server.wait(run["id"])
    assert (done["state"], done["result"]) == ("stopped", True)
    with Image.open(io.BytesIO(server.client.get(f"/api/runs/{run['id']}/result").content)) as file:
        assert file.size == (64, 38)
        assert '"stopped": {"iteration": ' in file.text["jaxmrf"]
    assert server.client.delete(f"/api/runs/{run['id']}").status_code == 204
    assert server.client.get(f"/api/runs/{run['id']}").status_code == 404


def test_quick_runs_go_first_and_change_no_byte_of_others(server, pair, tmp_path):
    gram = {"style_loss": "gram", "gram_layers": "relu1_1", "content_layer": "relu1_1"}
    longer = {**gram, "size": "257", "levels": "1", "iterations": "20", "optimizer": "adam"}
    long = server.submit(*pair, **longer)
    later = server.submit(*pair, **LARGE)
    assert not long["quick"]
    server.wait(long["id"], lambda run: run["iteration"] > 0)
    quick = server.submit(*pair, **SHALLOW)
    assert quick["quick"]
    quick = server.wait(quick["id"])
    assert server.run(long["id"])["state"] == "running"
    waiting = server.run(later["id"])
    assert (waiting["state"], waiting["place"]) == ("waiting", 1)
    assert waiting["starts_in"] > 0
    server.client.post(f"/api/runs/{later['id']}/cancel")
    assert server.run(later["id"])["state"] == "canceled"
    assert server.wait(long["id"])["state"] == "finished"
    result = server.client.get(f"/api/runs/{long['id']}/result").content
    assert result == command_line(long["command"], tmp_path, here=True)


def test_a_preparation_is_not_in_the_way_of_runs():
    inbox = worker.Inbox()
    for name, what in ("a", "prepare"), ("b", "prepare"), ("c", "run"), ("d", "quick"):
        inbox.put({"do": what, "runs": [{"id": name}]})
    assert [inbox.take()["runs"][0]["id"] for _ in range(2)] == ["d", "c"]
    assert not inbox._heap
    for name in "ef":
        inbox.put({"do": "prepare", "runs": [{"id": name}]})
    assert inbox.take()["runs"][0]["id"] == "f"


def painting(folder, name, **values):
    """What the process that computes is told of a run."""
    content, style = map(str, write_pictures(folder))
    return {
        "id": name,
        "values": values,
        "titles": {content: "content.png", style: "style.png"},
        "inputs": {"content": [content], "style": [style]},
        "output": str(folder / f"{name}.png"),
        "preview": str(folder / f"{name}.jpg"),
        "advise": False,
        "rate": None,
    }


def test_a_run_that_waits_for_a_compilation_shows_its_start(tmp_path):
    told = []
    computing = worker.Worker(worker.Inbox(), told.append, None, "auto")
    message = {"do": "run", "runs": [painting(tmp_path, "a", **SHALLOW)]}
    computing.glance(message)
    assert not told  # nothing is in its way: the run itself begins
    computing._preparing = True
    computing.glance({**message, "do": "prepare"})
    assert not told
    computing.glance(message)
    (message,) = told
    assert message["told"] == "progress"
    assert (message["position"]["iteration"], message["position"]["picture"]) == (0, 1)
    with Image.open(tmp_path / "a.jpg") as preview:
        assert preview.size == (64, 38)


@pytest.mark.parametrize(
    ("size", "score", "expected"),
    [("128", 0.1, ["progress", "advice"]), ("128", 0.4, ["progress"]), ("64", 0.1, ["progress"])],
)
def test_the_advice_of_the_command_line_comes_with_the_first_painted_picture(
    tmp_path, monkeypatch, size, score, expected
):
    files = write_pictures(tmp_path)
    found = suitability.Suitability(score, 1.0, 1000)
    monkeypatch.setattr(planning, "measure_suitability", lambda *arguments: found)
    message = {"id": "a", "preview": str(tmp_path / "preview.jpg"), "rate": None}
    job = options.job({"content": files[0], "style": files[1], "output": "o.png", "size": size})
    shape = (int(size) // 2, int(size))
    told = []
    report = worker.Report(
        message, job, told.append, Compilation(), report_module.Adviser(), object()
    )
    resolved = Settings(job.config, Program(), CopySettings())
    report.plan(Planned(LOADED.get("auto").network, resolved, Plan((shape,), ((shape,),), (5,), 0)))
    state = Progress(
        0, 1, 0, 5, 0, jnp.zeros((*shape, 3)), math.nan, {}, 0.0, 0.0, None, None, shape, job.config
    )
    report.progress(state)
    assert [one["told"] for one in told] == ["progress"]  # nothing is painted yet
    told.clear()
    for iteration in (1, 2):
        report.progress(dataclasses.replace(state, iteration=iteration))
    assert [one["told"] for one in told] == [*expected, "progress"]


def test_advice_is_kept_with_the_run(queue):
    run = submit(queue)
    queue._hear({"told": "advice", "id": run.id, "text": "try another painting"})
    assert queue.summary(run)["advice"] == "try another painting"


def test_events_have_all_runs_first_and_then_what_changes(server, pair):
    run = server.submit(*pair, **SHALLOW)
    seen = []
    with server.client.stream("GET", "/api/events") as stream:
        for line in stream.iter_lines():
            seen.append(line)
            if line.startswith("data: ") and '"state": "finished"' in line:
                break
    assert seen[0] == "id: 1"
    assert seen[1] == "event: runs"
    assert run["id"] in seen[2]
    assert server.events(1)[0][0]["state"] == "finished"


def test_failures_are_told_and_the_next_run_goes_on(server, pair):
    run = server.submit(*pair, **SHALLOW, style_weight="1e38")
    assert "not finite" in server.wait(run["id"])["message"]
    assert server.wait(server.submit(*pair, **SHALLOW)["id"])["state"] == "finished"


def test_the_queue_has_an_end(server, pair):
    names = [server.submit(*pair, **LONG)["id"] for _ in range(51)]
    answer = server.client.post(
        "/api/runs", json={"content": pair[0], "style": pair[1], "options": {}}
    )
    assert answer.status_code == 429
    assert "50 runs are waiting already" in answer.json()["message"]
    places = [server.run(name)["place"] for name in names[1:]]
    assert places == list(range(1, 51))


def test_runs_and_gallery_survive_the_end_of_the_server_and_of_the_process_that_computes(
    server, paths, pair
):
    """A sudden end, that of a user, who presses Ctrl-C, and that of the process alone.

    A run that is lost twice is given up, but Ctrl-C does not count; a process that is lost is
    replaced and goes on with the next run. Old pictures without a run go.
    """
    finished = server.submit(*pair, **SHALLOW)
    server.wait(finished["id"])
    result = server.client.get(f"/api/runs/{finished['id']}/result").content
    with httpx.Client() as browser:
        cookie = browser.get(server.entrance).headers["set-cookie"].split(";")[0]
    run = server.submit(*pair, **LONG)
    waiting = server.submit(*pair, **SHALLOW)
    for how, code in ((signal.SIGKILL, -9), (signal.SIGINT, 0)):
        old = server.upload(paths[0])
        server.wait(run["id"], lambda run: run["iteration"] > 0)
        worker = server.worker()
        assert server.end(how) == code
        worker.wait(30)
        pictures = server.folder / "pictures"
        (pictures / ".upload-left").touch()
        for record in (pictures / f"picture-{name}.json" for name in (old, *pair)):
            record.write_text(json.dumps(json.loads(record.read_text()) | {"created": 1.0}))
        server.start()
        value = cookie.partition("=")[2]
        name = f"jaxmrf-{server.address.rpartition(':')[2]}"
        assert status(server, headers={"Cookie": f"{name}={value}"}) == 200
        assert ".upload-left" not in server.files()
        assert server.run(finished["id"])["state"] == "finished"
        again = server.client.get(f"/api/runs/{finished['id']}/result")
        assert again.content == result
        begun = server.wait(run["id"], lambda run: run["iteration"] > 0)
        assert begun["attempts"] == 2
        assert_picture_is_gone(server, old)
    server.worker().kill()
    done = server.wait(run["id"])
    assert done["state"] == "interrupted"
    assert "perhaps memory ran out" in done["message"]
    assert server.wait(waiting["id"])["state"] == "finished"


def assert_picture_is_gone(server, name):
    deadline = time.monotonic() + 30
    while [file for file in server.files() if file.startswith(f"picture-{name}.")]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    answer = server.client.post("/api/runs", json={"content": name, "style": name})
    assert (answer.status_code, answer.json()["control"]) == (422, "content")
    assert "no longer kept" in answer.json()["message"]


# The queue, without a process


class Sink:
    """Takes what would go to the process that computes."""

    def __init__(self):
        self.stdin, self.returncode, self.told, self.killed = self, None, [], False

    def is_closing(self):
        return False

    def write(self, line):
        self.told.append(json.loads(line))

    def kill(self):
        self.killed = True


LOADED, SHAPES = Networks(None, lambda loaded: loaded), Networks(None, shapes_of)
"""What is loaded serves all tests."""


@pytest.fixture
def queue(tmp_path):
    store = uploads.Pictures(tmp_path / "pictures", plenty, reader.Reader(), app.example_paths())
    setup = {"weights": None, "device": None, "lanes": None}
    made = Queue(runs.Archive(tmp_path / "runs"), store, form.controls(), setup)
    made._process, made._networks = Sink(), SHAPES
    return made


def new_run(queue, **values):
    first, *_, last = queue._pictures.examples()
    return queue.new_run(values, {"content": [first], "style": [last]})


def submit(queue, **values):
    run = new_run(queue, **values)
    queue.submit([run])
    return run


def submit_group(queue, *chosen):
    group = [new_run(queue, **values) for values in chosen]
    queue.submit(group)
    return group


def orders(queue):
    """Takes what the process that computes was told to do: ids by order."""
    told, queue._process.told = queue._process.told, []
    return [[made["id"] for made in order["runs"]] for order in told if "runs" in order]


def progress(run, **more):
    whole = dict.fromkeys(("level", "levels", "decoded", "iteration", "iterations", "picture"), 1)
    position = {**whole, "seconds": 9.0, "done": 0.5, "left": 50.0, "rate": 1e-5, **more}
    return {"told": "progress", "id": run.id, "position": position, "energy": 1.0}


def end(run, state, message="", control=""):
    ending = {"state": state, "message": message, "control": control, "lanes": 1}
    return {"told": "end", "id": run.id, **ending}


def news(listener):
    changed, listener.changed = listener.changed, set()
    return changed


def test_runs_in_line_are_told_when_their_place_or_time_changes(queue, monkeypatch):
    monkeypatch.setattr(queue_module, "RETELL_SECONDS", 0.0)
    monkeypatch.setattr(queue_module.time, "monotonic", lambda: 100.0)
    first, second, third = (submit(queue) for _ in range(3))
    listener = queue.listen()
    queue._hear(progress(first))
    assert news(listener) == {first.id, second.id, third.id}
    before = queue.summary(third)["starts_in"]
    queue._hear(progress(first, left=10.0))
    assert queue.summary(third)["starts_in"] == pytest.approx(before - 40)
    news(listener)
    quick = submit(queue, size="64")
    assert news(listener) >= {quick.id, second.id, third.id}
    assert queue.summary(third)["starts_in"] > before - 40
    queue.cancel(second)
    assert third.id in news(listener)
    assert queue.summary(third)["place"] == 1


def test_the_time_that_is_left_goes_down_while_nothing_is_heard(queue, monkeypatch):
    run, now = submit(queue), 100.0
    monkeypatch.setattr(queue_module.time, "monotonic", lambda: now)
    monkeypatch.setattr(queue_module, "RETELL_SECONDS", 0.0)
    queue._hear(progress(run, left=50.0))
    now += 20.0
    assert queue.summary(run)["left"] == 30.0
    queue._hear({"told": "paused", "id": run.id})
    now += 20.0
    queue._hear({"told": "resumed", "id": run.id})
    now += 5.0
    assert queue.summary(run)["left"] == 25.0
    listener = queue.listen()

    async def wait():
        counting = asyncio.create_task(queue._count_down())
        for _ in range(3):
            await asyncio.sleep(0)
        counting.cancel()

    asyncio.run(wait())
    assert news(listener) == {run.id}


def test_runs_in_line_are_not_told_with_every_iteration(queue):
    first = submit(queue)
    submit(queue)
    listener = queue.listen()
    queue._hear(progress(first))
    assert news(listener) == {first.id}  # submitting has told just now


def test_what_is_small_is_quick_whatever_it_costs(queue):
    assert submit(queue, size="256", iterations="500", rotations="2", preset="reference").quick
    assert not submit(queue, size="257", iterations="1").quick


STEPS = [
    (0, 0, 0),
    (0, 1, 0),
    (0, 2, 0),
    (1, 0, 0),
    (1, 1, 0),
    (1, 2, 0),
    *[(1, 2, i) for i in (1, 2, 3, 4)],
]
"""Level, rounds and iterations of the records of a run with the default preset."""


@pytest.mark.parametrize(("rate", "before"), [(None, 2), (2.5e-6, 0), (6e-6, 0)])
def test_the_time_that_is_left_is_right_within_a_third(tmp_path, queue, monkeypatch, rate, before):
    """Where steps take the time that their cost says, but for the first of each level.

    Args:
      rate: of earlier runs.
      before: steps before anything is said.
    """
    run = new_run(queue, size="320")
    job = worker._job(queue._painting(run))
    shapes = [image.shape_of(path) for path in (job.content, *job.styles)]
    planned = plan_run(shapes[0], shapes[1:], job.config, LOADED.get("auto").network)
    told, now, real = [], [0.0], 3e-6
    monkeypatch.setattr("jaxmrf.web.report.time.monotonic", lambda: now[0])
    message = {**painting(tmp_path, "a"), "rate": rate}
    report = worker.Report(message, job, told.append, Compilation(), report_module.Adviser())
    monkeypatch.setattr(report, "_write_preview", lambda progress: None)
    report.plan(planned)
    monkeypatch.setattr(report._compilation, "ahead", lambda levels: 0.0)
    levels, before_it = runs.level_costs(planned), [0.0, 0.0]
    ends = [[], []]
    for level, decoded, iteration in STEPS:
        cost = levels[level].done(decoded, iteration)
        now[0] += real * (cost - before_it[level]) + 0.1 * (decoded + iteration == 1)
        before_it[level] = cost
        state = Progress(
            level, 2, iteration, (0, 4)[level], decoded, jnp.zeros((8, 8, 3)), 1.0, {}, 0.0, 0.0,
            None, None, (8, 8), job.config,
        )  # fmt: skip
        report.progress(state)
        ends[0].append(now[0])
        ends[1].append(told[-1]["position"]["left"])
    for number, (when, left) in enumerate(zip(*ends, strict=True)):
        if number < before:
            assert left is None
        elif rate != 6e-6 or number >= 2:  # twice what it is now, until some steps are measured
            assert left == pytest.approx(ends[0][-1] - when, rel=1 / 3, abs=0.2)
    assert told[-1]["position"]["rate"] == pytest.approx(real)


def test_expected_times_come_from_the_iterations_of_the_latest_runs():
    def run(finished, rate, cost=1e6, **more):
        made = runs.Run("", 0.0, {}, {}, {}, "", 1, 1, cost, False, **more)
        made.rate, made.finished, made.state = rate, finished, "finished"
        return made

    assert runs.usual_rate([]) is None
    assert runs.usual_rate([run(1.0, None)]) is None
    # What it took to start, seconds without iterations, is not in the rate.
    assert runs.usual_rate([run(1.0, 2e-6, seconds=900.0)]) == pytest.approx(2e-6)
    latest = [run(100.0 + number, 1e-6) for number in range(runs.RATES)]
    assert runs.usual_rate([*latest, run(1.0, 1.0)]) == pytest.approx(1e-6)
    # A tiny run, which spends its time beside the iterations, hardly counts.
    assert runs.usual_rate([run(1.0, 1e-6), run(2.0, 1e-3, cost=10.0)]) < 1.1e-6


VARIED = [{"size": "64", "tv_weight": weight} for weight in ("0.1", "1", "3", "9")]


@pytest.mark.parametrize(("lanes", "expected"), [(1, [1, 1, 1, 1]), (3, [3, 1]), (64, [4])])
def test_a_group_is_handed_over_as_many_at_once_as_there_are_lanes(queue, lanes, expected):
    queue._hear({"told": "ready", "lanes": lanes})
    group = submit_group(queue, *VARIED)
    assert len({run.group for run in group}) == 1
    seen = []
    while order := orders(queue):
        (names,) = order
        seen += names
        assert [run.state for run in group if run.id in names] == ["running"] * len(names)
        assert len(names) == expected.pop(0)
        for name in names:
            queue._hear(end(queue.runs[name], "finished"))
    assert seen == [run.id for run in group]
    assert not expected


def test_only_runs_of_a_group_and_of_one_program_are_computed_side_by_side(queue):
    queue._hear({"told": "ready", "lanes": 9})
    group = submit_group(queue, *VARIED[:2], {"size": "64", "preset": "quick"}, VARIED[2])
    other = submit(queue, **VARIED[0])
    seen = []
    while order := orders(queue):
        seen += order
        for name in order[0]:
            queue._hear(end(queue.runs[name], "finished"))
    first, second, quick, last = (run.id for run in group)
    assert seen == [[first, second, last], [quick], [other.id]]


def test_a_group_that_is_canceled_ends_and_others_go_on(queue):
    queue._hear({"told": "ready", "lanes": 2})
    group = submit_group(queue, *VARIED)
    other = submit(queue, size="64")

    async def cancel():
        for run in sorted(group, key=lambda run: run.state != "waiting"):
            queue.cancel(run)

    asyncio.run(cancel())
    assert [run.state for run in group] == ["running"] * 2 + ["canceled"] * 2
    told = [message for message in queue._process.told if message.get("do") == "cancel"]
    assert [message["id"] for message in told] == [run.id for run in group[:2]]
    for run in group[:2]:
        queue._be_patient(run)  # its loop is gone
        queue._hear(end(run, "stopped"))
    assert other.state == "running"


def test_a_lost_process_starts_the_lanes_again(queue):
    queue._hear({"told": "ready", "lanes": 2})
    group = submit_group(queue, *VARIED)
    for attempt in (1, 2):
        assert [run.attempts for run in group] == [attempt, attempt, 0, 0]
        sink, queue._process.told = queue._process, []
        queue._lost()
        queue._process = sink
        queue._dispatch()
    assert [run.state for run in group] == ["interrupted"] * 2 + ["running"] * 2


def test_a_group_is_taken_as_a_whole_or_not_at_all(queue, monkeypatch):
    monkeypatch.setattr(queue_module, "MAX_WAITING", 5)
    submit_group(queue, *VARIED)
    with pytest.raises(queue_module.QueueError, match="3 runs are waiting already"):
        submit_group(queue, *VARIED)
    assert len(queue.runs) == 4


def test_what_waits_behind_lanes_waits_for_all_of_them_at_once(queue):
    times = []
    for lanes in (1, 4):
        queue._hear({"told": "ready", "lanes": lanes})
        queue._active.clear()
        submit_group(queue, *VARIED)
        times.append(queue.summary(submit(queue, size="200"))["starts_in"])
        for run in list(queue.runs.values()):
            queue._archive.remove(run)
    assert times[1] == pytest.approx(times[0] / 4)


def test_a_canceled_run_has_time_while_a_quick_one_is_before_it(queue, monkeypatch):
    monkeypatch.setattr(queue_module, "GRACE", 0.01)

    async def scenario():
        large = submit(queue)
        quick = submit(queue, size="64")
        queue._hear({"told": "paused", "id": large.id})
        queue.cancel(large)
        await asyncio.sleep(0.05)
        assert not queue._process.killed
        queue._hear(end(quick, "finished"))
        await asyncio.sleep(0.05)
        assert not queue._process.killed
        queue._hear({"told": "resumed", "id": large.id})
        await asyncio.sleep(0.05)
        assert queue._process.killed

    asyncio.run(scenario())


def test_a_run_that_is_being_canceled_has_time_again_after_a_quick_one(queue, monkeypatch):
    monkeypatch.setattr(queue_module, "GRACE", 0.02)

    async def scenario():
        large = submit(queue)
        queue.cancel(large)
        queue._hear({"told": "paused", "id": large.id})
        await asyncio.sleep(0.1)
        assert not queue._process.killed

    asyncio.run(scenario())


# What is refused before a run


NO_NUMBER = ("x", "nan", "inf", "1e39", "-1")
BAD = {
    "size": ("0", "-5", "wide", "1.5", "640x480", "8", "20000", "99999999999"),
    "content_weight": NO_NUMBER,
    "style_weight": NO_NUMBER,
    "tv_weight": NO_NUMBER,
    "variety": NO_NUMBER,
    "guide_weight": NO_NUMBER,
    "style_blend": ("x", "0", "-1", "nan", "1,2", ",x"),
    "memory": ("x", "nan", "inf", "0", "-1"),
    "style_scale": ("x", "nan", "0", "17", "0.01"),
    "alpha": ("x", "nan", "-0.1", "1.1"),
    "anchor": ("x", "nan", "-0.1", "1.1"),
    "content_share": ("x", "nan", "-0.1", "1.1"),
    "final_color": ("x", "nan", "-0.1", "1.1"),
    "iterations": ("-1", "1,x", "1.5", "1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8"),
    "seed": ("-1", "4294967296", "1.5", "x"),
    "levels": ("0", "17", "x"),
    "decoder_rounds": ("-1", "17", "x"),
    "patch_size": ("0", "x", "9999"),
    "stride": ("0", "-1", "x"),
    "style_stride": ("0", "-1", "x"),
    "match_every": ("0", "-1", "x", "4000000000"),
    "rotations": ("-1", "7", "17", "x"),
    "scales": ("-1", "17", "x"),
    "layers": ("nope", "relu3_1,relu3_1", "relu3_1,relu5_4", ","),
    "content_layer": ("nope", "relu5_4", "relu3_1,relu4_1"),
    "style_loss": ("nope", "mrf:x", "mrf:-1", "mrf:nan", "mrf:1e39", "mrf,mrf", "mrf:0", ":1", ","),
    "network": ("vgg99", "vgg19"),
}
"""Values of controls that no run can use; all that has choices takes none but these."""

TOGETHER = [
    ({"style_loss": "gram", "gram_layers": "nope"}, "gram_layers", "no layer 'nope'"),
    ({"style_loss": "gram", "gram_layers": ","}, "gram_layers", "at least one layer"),
    ({"gram_layers": "relu3_1"}, "gram_layers", "has no effect: the style loss gram is not used"),
    ({"style_loss": "gram", "anchor": "0.5"}, "anchor", "has no effect"),
    ({"color": "keep", "final_color": "0.5"}, "final_color", "has no effect"),
    ({"iterations": "3,2", "levels": "1"}, "iterations", "2 numbers for 1 level"),
    ({"iterations": "0", "decoder_rounds": "0"}, "iterations", "nothing would be painted"),
    ({"iterations": "0", "style_loss": "gram"}, "iterations", "nothing would be painted"),
    ({"size": "20000"}, "size", "more than 100 megapixels"),
    ({"size": "9000", "style_scale": "2"}, "style_scale", "choose a smaller style_scale"),
    ({"layers": "x" * 300}, "layers", "at most 200"),
    ({"content_weight": 1}, "content_weight", "must be a text"),
    ({"network": "vgg19"}, "network", "jaxmrf weights fetch vgg19"),
    ({"trace": "/tmp/trace"}, None, "no control 'trace'"),
    ({"output": "/tmp/out.png"}, None, "no control 'output'"),
    ({"weights_file": "/tmp/x"}, None, "no control 'weights_file'"),
]


@pytest.mark.parametrize("control", form.controls(), ids=lambda control: control.name)
def test_what_a_control_cannot_have_is_refused_beside_it(queue, control):
    bad = BAD.get(control.name, ())
    # The others are texts whose values go with those of another control, see `TOGETHER`.
    assert bad or control.choices or control.name == "gram_layers"
    for value in (*bad, *["nope"] * bool(control.choices)):
        with pytest.raises(ConfigError) as refusal:
            new_run(queue, **{control.name: value})
        assert refusal.value.option == control.name, value
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("values", "control", "message"), TOGETHER)
def test_what_does_not_go_together_is_refused_beside_the_control_that_mends_it(
    queue, values, control, message
):
    with pytest.raises(ConfigError, match=re.escape(message)) as refusal:
        new_run(queue, **values)
    names = {control.name for control in form.controls()}
    assert (refusal.value.option if refusal.value.option in names else None) == control


@pytest.mark.parametrize("more", [{}, {"patch_size": "9"}, {"scales": "16"}])
def test_the_smallest_size_that_is_named_is_the_smallest(queue, more):
    with pytest.raises(ConfigError, match="the smallest size for these pictures is") as refusal:
        new_run(queue, size="8", **more)
    size = int(str(refusal.value).rpartition(" ")[2])
    assert new_run(queue, size=str(size), **more).width <= size
    with pytest.raises(ConfigError, match=f"these pictures is {size}") as refusal:
        new_run(queue, size=str(size - 1), **more)


@pytest.mark.parametrize("loss", ["mrf", "gram", "mrf:0,gram"])
def test_weights_that_lack_a_layer_are_known_before_a_run(queue, loss):
    """The layers are those of the weights that a run would take, not those of VGG-19."""
    assert new_run(queue, style_loss=loss, content_layer="relu4_2").width == 512
    with pytest.raises(ConfigError, match="no layer 'relu4_3'; it has relu1_1") as refusal:
        new_run(queue, style_loss=loss, content_layer="relu4_3")
    assert refusal.value.option == "content_layer"


def test_damaged_weights_are_refused_beside_the_network_and_read_again_when_mended(queue, tmp_path):
    file = tmp_path / "weights.safetensors"
    queue._networks = Networks(file, shapes_of)
    for damage in (None, b"words"):
        if damage is not None:
            file.write_bytes(damage)
        with pytest.raises(ConfigError, match=r"cannot (read|use) the weights") as refusal:
            new_run(queue)
        assert refusal.value.option == "network"
    shutil.copy(weights.find("vgg16"), file)
    assert new_run(queue).width == 512


VALUES = {
    "size": ("1", "20", "48", "64", "200", "2500"),
    "layers": ("relu1_1", "relu2_1 relu3_1", "relu3_1,relu4_1", "relu4_2,relu4_1", "relu5_1"),
    "content_layer": ("relu1_2", "relu4_2", "relu4_3"),
    "style_loss": ("mrf", "gram", "mrf:1,gram:0.2", "gram:1,mrf:0", "nope"),
    "gram_layers": ("relu1_1", "relu4_2,relu2_1", "relu5_1"),
    "iterations": ("0", "3", "0,0,4", "9,8,7,6,5", "2147483647"),
    "levels": ("1", "2", "5", "16"),
    "decoder_rounds": ("0", "1", "16"),
    "patch_size": ("1", "3", "4", "11"),
    "style_scale": ("0.1", "1", "3.7", "16"),
    "rotations": ("0", "1", "6"),
    "scales": ("0", "2", "16"),
    "preset": ("paper", "reference", "quick", "fine"),
    "pooling": ("average",),
    "init": ("noise", "shuffle"),
    "color": ("keep", "none", "histogram"),
    "optimizer": ("adam",),
}


CHOSEN = {name: st.sampled_from(values) for name, values in VALUES.items()}


@given(chosen=st.fixed_dictionaries({}, optional=CHOSEN))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_accepted_is_not_refused_by_the_run(queue, chosen):
    """Goes the way of a run up to what is compiled, with the weights themselves."""
    try:
        run = new_run(queue, **chosen)
    except ConfigError:
        return
    job = worker._job(queue._painting(run))
    shape = inputs.shape_of(job)
    assert shape == (run.height, run.width)
    record_of(job, LOADED.get("auto"), shape)
    with pytest.MonkeyPatch.context() as patch:  # how much memory it takes is not known before
        patch.setattr(memory, "fit", lambda network, plan, settings, *, budget: network)
        styles = [image.shape_of(job.styles[0])]
        planned = plan_run(shape, styles, job.config, LOADED.get("auto").network)
    assert sum(level.total for level in runs.level_costs(planned)) == run.cost > 0


def test_a_run_that_is_refused_when_it_starts_names_the_control(queue):
    run = submit(queue)
    message = "3000×2000 pixels need about 20 GB of memory, 8 GB are there; try --size 1800"
    queue._hear(end(run, "failed", message, "size"))
    summary = queue.summary(run)
    assert (summary["state"], summary["control"]) == ("failed", "size")


@pytest.mark.parametrize(
    ("error", "control"),
    [
        (ConfigError("too much memory", "size"), "size"),
        (ConfigError("no option"), ""),
        (ImageError("cannot read it"), ""),
    ],
)
def test_the_process_that_computes_tells_which_control_can_mend_a_failure(
    tmp_path, monkeypatch, error, control
):
    told = []
    computing = worker.Worker(worker.Inbox(), told.append, None, "auto")

    def fail(*arguments, **more):
        raise error

    monkeypatch.setattr(worker.paint, "run", fail)
    computing._run({"do": "run", "runs": [painting(tmp_path, "a")]})
    assert told == [end(argparse.Namespace(id="a"), "failed", str(error), control)]


# What is compiled


@pytest.fixture
def compilation():
    made = Compilation()
    yield made
    jax.monitoring.unregister_event_duration_listener(made._hear_duration)
    jax.monitoring.unregister_event_listener(made._hear)


def test_jax_tells_what_is_being_compiled(compilation):
    seen = []

    def hear(event, **more):
        if event == "/jax/compilation_cache/compile_requests_use_cache":
            seen.append(compilation.ongoing())

    jax.monitoring.register_event_listener(hear)
    try:
        compilation.expect(LEVEL)

        @jax.jit
        def steps(number):
            return number * 7.25 - 3.125

        steps(2.0)
    finally:
        jax.monitoring.unregister_event_listener(hear)
    assert seen[0].ready_in is None
    assert compilation.ongoing() is None
    assert compilation.seconds > 0
    # By the name that it is expected by: it is not ahead any more.
    assert "steps" in compilation.usual["mrf"]
    assert compilation.ahead([LEVEL._replace(names=("steps",))]) == 0


def compile_one(compilation, name, seconds, *, read=False):
    compilation._hear_duration(LOWERED, 0.1, fun_name=f"jit({name})")
    ongoing = compilation.ongoing()
    if read:
        compilation._hear(READ)
    compilation._hear_duration(COMPILED, seconds, fun_name=f"jit({name})")
    return ongoing.ready_in


LEVEL = Programs("mrf", "small")


def test_how_long_compiling_takes_is_known_from_earlier_runs_of_the_kind(compilation, monkeypatch):
    monkeypatch.setattr("jaxmrf.machine.compilation.time.monotonic", lambda: 100.0)
    for kind in ("gram", "mrf"):
        compilation.expect(LEVEL._replace(kind=kind))
        assert compile_one(compilation, "prepare", 4.0) is None
        assert compile_one(compilation, "decode", 6.0) is None
    compilation.expect(LEVEL._replace(sizes="large"))
    assert compile_one(compilation, "prepare", 0.2, read=True) == 10.0
    assert compile_one(compilation, "decode", 7.0) == 6.0
    compilation.expect(LEVEL)
    assert compile_one(compilation, "prepare", 4.0) == 11.0  # what was read says nothing
    assert compilation.expect(None) == LEVEL
    assert compile_one(compilation, "prepare", 4.0) is None
    assert compilation.seconds == pytest.approx(4 + 6 + 4 + 6 + 0.2 + 7 + 4 + 4)


def test_what_has_to_be_compiled_yet_counts_in_the_time_that_is_left(compilation):
    coarse = LEVEL._replace(names=("prepare", "decode"))
    fine = Programs("mrf with steps", "large", (*coarse.names, "steps"))
    compilation.expect(coarse)
    assert compilation.ahead([coarse, fine]) == 5 * UNKNOWN_SECONDS
    compile_one(compilation, "prepare", 4.0)
    compile_one(compilation, "decode", 6.0)
    compilation.complete()
    compilation.expect(fine)
    assert compilation.ahead([fine]) == 4 + 6 + UNKNOWN_SECONDS  # those of another kind help
    for name, seconds in ("prepare", 5.0), ("decode", 7.0), ("steps", 9.0):
        compile_one(compilation, name, seconds)
    assert compilation.ahead([fine]) == 0.0
    compilation.complete()
    larger = [programs._replace(sizes="larger") for programs in (coarse, fine)]
    compilation.expect(larger[0])
    assert compilation.ahead(larger) == 4 + 6 + 5 + 7 + 9
    compile_one(compilation, "prepare", 4.0)
    assert compilation.ahead(larger) == 6 + 5 + 7 + 9
    compile_one(compilation, "decode", 0.1, read=True)
    compilation.expect(larger[1])
    assert compilation.ahead(larger[1:]) == 3 * READING_SECONDS  # the others will be on disk, too
    compilation.expect(coarse)
    assert compilation.ahead([coarse, fine]) == 0.0  # they are still here


def test_what_is_compiled_for_others_is_no_time_of_a_run(tmp_path, compilation, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("jaxmrf.web.report.time.monotonic", lambda: now[0])
    report = worker.Report(
        painting(tmp_path, "a"), None, print, compilation, report_module.Adviser()
    )
    monkeypatch.setattr(report, "_rate", lambda level: None)
    report._levels, report.programs = [runs.LevelCost(0.0, 1.0, 1.0, 2, 2)], [LEVEL]
    state = argparse.Namespace(level=0, levels=1, iteration=0, iterations=2, decoded=1)
    report._position(state)
    clock = report_module.Clock(compilation)
    now[0], compilation.seconds = 30.0, 29.0  # a quick run, most of it compiling
    report.was_away(clock.away())
    now[0], compilation.seconds = 33.0, 30.0
    state.decoded = 2
    position = report._position(state)
    assert position["seconds"] == 3.0
    assert position["rate"] == 2.0


def test_compiling_that_takes_longer_than_usual_has_no_end_that_is_known(compilation, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("jaxmrf.machine.compilation.time.monotonic", lambda: now[0])
    compilation.expect(LEVEL)
    compile_one(compilation, "steps", 5.0)
    compilation.expect(LEVEL)
    compilation._hear_duration(LOWERED, 0.1, fun_name="jit(steps)")
    now[0] = 103.0
    assert compilation.ongoing() == Ongoing(3.0, 2.0)
    now[0] = 106.0
    assert compilation.ongoing() == Ongoing(6.0, None)


def test_what_another_thread_compiles_is_not_told(compilation):
    thread = threading.Thread(target=compilation._hear_duration, args=(LOWERED, 0.1))
    thread.start()
    thread.join()
    assert compilation.ongoing() is None


def test_a_run_that_waits_for_programs_is_told(monkeypatch):
    told = []
    computing = worker.Worker(worker.Inbox(), told.append, None, "auto")
    ongoing = [Ongoing(9.0, 4.0)]
    monkeypatch.setattr(computing._compilation, "ongoing", lambda: ongoing[0])
    computing.tell_of_compiling()
    assert not told  # nobody waits
    computing._waiting = ["a"]
    computing.tell_of_compiling()
    assert told == [{"told": "compiling", "id": "a", "ready_in": 4.0}]
    ongoing[0] = Ongoing(0.1, 4.0)
    computing.tell_of_compiling()
    ongoing[0] = None
    computing.tell_of_compiling()
    assert len(told) == 1


def test_compiling_is_kept_until_the_run_goes_on(queue):
    run = submit(queue)
    queue._hear({"told": "compiling", "id": run.id, "ready_in": 7.0})
    summary = queue.summary(run)
    assert (summary["compiling"], summary["ready_in"]) == (True, 7.0)
    queue._hear(progress(run))
    summary = queue.summary(run)
    assert (summary["compiling"], summary["ready_in"]) == (False, None)
    queue._hear({"told": "compiling", "id": run.id, "ready_in": None})
    queue._hear(end(run, "finished"))
    assert not queue.summary(run)["compiling"]


# Pictures and disk


def plenty(*, fresh=False):
    return 10**9


def receive(store, *bodies):
    """Returns what a store makes of request bodies."""

    async def chunks(body):
        yield body

    async def together():
        try:
            return [await store.receive(chunks(body), "a.png") for body in bodies]
        finally:
            await store.reader.stop()

    return asyncio.run(together())


def test_pictures_without_a_run_go_after_a_day(paths, tmp_path):
    folder = tmp_path / "pictures"
    store = uploads.Pictures(folder, plenty, reader.Reader(), {})
    kept, gone = receive(store, *[paths[0].read_bytes()] * 2)
    store.used = lambda: {kept.id}
    store.reap()
    assert store.find(gone.id)
    for upload in (kept, gone):
        object.__setattr__(upload, "created", 1.0)
    store.reap()
    assert store.find(gone.id)  # somebody asked for it just now
    store._wanted.clear()
    store.reap()
    assert store.find(kept.id)
    assert not store.find(gone.id)
    assert len(list(folder.iterdir())) == 3
    again = uploads.Pictures(folder, plenty, reader.Reader(), {})
    assert again.find(kept.id).path == kept.path
    assert not again.find(gone.id)


def test_a_full_disk_is_told(tmp_path):
    store = uploads.Pictures(tmp_path, lambda *, fresh=False: 0, reader.Reader(), {})
    with pytest.raises(uploads.UploadError, match="delete runs from the gallery"):
        receive(store, b"x")
    assert not list(tmp_path.iterdir())


def test_unused_pictures_make_room_the_oldest_first(paths, tmp_path):
    folder = tmp_path / "pictures"
    limit = 4 * uploads.MAX_BYTES

    def room(*, fresh=False):
        return limit - uploads.MAX_BYTES * len(list(folder.glob("*.json")))

    store = uploads.Pictures(folder, room, reader.Reader(), {})
    found = receive(store, *[paths[0].read_bytes()] * 4)
    with pytest.raises(uploads.UploadError, match="delete runs from the gallery"):
        store.make_room(1)  # all are younger than an hour
    store._wanted.clear()
    for age, upload in enumerate(found):
        object.__setattr__(upload, "created", time.time() - 4000.0 - age)
    store.used = lambda: {found[3].id}
    store.make_room(uploads.MAX_BYTES + 1)
    assert [bool(store.find(upload.id)) for upload in found] == [True, False, False, True]


def test_what_a_picture_takes_after_encoding_counts(paths, tmp_path):
    folder = tmp_path / "pictures"

    def room(*, fresh=False):
        encoded = sum(path.stat().st_size for path in folder.glob("picture-*"))
        return uploads.MAX_BYTES if not encoded else -1

    store = uploads.Pictures(folder, room, reader.Reader(), {})
    with pytest.raises(uploads.UploadError, match="delete runs from the gallery"):
        receive(store, paths[0].read_bytes())
    assert not list(folder.iterdir())


def test_a_decoder_that_hangs_is_replaced(paths, tmp_path, monkeypatch):
    store = uploads.Pictures(tmp_path / "pictures", plenty, reader.Reader(), {})
    monkeypatch.setattr(reader, "SECONDS", 0.0)
    with pytest.raises(uploads.UploadError, match="too much time or memory"):
        receive(store, paths[0].read_bytes())
    assert not list((tmp_path / "pictures").iterdir())
    monkeypatch.setattr(reader, "SECONDS", 60.0)
    assert receive(store, paths[0].read_bytes())[0].width == 80


# Form, records and the command


def test_every_option_is_on_the_page_or_left_out_for_a_reason():
    found = {control.name for control in form.controls()}
    left_out = set(inspect.signature(transfer).parameters) - found
    files = {
        *("content", "style", "output", "weights_file", "trace"),
        *("content_guide", "style_guide", "mask", "config_file"),
    }
    # The server chooses the device, previews are always shown, and a format is of pipes.
    others = {"device", "preview_every", "format"}
    assert left_out == {"context", *files, *others}
    assert set(form.MAIN) <= found


def test_controls_have_the_defaults_and_help_of_the_command_line():
    controls = {control.name: control for control in form.controls()}
    assert controls["size"].default == "512"
    assert controls["iterations"].default == ""  # depends on whether there is a decoder
    assert controls["anchor"].default == "0.85"
    assert controls["init"].choices == ("content", "noise", "shuffle")
    assert controls["network"].choices == ("auto", "vgg16", "vgg19")
    assert controls["memory"].default == controls["levels"].default == ""
    assert "more keeps more" in controls["content_weight"].help
    assert "file" not in controls["init"].help
    presets = form.presets(list(controls.values()))
    assert presets["reference"]["content_weight"] == "20.0"
    assert presets["default"]["size"] == "512"


@given(st.lists(st.text(), max_size=9))
def test_names_on_the_command_line_are_never_the_same(names):
    titles = [uploads.clean_title(name) for name in names]
    names = form.file_names([*enumerate(titles)])
    assert len({name.lower() for name in (*names, form.OUTPUT)}) == len(titles) + 1
    assert form.file_names([("a", title) for title in titles])[1:] == (names[:1] * len(names))[1:]


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        (["a.png", "b"], ["a.png", "b"]),
        (["Out.png", "OUT.PNG"], ["Out-2.png", "OUT-3.PNG"]),
        (["a", "A"], ["a", "A-2"]),
        (["1:2?.png", "b.png"], ["1_2_.png", "b.png"]),
        ([*["mask.png"] * 5], ["mask.png", *(f"mask-{number}.png" for number in range(2, 6))]),
    ],
)
def test_names_on_the_command_line_are_kept_where_they_can_be(titles, expected):
    assert form.file_names([*enumerate(titles)]) == expected


def test_every_control_has_a_label_and_those_under_more_have_a_group():
    controls = form.controls()
    assert len({control.label for control in controls}) == len(controls)
    assert all(control.label for control in controls)
    assert all(control.main != (control.group in option_table.GROUPS) for control in controls)
    labels = {control.name: (control.label, control.group) for control in controls}
    assert labels["tv_weight"] == ("Smoothness", "Smoothness and start")
    assert labels["size"] == ("Size", "")


def test_galleries_of_version_0_2_are_read(tmp_path):
    run = runs.Run("a", 1.0, {"content": ["b"], "style": ["c"]}, {}, {}, "", 1, 1, 1.0, True)
    run.titles = {"content": ["d"], "style": ["e"]}
    old = dataclasses.asdict(run)
    for name in ("inputs", "titles", "group", "program", "lanes", "decoded"):
        del old[name]
    old |= {"content": "b", "style": "c", "content_title": "d", "style_title": "e"}
    (tmp_path / "run-a").mkdir()
    (tmp_path / "run-a" / "run.json").write_text(json.dumps(old))
    assert runs.Archive(tmp_path).runs == {"a": run}


def test_names_that_look_like_options_stay_names():
    line = form.command_line({"size": "64"}, {"content": ["-rf.png"], "style": ["a b;c.png"]})
    assert line == "jaxmrf transfer ./-rf.png 'a b;c.png' -o out.png --size=64"


def test_the_command_line_names_all_pictures():
    titles = {"content": ["a"], "style": ["b", "c"], "content_guide": ["g"], "mask": ["-m"]}
    titles["style_guide"] = ["h", "i"]
    line = form.command_line({"tileable": "true", "style_blend": "1,3"}, titles)
    assert line == (
        "jaxmrf transfer a b c -o out.png --content-guide=g --style-guide=h --style-guide=i "
        "--mask=-m --tileable --style-blend=1,3"
    )
    line = form.command_line({"size": "64x32", "tileable": "false"}, {"style": ["b"]})
    assert line == "jaxmrf synthesize b -o out.png --size=64x32 --no-tileable"


@given(st.lists(st.floats(0, 1e6), max_size=2000))
def test_the_curve_stays_short_and_keeps_its_ends(values):
    run = runs.Run("a", 0.0, {}, {}, {}, "", 1, 1, 1.0, True)
    for number, value in enumerate(values):
        run.add_point(number, value)
    assert len(run.curve) <= runs.MAX_CURVE
    numbers = [point[0] for point in run.curve]
    assert numbers == sorted(set(numbers))
    if values:
        assert (numbers[0], numbers[-1]) == (0, len(values) - 1)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_other_addresses_need_to_be_allowed(host):
    with pytest.raises(ConfigError, match="--allow-remote"):
        serve._check_host(host, False)
    serve._check_host("::1", False)
    serve._check_host("localhost", False)


def test_a_remote_server_warns(capsys):
    serve._check_host("localhost", True)
    assert not capsys.readouterr().err
    serve._check_host("0.0.0.0", True)
    assert "warning: other machines can reach this page" in capsys.readouterr().err


def test_open_opens_the_printed_address(tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(serve.webbrowser, "open", opened.append)
    monkeypatch.setattr("jaxmrf.web.server.serve", lambda site: None)
    command = serve.command
    command(port=0, folder=tmp_path / "page")
    assert not opened
    command(port=0, folder=tmp_path / "page", open_browser=True)
    assert capsys.readouterr().out.splitlines()[-1] == f"open {opened[0]}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "say --allow-remote"),
        (["--folder", "{folder}"], "another jaxmrf serve"),
        (["--folder", "/dev/null/page"], "choose another --folder"),
        (["--port", "{port}"], "try --port 0"),
    ],
)
def test_errors_of_the_command_are_one_line(server, tmp_path, arguments, message):
    port = server.address.rpartition(":")[2]
    arguments = [text.format(folder=server.folder, port=port) for text in arguments]
    if "--folder" not in arguments:
        arguments += ["--folder", str(tmp_path / "page")]
    done = CliRunner().invoke(cli.app, ["serve", *arguments])
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_extra_is_told(monkeypatch):
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install starlette uvicorn"):
        serve._check_extra()


def test_a_remote_server_answers_to_addresses_but_not_to_foreign_names():
    guard = security.Guard(
        None, port=80, hosts=security.own_names("0.0.0.0"), remote=True, token="t", secret="s"
    )
    expected = {
        **dict.fromkeys(("192.168.1.5", "[fe80::1]:80", "localhost"), True),
        **dict.fromkeys(("evil.example", "192.168.1.5:81", ""), False),
    }
    assert {host: guard._is_ours(host) for host in expected} == expected
