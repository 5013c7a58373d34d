"""`jaxmrf batch` as a process that is killed, and with failures injected."""

import base64
import errno
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import psutil
import pytest
from PIL import Image
from typer.testing import CliRunner

from jaxmrf.batch import manifest, report, runner
from jaxmrf.batch.events import BatchOptions
from jaxmrf.batch.ledger import Ledger
from jaxmrf.cli import app
from jaxmrf.core import pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.run import lanes, programs
from jaxmrf.files import atomic, image
from jaxmrf.jobs import options
from jaxmrf.jobs.job import Job
from jaxmrf.networks import weights
from tests.common import SHALLOW, picture

ROOT = Path(__file__).resolve().parent.parent
LITTLE = {**SHALLOW, "iterations": "3"}
SMALL = [*options.to_arguments(LITTLE), "--lanes", "2"]


@pytest.fixture(scope="module")
def network():
    return weights.load("vgg16")


def paint(path, seed, height=48, width=64):
    pixels = np.asarray(picture(seed, height, width) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def pictures(tmp_path):
    for name, count in (("contents", 3), ("styles", 2)):
        (tmp_path / name).mkdir()
        for index in range(count):
            paint(tmp_path / name / f"{name[0]}{index}.png", 10 * count + index)
    return tmp_path


PAIRS = ["batch", "--contents", "contents", "--styles", "styles", *SMALL]


@pytest.fixture
def invoke(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    return lambda *arguments: CliRunner().invoke(app.app, list(arguments))


def process(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *arguments],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def outputs(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def left_over(folder):
    return [*folder.rglob(".jaxmrf-*"), *folder.rglob("*.npz")]


def test_all_pairs_are_painted_once_and_then_skipped(invoke, pictures):
    done = invoke(*PAIRS, "--out", "out")
    assert done.exit_code == 0, done.output
    assert "6 painted, 0 skipped, 0 failed, 0 left" in done.output
    first = outputs(pictures / "out")
    assert len(first) == 6
    for path in (pictures / "out").glob("*.png"):
        with Image.open(path) as file:
            assert file.size == (64, 48)
            assert json.loads(file.text["jaxmrf"])["config"]["size"] == 64
    page = (pictures / "out" / "report.html").read_text()
    assert page.count("<img") == 18
    assert "6 done, 0 failed, 0 left" in page

    done = invoke(*PAIRS, "--out", "out")
    assert "0 painted, 6 skipped" in done.output
    paint(pictures / "contents" / "c1.png", 99)  # another picture under the same name
    (pictures / "out" / "c2-s1.png").unlink()
    done = invoke(*PAIRS, "--out", "out")
    assert "3 painted, 3 skipped" in done.output
    second = outputs(pictures / "out")
    assert {name for name in first if first[name] != second[name]} == {"c1-s0.png", "c1-s1.png"}
    assert not left_over(pictures)


def test_bad_pictures_fail_alone_and_are_retried_when_asked(invoke, pictures, monkeypatch):
    (pictures / "contents" / "c1.png").write_bytes(b"no picture")
    whole = (pictures / "contents" / "c2.png").read_bytes()
    (pictures / "contents" / "c2.png").write_bytes(whole[: len(whole) // 2])
    done = invoke(*PAIRS, "--out", "out")
    assert done.exit_code == 1
    assert "2 painted, 0 skipped, 4 failed, 0 left" in done.output
    listed = (pictures / "out" / "failures.jsonl").read_text().splitlines()
    failures = [json.loads(row) for row in listed]
    assert [row["output"] for row in failures] == [
        "c1-s0.png", "c1-s1.png", "c2-s0.png", "c2-s1.png",
    ]  # fmt: skip
    assert all("is not a JPEG, PNG, WebP or TIFF" in row["error"] for row in failures[:2])
    assert all("cannot read" in row["error"] for row in failures[2:])
    done = invoke(*PAIRS, "--out", "out")
    assert done.exit_code == 1
    assert "6 skipped" in done.output
    assert "4 of the skipped had failed before" in done.output
    monkeypatch.setattr(report, "LINES", 5)
    done = invoke(*PAIRS, "--out", "out", "--retry")
    assert "2 skipped, 4 failed" in done.output
    page = (pictures / "out" / "report.html").read_text()
    assert "2 done, 4 failed, 0 left" in page
    assert "5 of 6 lines are shown" in page
    assert page.count("failed: ") == 4
    assert page.count("<tr><td class=number>") == 5
    (pictures / "contents" / "c2.png").write_bytes(whole)  # mended: another input
    done = invoke(*PAIRS, "--out", "out")
    assert "2 painted" in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["batch"],
        ["batch", "gone.jsonl"],
        ["batch", "--contents", "contents"],
        [*PAIRS, "--lanes", "many"],
        [*PAIRS, "--siez", "3"],
        [*PAIRS, "--shard", "3/2"],
        [*PAIRS, "--bucket", "0"],
        [*PAIRS, "--folders", "0"],
        [*PAIRS, "--folders", "65537"],
    ],
)
def test_bad_requests(invoke, pictures, arguments):
    done = invoke(*arguments, "--out", "out")
    assert done.exit_code == 2
    assert "error: " in done.output
    assert not (pictures / "out").exists()


def test_pairs_in_folders_are_painted_once_whatever_the_shard(invoke, pictures):
    whole = ("--out", "out", "--folders", "256")
    for shard in ("1/2", "2/2"):
        done = invoke(*PAIRS, *whole, "--shard", shard)
        assert done.exit_code == 0, done.output
    paths = list((pictures / "out").glob("[0-9a-f][0-9a-f]/*.png"))
    assert len({path.name for path in paths}) == len(paths) == 6
    assert len({path.parent for path in paths}) > 1
    assert "0 painted, 6 skipped" in invoke(*PAIRS, *whole).output


def test_a_manifest_names_folders_itself(invoke, pictures):
    (pictures / "list.jsonl").write_text("{}")
    done = invoke("batch", "list.jsonl", "--folders", "256", "--out", "out")
    assert done.exit_code == 2
    assert "--folders is for pairs" in done.output
    assert not (pictures / "out").exists()


def test_buckets_share_a_program_and_keep_sizes(invoke, pictures):
    for index, height in enumerate((45, 46, 48)):
        paint(pictures / "contents" / f"c{index}.png", index, height)
    before = programs.steps._cache_size()
    done = invoke(*PAIRS, "--out", "out", "--bucket", "16")
    assert done.exit_code == 0, done.output
    assert programs.steps._cache_size() - before <= 1
    for index, height in enumerate((45, 46, 48)):
        with Image.open(pictures / "out" / f"c{index}-s0.png") as file:
            assert file.size == (64, height)


def test_out_of_memory_halves_the_lanes(invoke, pictures, monkeypatch):
    run, seen = lanes.run, []

    def greedy(found, *arguments, **more):
        seen.append(len(found))
        if len(found) > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return run(found, *arguments, **more)

    monkeypatch.setattr(lanes, "run", greedy)
    done = invoke(*PAIRS, "--out", "out", "--lanes", "5")
    assert done.exit_code == 0, done.output
    assert "going on with 2 lanes" in done.output
    assert "6 painted" in done.output
    assert seen == [5, 2, 2, 2]


def test_a_full_disk_stops_cleanly_and_the_rest_is_painted_later(invoke, pictures, monkeypatch):
    write = atomic.write

    def full(path):
        if path.suffix == ".png" and len(outputs(pictures / "out")) >= 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path)

    monkeypatch.setattr(atomic, "write", full)
    done = invoke(*PAIRS, "--out", "out")
    assert done.exit_code == 1
    assert "the disk is full" in done.output
    assert "Traceback" not in done.output
    assert "0 failed" in done.output
    monkeypatch.setattr(atomic, "write", write)
    done = invoke(*PAIRS, "--out", "out")
    assert done.exit_code == 0, done.output
    assert len(outputs(pictures / "out")) == 6


def test_a_disk_without_room_for_a_lock_stops_cleanly(invoke, pictures, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Ledger, "claim", full)
    done = invoke(*PAIRS, "--out", "out")
    assert done.exit_code == 1
    assert "the disk is full" in done.output
    assert "Traceback" not in done.output


def test_an_error_of_ours_in_a_writer_ends_the_batch(invoke, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(lanes, "finished", broken)
    done = invoke(*PAIRS, "--out", "out")
    assert isinstance(done.exception, ZeroDivisionError)


def test_who_is_killed_between_picture_and_record_leaves_no_earlier_record(
    invoke, pictures, monkeypatch
):
    assert invoke(*PAIRS, "--out", "out").exit_code == 0
    (pictures / "out" / "c0-s0.png").unlink()

    def killed(ledger, line, *_):
        (pictures / "out" / f"{atomic.prefix(line.job.output)}left").touch()
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "write", killed)
        invoke(*PAIRS, "--out", "out")
    assert (pictures / "out" / "c0-s0.png").exists()
    assert left_over(pictures / "out")
    assert "1 painted, 5 skipped" in invoke(*PAIRS, "--out", "out").output
    assert not left_over(pictures)


def test_a_picture_that_changes_while_it_is_painted_is_painted_again(invoke, pictures, monkeypatch):
    run, changed = lanes.run, pictures / "contents" / "c0.png"

    def slow(*arguments, **more):
        paint(changed, 77)
        return run(*arguments, **more)

    monkeypatch.setattr(lanes, "run", slow)
    assert invoke(*PAIRS, "--out", "out").exit_code == 0
    monkeypatch.setattr(lanes, "run", run)
    done = invoke(*PAIRS, "--out", "out")
    assert "2 painted, 4 skipped" in done.output


def test_a_saved_state_goes_to_the_lines_that_are_not_done(pictures, network):
    """As after a kill between the records of two pictures of one state."""
    lines = manifest.pairs(pictures / "contents", pictures / "styles", pictures / "out", {})[:3]
    ledger = Ledger(pictures / "out", network, 1)
    arrays = [np.arange(3.0)[:, None]]
    state = lanes.Snapshot(0, 7, arrays, np.arange(3.0), np.ones(3, bool))
    ledger.save_state(lines[0], lines, 3, state)
    ledger.write_failure(lines[0], "no")
    ledger.drop_state(lines[0])
    assert ledger.load_state(lines[:1], 3) is None
    found = ledger.load_state(lines[1:], 3)
    assert (found.level, found.iteration) == (0, 7)
    assert found.value.tolist() == [1, 2, 1]
    for line in lines[1:]:
        ledger.write_failure(line, "no")
        ledger.drop_state(line)
    assert not left_over(pictures)


def test_the_report_leads_to_pictures_of_any_name_as_a_person_sees_them(pictures):
    camera = pictures / "camera.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (64, 32)).save(camera, exif=exif)
    job = Job((camera,), pictures / "50%#1.png", Config(), content=camera)
    record = {"energy": None, "seconds": 1.0}
    line = manifest.Line(1, "50%#1.png", job)
    page = report.render([line], report.Counts(1, 0, 0), lambda line: record).decode()
    assert 'href="./50%25%231.png"' in page
    first = base64.b64decode(page.split("base64,")[1].split('"')[0])
    with Image.open(io.BytesIO(first)) as thumbnail:
        assert thumbnail.height > thumbnail.width


def test_several_styles_and_a_lane_that_is_not_finite(invoke, pictures):
    rows = [
        {"content": "contents/c0.png", "style": ["styles/s0.png", "styles/s1.png"]},
        {"content": "contents/c1.png", "style": "styles/s0.png"},
        {"content": "contents/c2.png", "style": "styles/s0.png", "style_weight": 1e38},
        {"content": "contents/c0.png", "style": "styles/s0.png", "color": "keep"},
    ]
    rows = [json.dumps({**row, "output": f"{n}.png"}) for n, row in enumerate(rows)]
    (pictures / "list.jsonl").write_text("\n".join(rows))
    done = invoke("batch", "list.jsonl", *SMALL, "--out", "out")
    assert done.exit_code == 1
    assert "3 painted, 0 skipped, 1 failed" in done.output
    assert "2.png failed: the energy is not finite" in done.output
    assert sorted(outputs(pictures / "out")) == ["0.png", "1.png", "3.png"]


def test_sigterm_saves_exits_143_and_goes_on_to_the_same_bytes(pictures, invoke, monkeypatch):
    (pictures / "contents" / "c2.png").unlink()  # two chunks are enough
    done = invoke(*PAIRS, "--out", "whole")
    assert done.exit_code == 0, done.output
    save, load, resumed = Ledger.save_state, Ledger.load_state, []

    def ended(*arguments):
        save(*arguments)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "save_state", ended)
        done = invoke(*PAIRS, "--out", "out", "--checkpoint-every", "1")
    assert done.exit_code == 143, done.output
    assert "stopped; start it again to go on" in done.output
    [saved] = (pictures / "out" / ".jaxmrf" / "states").glob("*.npz")
    with np.load(saved) as file:
        assert file["position"].tolist() == [0, 2]  # the step after the signal is kept, too
    monkeypatch.setattr(
        Ledger, "load_state", lambda *more: resumed.append(load(*more)) or resumed[-1]
    )
    done = invoke(*PAIRS, "--out", "out")
    assert done.exit_code == 0, done.output
    assert [state is not None for state in resumed] == [True, False]
    assert outputs(pictures / "out") == outputs(pictures / "whole")
    assert not left_over(pictures)


def test_a_killed_batch_is_finished_by_two_at_once_to_the_same_bytes(pictures, invoke, network):
    """Killed when the first picture is there; what is left is painted by one of the two."""
    done = invoke(*PAIRS, "--out", "whole")
    assert done.exit_code == 0, done.output
    out = pictures / "out"
    arguments = (*PAIRS, "--out", "out", "--checkpoint-every", "1")
    while (run := process(pictures, *arguments)).poll() is None:
        while run.poll() is None and not outputs(out):
            time.sleep(0.01)
        run.kill()
        text, _ = run.communicate(timeout=60)
        if run.returncode:
            break
        shutil.rmtree(out)  # it was done before it was killed
    assert run.returncode == -signal.SIGKILL, text
    for path in outputs(out):
        image.load(out / path)
    lines = manifest.pairs(pictures / "contents", pictures / "styles", out, LITTLE)
    recorded = sum(Ledger(out, network, 1).record(line) is not None for line in lines)
    runs = [process(pictures, *arguments) for _ in range(2)]
    texts = [run.communicate(timeout=200)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], texts
    painted = [int(text.split(" painted")[0].split()[-1]) for text in texts]
    assert sum(painted) == 6 - recorded > 0
    assert outputs(out) == outputs(pictures / "whole")
    assert not left_over(pictures)


def crash_loop(pictures, invoke, kills, seed):
    """Kills a batch at random moments until it is done; every output is checked meanwhile."""
    done = invoke(*PAIRS, "--out", "whole")
    assert done.exit_code == 0, done.output
    chance, killed, out = random.Random(seed), 0, pictures / "out"
    while True:
        run = process(pictures, *PAIRS, "--out", "out", "--checkpoint-every", "1")
        limit = time.monotonic() + chance.uniform(0.5, 6.0) if killed < kills else 1e12
        while run.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)
        if run.poll() is None:
            run.kill()
            killed += 1
        text, _ = run.communicate(timeout=60)
        for path in out.glob("*.png"):
            image.load(path)
        if run.returncode == 0 and killed >= kills:
            break
        if run.returncode == 0:  # done before enough kills: some are taken away again
            for path in chance.sample(sorted(out.glob("*.png")), 3):
                path.unlink()
        else:
            assert run.returncode == -signal.SIGKILL, text
    assert killed == kills
    assert outputs(out) == outputs(pictures / "whole")
    assert not left_over(pictures)


@pytest.mark.slow
def test_killed_thirty_times_it_ends_with_the_same_bytes(pictures, invoke):
    crash_loop(pictures, invoke, kills=30, seed=2)


def soak(pictures, network, count):
    """Paints many tiny pictures of two shapes; returns memory, files and compilations."""
    for index, height in enumerate((40, 56)):  # that no other test has
        paint(pictures / f"p{index}.png", index, height)
    # Pictures of one shape come together; all is compiled within the first third.
    rows = [
        {
            "content": f"p{int(n >= count // 4)}.png",
            "style": "styles/s0.png",
            "output": f"{n}.png",
            "seed": n,
        }
        for n in range(count)
    ]
    (pictures / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    once = {**LITTLE, "iterations": "1"}  # the next ones would be counted as a program, too
    lines = manifest.read(pictures / "list.jsonl", pictures / "out", once)
    me, memory, opened, compiled = psutil.Process(), [], [], []

    def note(event):
        assert event.kind == "done"
        memory.append(me.memory_info().rss)
        opened.append(me.num_fds())
        compiled.append(programs.steps._cache_size())
        assert pyramid.copies_of_all._cache_size() <= 2  # seeds and weights are no programs

    before = programs.steps._cache_size()
    ledger = Ledger(pictures / "out", network, 1)
    runner.Batch(ledger, network, BatchOptions(lanes=2), on_event=note).run(lines)
    assert len(memory) == count
    return memory, opened, compiled[-1] - before


def check_soak(found, count):
    memory, opened, compiled = found
    assert compiled == 2
    third = count // 3
    middle, last = (np.mean(memory[start : start + third]) for start in (third, 2 * third))
    assert last < 1.05 * middle
    assert max(opened[2 * third :]) <= max(opened[third : 2 * third]) + 2


@pytest.mark.slow
def test_three_hundred_transfers_take_no_more_memory_than_a_hundred(pictures, network):
    jax.clear_caches()
    check_soak(soak(pictures, network, 300), 300)


def test_a_dozen_transfers_compile_one_program_for_each_shape(pictures, network):
    pyramid.copies_of_all.clear_cache()
    memory, _, compiled = soak(pictures, network, 12)
    assert compiled == 2
    assert len(memory) == 12


def test_without_iterations_lanes_paint_what_the_decoder_does_alone(invoke, pictures):
    quick = ["--size", "64", "--levels", "1", "--preset", "quick"]
    line = {"content": "contents/c0.png", "style": "styles/s0.png", "output": "lane.png"}
    Path("pairs.jsonl").write_text(json.dumps(line) + "\n")
    assert invoke("batch", "pairs.jsonl", "--out", "out", "--lanes", "1", *quick).exit_code == 0
    alone = ["transfer", line["content"], line["style"], "-o", "alone.png", *quick]
    assert invoke(*alone).exit_code == 0
    (lane,) = Path().rglob("lane.png")
    # Both programs are compiled apart, so that the last bit may be rounded to the other side.
    painted, single = (np.asarray(Image.open(path), int) for path in (lane, "alone.png"))
    np.testing.assert_allclose(painted, single, atol=1)
