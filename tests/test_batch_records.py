"""Records and claims of a batch, as processes find them that others left behind."""

import dataclasses
import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmrf.batch import manifest
from jaxmrf.batch import records as record_files
from jaxmrf.batch.claims import Claims, claims_of
from jaxmrf.batch.ledger import Ledger, _identity_sha256, _key
from jaxmrf.batch.records import ENDING, Records
from jaxmrf.core.config import Config
from jaxmrf.errors import ConfigError, FolderError
from jaxmrf.files import atomic
from jaxmrf.networks import weights


@pytest.fixture
def loaded():
    return weights.load("vgg16")


def seen(records, names):
    return {name: record["energy"] for name in names if (record := records.last(name))}


def test_a_record_file_cut_off_at_any_byte_has_all_that_was_whole(tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    records, sizes = Records(whole), []
    for number, name in enumerate(("a.png", "b.png", "ä\n.png", "a.png")):
        records.append({"output": name, "energy": number})
        (file,) = whole.glob(f"*{ENDING}")
        sizes.append(file.stat().st_size)
    content, names = file.read_bytes(), ("a.png", "b.png", "ä\n.png")
    cut = tmp_path / "cut"
    cut.mkdir()
    for end in range(sizes[-2], sizes[-1] + 1):
        (cut / file.name).write_bytes(content[:end])
        expected = 3 if end == sizes[-1] else 0
        found = Records(cut)
        assert seen(found, names) == {"a.png": expected, "b.png": 1, "ä\n.png": 2}, end
    # Who goes on writes beside it, and is the last.
    (cut / file.name).write_bytes(content[: sizes[-1] - 1])
    Records(cut).append({"output": "a.png", "energy": 9})
    assert len(list(cut.iterdir())) == 2
    assert seen(Records(cut), names) == {"a.png": 9, "b.png": 1, "ä\n.png": 2}


@given(st.data())
def test_a_damaged_record_is_left_out_and_the_others_are_read(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("records")
    records, starts = Records(folder), [0]
    for number in range(3):
        records.append({"output": f"{number}.png", "energy": number})
        (file,) = folder.iterdir()
        starts.append(file.stat().st_size)
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    found = seen(Records(folder), [f"{number}.png" for number in range(3)])
    damaged = next(number for number in range(3) if place < starts[number + 1])
    # With the end of a line goes the next one.
    may_be_lost = {damaged, damaged + 1} if place == starts[damaged + 1] - 1 else {damaged}
    assert all(found[name] == int(name[0]) for name in found)
    assert {int(name[0]) for name in found} | may_be_lost >= {0, 1, 2}


@given(st.text(), st.integers(0, 9), st.text(), st.booleans())
def test_what_a_record_is_about_is_what_all_of_it_says(name, turn, text, quotes):
    record = {"output": name, "turn": turn, "error": f'"output":"{text}","turn":9' * quotes + text}
    record["terms"] = {text: 1.0}
    content = record_files._content(record_files._line(record))
    assert record_files._name_and_turn(content) == (name, turn)


def test_of_several_processes_the_last_record_counts_and_is_seen_when_it_is_looked_for(tmp_path):
    first, second = Records(tmp_path), Records(tmp_path)
    first.append({"output": "a.png", "energy": 1})
    assert second.last("a.png") is None
    second.refresh()
    assert second.last("a.png")["energy"] == 1
    second.append({"output": "a.png", "energy": 2})
    first.refresh()
    assert first.last("a.png")["energy"] == 2
    first.forget("a.png")
    assert first.last("a.png") is None
    assert first.has("a.png")
    assert Records(tmp_path).last("a.png") is None


def test_a_record_that_does_not_fit_on_the_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    records = Records(tmp_path)
    records.append({"output": "a.png", "energy": 1})
    (file,) = tmp_path.iterdir()
    before, write = file.read_bytes(), record_files.os.write

    def full(descriptor, content):
        if len(content) > 20:
            return write(descriptor, content[:20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(record_files.os, "write", full)
        with pytest.raises(OSError, match="No space"):
            records.append({"output": "b.png", "energy": 2})
    assert file.read_bytes() == before
    records.append({"output": "b.png", "energy": 3})
    assert seen(Records(tmp_path), ("a.png", "b.png")) == {"a.png": 1, "b.png": 3}


def test_an_output_is_claimed_once_in_this_process_and_in_others(tmp_path):
    path = tmp_path / "outputs.lock"
    claims = claims_of(path)
    claim = claims.take("a.png")
    assert claims_of(tmp_path / ".." / tmp_path.name / path.name).take("a.png") is None
    program = (
        "import sys, pathlib\n"
        "from jaxmrf.batch.claims import claims_of\n"
        "claims = claims_of(pathlib.Path(sys.argv[1]))\n"
        "print(*(claims.take(name) is not None for name in ('a.png', 'b.png')))\n"
    )
    other = [sys.executable, "-c", program, str(path)]
    told = subprocess.run(other, capture_output=True, text=True, check=True).stdout
    assert told.split() == ["False", "True"]
    claim.release()
    claim.release()
    again = claims.take("a.png")
    assert again is not None
    assert claims.take("b.png") is not None  # its process has ended; nobody holds the claim
    del again
    assert claims.take("a.png") is not None
    assert path.stat().st_size == 0


@pytest.fixture
def line(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(name.encode())
    row = {"content": "a.png", "style": "b.png", "output": "x.png", "seed": 7}
    (tmp_path / "list.jsonl").write_text(json.dumps(row))
    (line,) = manifest.read(tmp_path / "list.jsonl", tmp_path / "out", {"size": 64})
    return line


def old_identity_sha256(ledger, line):
    """As jaxmrf 0.2 computed it."""
    config = dataclasses.asdict(line.job.config)
    del config["score_precision"]  # there was none, and it makes no difference
    text = json.dumps({**ledger.identity(line), "config": config}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_identity_of_a_line_is_that_of_all_its_settings(tmp_path, line, loaded):
    ledger = Ledger(tmp_path / "out", loaded, 4)
    assert ledger._identity_sha256(line) == old_identity_sha256(ledger, line)
    config = dataclasses.replace(line.job.config, seed=8, layers=("relu2_1",))
    other = dataclasses.replace(line, job=dataclasses.replace(line.job, config=config))
    assert ledger._identity_sha256(other) == old_identity_sha256(ledger, other)
    assert _identity_sha256(config, ledger.identity(line)) != ledger._identity_sha256(line)
    config = dataclasses.replace(line.job.config, score_precision="tf32")
    other = dataclasses.replace(line, job=dataclasses.replace(line.job, config=config))
    assert ledger.identity(other) == ledger.identity(line)


@pytest.mark.parametrize("failed", [False, True])
def test_records_of_a_file_for_each_output_still_count(tmp_path, line, loaded, failed):
    out = tmp_path / "out"
    line.job.output.parent.mkdir()
    line.job.output.write_bytes(b"painted")
    ledger = Ledger(out, loaded, 1)
    record = {"output": "x.png", "line": 1, **ledger.identity(line)}
    record["identity_sha256"] = old_identity_sha256(ledger, line)
    if failed:
        record["error"] = "no"
    else:
        record |= {"energy": 1.0, "output_sha256": hashlib.sha256(b"painted").hexdigest()}
    (out / ".jaxmrf" / "records" / f"{_key('x.png')}.json").write_text(json.dumps(record))
    (out / ".jaxmrf" / "records" / f"{_key('y.png')}.json").write_text("{")
    ledger = Ledger(out, loaded, 1)
    assert ledger.record(line) == record
    ledger.forget(line)
    assert ledger.record(line) is None
    ledger.write_failure(line, "again")
    assert Ledger(out, loaded, 1).record(line)["error"] == "again"


def test_an_output_that_changed_is_seen_by_its_time_or_its_bytes(tmp_path, line, loaded):
    out = tmp_path / "out"
    out.mkdir()
    line.job.output.write_bytes(b"painted")
    ledger = Ledger(out, loaded, 1)
    digest = hashlib.sha256(b"painted").hexdigest()
    ledger.write(line, {"energy": None}, ledger.identity(line), digest)
    assert ledger.record(line) is not None
    line.job.output.touch()  # as a copy of the folder has another time
    assert ledger.record(line) is not None
    line.job.output.write_bytes(b"PAINTED")
    assert ledger.record(line) is None


def test_what_is_left_of_a_killed_writer_goes_unless_somebody_is_at_it(tmp_path, line, loaded):
    out = tmp_path / "out"
    ledger = Ledger(out, loaded, 1)
    left, other = out / f"{atomic.prefix(line.job.output)}abc", out / ".jaxmrf-of-another-list"
    left.touch()
    other.touch()
    claim = ledger.claim(line)
    ledger.clear_up([line], [out])
    assert left.exists()
    claim.release()
    ledger.clear_up([line], [out, out / "not there"])
    assert not left.exists()
    assert other.exists()


@given(st.integers(-1, 2**32))
def test_another_seed_is_checked_and_changes_nothing_else(seed):
    config = Config(size=64)
    if 0 <= seed < 2**32:
        assert config.with_seed(seed) == dataclasses.replace(config, seed=seed)
    else:
        with pytest.raises(ConfigError, match="seed is"):
            config.with_seed(seed)


def test_settings_that_differ_in_the_seed_alone_share_an_object_and_pickle_without_their_hash():
    config = Config(size=96)
    seeded = config.with_seed(7)
    assert hash(seeded) == hash(Config(size=96, seed=7))
    assert seeded.with_seed(8).with_seed(0) is seeded.with_seed(0) is config.with_seed(0)
    # Texts have other hashes in another process: a Ray actor, for one.
    code = """if True:
        import pickle, sys
        from jaxmrf.core.config import Config
        config = pickle.load(sys.stdin.buffer)
        assert config == Config(size=96, seed=7) and hash(config) == hash(Config(size=96, seed=7))
        """
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(seeded), env=environment, check=True
    )


def test_of_many_lines_an_input_is_looked_at_once_by_each_start(tmp_path, line, loaded):
    ledger = Ledger(tmp_path / "out", loaded, 1)
    line.job.output.write_bytes(b"picture")
    digest = hashlib.sha256(b"picture").hexdigest()
    ledger.write(line, {"energy": None}, ledger.identity(line), digest)
    of_this_start = ledger.records()
    assert of_this_start(line) is not None
    line.job.content.write_bytes(b"another photograph")
    assert of_this_start(line) is not None
    assert ledger.records()(line) is None
    assert ledger.record(line) is None


def test_claims_without_locks_of_the_file_system_are_one_line(tmp_path, loaded, line, monkeypatch):
    def none(*_):
        raise OSError(37, "No locks available")

    ledger = Ledger(tmp_path / "out", loaded, 1)
    monkeypatch.setattr(Claims, "take", none)
    with pytest.raises(FolderError, match=r"cannot lock files in .* choose an --out"):
        ledger.claim(line)


def test_lines_are_made_anew_and_are_the_same(tmp_path, line):
    rows = [{"content": "a.png", "style": "b.png", "output": f"{n}.png"} for n in range(5)]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = manifest.read(tmp_path / "list.jsonl", Path("out"), {})
    assert [line.name for line in lines] == [f"{n}.png" for n in range(5)]
    assert list(lines) == [lines[n] for n in range(5)] == lines[:]
    assert lines[-1] == lines[4]
    assert [line.number for line in lines[1:4:2]] == [2, 4]
    with pytest.raises(IndexError):
        lines[5]
    parts = [manifest.shard(lines, index, 2) for index in (1, 2)]
    assert sorted(line.number for part in parts for line in part) == [1, 2, 3, 4, 5]
