"""Functions in a process of their own: whatever becomes of it is one line."""

import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

from jaxmrf.cli import app
from jaxmrf.errors import ConversionError, WeightsError
from jaxmrf.files import isolation
from jaxmrf.networks import foreign_file, weights
from jaxmrf.networks.formats import common

ROOT = Path(__file__).resolve().parent.parent

MODULE = """
import os, signal, sys, time
from jaxmrf.errors import ConversionError
from jaxmrf.files import isolation

def loud():
    print("words of a library", flush=True)
    os.write(1, b"words of a library")
    os.write(2, b"words of a library")
    return b"one\\ntwo"

def sleep():
    open(sys.argv[2], "w").write(str(os.getpid()))
    time.sleep(600)

def compute():
    while True:
        pass

def fail(error):
    raise error

ACTIONS = {
    "loud": loud,
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(7),
    "memory": lambda: bytearray(2**31),
    "sleep": sleep,
    "compute": compute,
    "user": lambda: fail(ConversionError('words in "quotes"')),
    "missing": lambda: open("nothing"),
    "library": lambda: fail(KeyError("layers")),
}
isolation.answer(lambda name, *_: ACTIONS[name](), memory_bytes=2**30, seconds=1)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Returns the name of a module whose process does what it is told."""
    (tmp_path / "actions_of_a_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "actions_of_a_test"


def test_an_answer_comes_whole_and_nothing_else(module, capfd):
    assert isolation.run(module, ["loud"], seconds=60) == b"one\ntwo"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("action", "how"),
    [
        ("crash", r"^crashed \(segmentation fault\)$"),
        ("abort", r"^crashed \(aborted\)$"),
        ("kill", r"^crashed \(killed\)$"),
        ("exit", "^ended with exit code 7$"),
        ("memory", "^took too much memory$"),
        ("compute", "^took too much time$"),
        ("library", r"^failed: KeyError\('layers'\)$"),
    ],
)
def test_however_a_process_ends_is_one_line(module, action, how, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(isolation.EndedError, match=how):
        isolation.run(module, [action], seconds=60)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.glob("core*"))


def test_a_process_that_hangs_is_ended(module, tmp_path):
    with pytest.raises(isolation.EndedError, match="took more than 1 seconds"):
        isolation.run(module, ["sleep", str(tmp_path / "pid")], seconds=1)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_errors_for_users_come_through_as_they_are(module):
    with pytest.raises(ConversionError, match=r'^words in "quotes"$'):
        isolation.run(module, ["user"], seconds=60)
    with pytest.raises(FileNotFoundError) as caught:
        isolation.run(module, ["missing"], seconds=60)
    assert (caught.value.strerror, caught.value.filename) == (
        "No such file or directory",
        "nothing",
    )


def test_modules_of_the_working_folder_are_not_loaded(module, tmp_path, monkeypatch):
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "psutil.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(folder)
    assert isolation.run(module, ["loud"], seconds=60)


def test_ctrl_c_ends_the_process_without_a_word_of_it(module, tmp_path):
    program = (
        "from jaxmrf.cli.terminal import user_errors\n"
        "from jaxmrf.files import isolation\n"
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "with user_errors():\n"
        "    isolation.run('actions_of_a_test', ['sleep', sys.argv[2]], seconds=60)\n"
    )
    note = tmp_path / "pid"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), str(note)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (note.exists() and note.read_text()):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, stderr = process.communicate(timeout=60)
    assert stderr.startswith("interrupted\n")
    assert "KeyboardInterrupt" not in stderr
    assert not psutil.pid_exists(int(note.read_text()))


# Weight files.

CRASHING = base64.b64decode(
    "TUFUTEFCIDUuMCBNQVQtZmlsZSBQbGF0Zm9ybTogcG9zaXgsIENyZWF0ZWQgb246IFRodSBOb3YgMjYgMTU6Mjc6NT"
    "IgMjAyNgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABSU0OAAAAAAEA"
    "AAYAAAAIAAAAAQAAAAAAAAAFAAAACAAAAAEAAAABAAAAAQAAAAYAAABsYXllcnMAAA4AAADIAAAABgAAAAgAAAACAA"
    "AAAAAAAAUAAAAIAAAAAQAAAAEAAAABAAAAAAAAAAUABAAFAAAAAQAAAAoAAABuYW1lAHcAAAAAAAAAAAAADgAAADAA"
    "AAAGAAAACAAAAAQAAAAAAAAABQAAAAgAAAABAAAAAQAAAAEAAAAAAAAAEAABAGMAAAAOAAAAQAAAAAYAAAAIAAAABg"
    "AAAAAAAAAFAAAACAAAAAEAAAACAAAAAQAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAA="
)
"""A MATLAB file of 392 bytes with six of them altered: scipy 1.17 crashes, whatever Python does."""


def test_a_file_that_crashes_its_parser_is_one_line(tmp_path):
    path = tmp_path / "damaged.mat"
    path.write_bytes(CRASHING)
    # A later version of scipy may tell what is wrong with it.
    line = r"(its parser crashed \(segmentation fault\); the file is probably damaged|MatConvNet)"
    with pytest.raises(WeightsError, match=f"^cannot use the weights {path}: {line}"):
        weights.load("auto", path)
    output = tmp_path / "converted.safetensors"
    done = CliRunner().invoke(app.app, ["weights", "convert", str(path), "-o", str(output)])
    assert done.exit_code == 2
    assert done.output.startswith(f"error: cannot convert {path}: ")
    assert done.output.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"words and more words",
        b"\x80\x02cposix\nsystem\n.",
        b"MATLAB 5.0 MAT-file" + bytes(200),
        b"\x89HDF\r\n\x1a\n" + bytes(20),
    ],
    ids=["unknown", "pickle", "matlab", "hdf5"],
)
def test_what_is_wrong_with_a_file_is_told_by_the_same_words(content, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(content)
    with pytest.raises(ConversionError) as here:
        foreign_file.parse(path)
    with pytest.raises(ConversionError) as isolated:
        foreign_file.read(path)
    assert str(isolated.value) == str(here.value)


def test_arrays_and_facts_come_through_unaltered():
    kernel, bias = np.random.default_rng(0).standard_normal((2, 3, 3, 3), np.float32)
    layers = {"conv1_2": (kernel.T, bias), "conv1_1": (kernel, bias[::2])}
    sent = common.Foreign("vgg19", layers, common.CAFFE_INPUT, "here", "CC", "0" * 64)
    received = foreign_file._unpacked(foreign_file._packed(sent))
    assert received.input == sent.input
    for name, arrays in layers.items():
        for array, copy in zip(arrays, received.layers[name], strict=True):
            np.testing.assert_array_equal(array, copy, strict=True)
    assert (received.architecture, received.source, received.license, received.sha256) == (
        "vgg19",
        "here",
        "CC",
        "0" * 64,
    )


def test_own_files_need_no_process(monkeypatch):
    monkeypatch.setattr(isolation, "run", None)
    assert weights.load("vgg16").features.architecture == "vgg16"
