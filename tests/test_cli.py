"""The command line, through typer's runner and as a real process."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from jaxmrf.cli import app
from jaxmrf.cli.terminal import noted_signals
from jaxmrf.core.run.progress import NonFiniteEnergyError
from jaxmrf.errors import ImageError
from jaxmrf.jobs import paint
from jaxmrf.jobs.options import to_arguments
from jaxmrf.machine import program_cache
from tests.common import SHALLOW, picture

ROOT = Path(__file__).resolve().parent.parent
DEEP = ["--size", "64", "--levels", "1", "--iterations", "2"]
SMALL = to_arguments(SHALLOW)


@pytest.fixture
def pictures(tmp_path):
    for name, seed, height, width in (("content", 1, 48, 80), ("style", 2, 70, 64)):
        pixels = np.asarray(picture(seed, height, width) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.fixture
def invoke(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    return lambda *arguments: CliRunner().invoke(app.app, list(arguments))


def process(folder, *arguments, **more):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *arguments],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def test_as_a_process_it_paints_and_by_pipes_the_same_though_nobody_reads_what_is_said(pictures):
    run = process(pictures, "transfer", "content.png", "style.png", "-o", "a.png", *SMALL)
    stdout, stderr = run.communicate(timeout=120)
    assert run.returncode == 0, stderr
    assert stdout == ""
    assert "network vgg16" in stderr
    assert "wrote a.png" in stderr
    programs = program_cache.folder()
    assert any(programs.iterdir())
    assert programs.stat().st_mode & 0o777 == 0o700  # for the user alone
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, ROOT / "cli.py", "transfer", "-", "style.png", "-o", "-", *SMALL],
        cwd=pictures,
        env={**os.environ, "HOME": str(pictures)},
        input=(pictures / "content.png").read_bytes(),
        stdout=subprocess.PIPE,
        stderr=writer,
        timeout=120,
    )
    os.close(writer)
    assert done.returncode == 0
    with Image.open(pictures / "a.png") as file, Image.open(io.BytesIO(done.stdout)) as other:
        assert file.size == (64, 38)
        assert file.tobytes() == other.tobytes()
        settings, of_the_other = json.loads(file.text["jaxmrf"]), json.loads(other.text["jaxmrf"])
    assert settings["content"] == "content.png"
    assert settings["config"]["size"] == 64
    assert settings["config"]["seed"] == 0
    assert of_the_other == {**settings, "content": "-"}
    assert {path.name for path in pictures.iterdir()} == {"a.png", "content.png", "style.png"}


def test_outside_a_mask_the_file_has_the_very_pixels_of_the_photograph(invoke, pictures):
    mask = Image.new("L", (80, 48), "black")
    mask.paste("white", (20, 10, 60, 40))
    mask.save(pictures / "mask.png")
    done = invoke(
        "transfer", "content.png", "style.png", "--mask", "mask.png", *SMALL, "--size", "80"
    )
    assert done.exit_code == 0, done.output
    painted, content = (
        np.asarray(Image.open(pictures / name).convert("RGB"))
        for name in ("out.png", "content.png")
    )
    outside = np.asarray(mask) == 0
    np.testing.assert_array_equal(painted[outside], content[outside])
    assert (painted != content)[~outside].mean() > 0.5


def test_guides_beside_the_pictures_are_found_and_hold(invoke, pictures):
    """A style whose left is black and whose right is white, in a picture to be the reverse."""
    style = Image.new("RGB", (64, 70), "black")
    style.paste("white", (32, 0, 64, 70))
    style.save(pictures / "style.png")
    style.save(pictures / "style_sem.png")
    Image.new("RGB", (80, 48), "grey").save(pictures / "content.png")
    turned = style.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize(
        (80, 48), Image.Resampling.NEAREST
    )
    turned.save(pictures / "content_sem.png")
    # Without iterations: patches are matched for the decoder, too.
    options = (*DEEP, "--iterations", "0", "--content-weight", "0", "--color", "none")
    brightness = []
    for more in ((), ("--guide-weight", "0")):
        done = invoke("transfer", "content.png", "style.png", "-o", "out.png", *options, *more)
        assert done.exit_code == 0, done.output
        painted = np.asarray(Image.open(pictures / "out.png").convert("L"), np.float32)
        brightness.append(painted[:, :24].mean() - painted[:, 40:].mean())
    assert brightness[0] > brightness[1] + 10


def test_several_styles_are_mixed(invoke, pictures):
    done = invoke(
        *("transfer", "content.png", "style.png", "content.png", "--style-blend", "1,3"),
        *(*SMALL, "--style-loss", "mrf:1,gram:0.1"),
    )
    assert done.exit_code == 0, done.output
    settings = json.loads(Image.open(pictures / "out.png").text["jaxmrf"])
    assert settings["style"] == ["style.png", "content.png"]
    assert settings["config"]["style_blend"] == [1.0, 3.0]
    assert "gram" in done.output


def test_synthesize_makes_the_size_that_was_asked_for(invoke, pictures):
    shallow = [*DEEP[2:], "--layers", "relu2_1", "--optimizer", "adam"]
    done = invoke("synthesize", "style.png", "-o", "texture.png", "--size", "72x56", *shallow)
    assert done.exit_code == 0, done.output
    with Image.open(pictures / "texture.png") as file:
        assert file.size == (72, 56)


def test_trace_previews_and_lists(invoke, pictures, monkeypatch):
    previews = []
    save = paint.image.save
    monkeypatch.setattr(
        paint.image, "save", lambda path, *more: (previews.append(path.name), save(path, *more))
    )
    done = invoke(
        "transfer", "content.png", "style.png", "-o", "out.tif", "--size", "128", "--iterations",
        "2 3", "--layers", "relu3_1, relu4_1", "--preview-every", "2", "--trace", "trace.jsonl",
        "--optimizer", "adam",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    # At each of two levels after each round of the decoder, and after the second iteration.
    assert previews == [*["out.preview.png"] * 6, "out.tif"]
    assert not (pictures / "out.preview.png").exists()
    lines = [json.loads(line) for line in (pictures / "trace.jsonl").read_text().splitlines()]
    assert [(line["level"], line["iteration"]) for line in lines] == [
        (1, 1), (1, 2), (2, 1), (2, 2), (2, 3),
    ]  # fmt: skip
    for line in lines:
        assert abs(sum(line["terms"].values()) - line["energy"]) < 1e-3 * line["energy"]


def test_options_reach_the_config(invoke, pictures, monkeypatch):
    seen = []

    class Stop(Exception):  # noqa: N818
        pass

    def record(job, network, **_):
        seen.append(job)
        raise Stop

    monkeypatch.setattr(paint, "run", record)
    done = invoke(
        "transfer", "content.png", "style.png", "--preset", "reference", "--content-weight", "5",
        "--style-weight", "0.1", "--tv-weight", "0.2", "--content-layer", "relu4_1", "--seed", "9",
        "--patch-size", "5", "--stride", "3", "--style-stride", "4", "--levels", "2",
        "--optimizer", "adam", "--line-search", "zoom", "--matching", "exact", "--rotations", "1",
        "--scales", "2", "--style-scale", "0.5", "--color", "keep", "--init", "style.png",
    )  # fmt: skip
    assert isinstance(done.exception, Stop)
    job = seen[0]
    expected = {
        "content_weight": 5, "style_weight": 0.1, "tv_weight": 0.2, "content_layer": "relu4_1",
        "seed": 9, "patch_size": 5, "stride": 3, "style_stride": 4, "levels": 2,
        "optimizer": "adam", "line_search": "zoom", "matching": "exact", "rotations": 1,
        "scales": 2, "style_scale": 0.5, "color": "keep", "normalization": "authors",
    }  # fmt: skip
    assert {name: getattr(job.config, name) for name in expected} == expected
    assert job.initial == Path("style.png")


def test_a_picture_gives_back_the_options_that_made_it(invoke, pictures):
    (pictures / "run.toml").write_text(
        "seed = 5\niterations = [2]\nlevels = 1\nsize = 96\nlayers = ['relu2_1']\n"
        "content_layer = 'relu2_1'\noptimizer = 'adam'\n"
    )
    given = ("--style-blend", "2", "--variety", "0.1", "--match-every", "3", "--metric", "distance")
    for name in ("out.png", "out.jpg", "out.webp", "out.tif"):
        done = invoke(
            *("transfer", "content.png", "style.png", "--config", "run.toml"),
            *("-o", name, "--size", "64", *given),
        )
        assert done.exit_code == 0, done.output
        shown = invoke("show-config", name)
        assert shown.exit_code == 0, shown.output
        assert "seed = 5" in shown.output
        assert "size = 64" in shown.output  # the command line goes before the file
        assert 'metric = "distance"' in shown.output
    (pictures / "again.toml").write_text(invoke("show-config", "out.png").output)
    done = invoke(
        "transfer", "content.png", "style.png", "--config", "again.toml", "-o", "again.png"
    )
    assert done.exit_code == 0, done.output
    assert (pictures / "again.png").read_bytes() == (pictures / "out.png").read_bytes()


def labeled(size, color):
    """A picture whose left half is black and whose right half has a color."""
    found = Image.new("RGB", size, "black")
    found.paste(color, (size[0] // 2, 0, *size))
    return found


def test_a_picture_gives_back_its_guides_mask_and_start(invoke, pictures):
    labeled((80, 48), "red").save(pictures / "where.png")
    labeled((64, 70), "red").save(pictures / "from.png")
    labeled((80, 48), "white").save(pictures / "mask.png")
    done = invoke(
        *("transfer", "content.png", "style.png", "--content-guide", "where.png", "--mask"),
        *("mask.png", "--style-guide", "from.png", "--init", "style.png", *SMALL),
    )
    assert done.exit_code == 0, done.output
    shown = invoke("show-config", "out.png").output
    for line in (
        *('content_guide = "where.png"', '"from.png"', 'mask = "mask.png"', 'init = "style.png"'),
    ):
        assert line in shown
    (pictures / "again.toml").write_text(shown)
    again = ("content.png", "style.png", "--config", "again.toml", "-o", "again.png")
    done = invoke("transfer", *again)
    assert done.exit_code == 0, done.output
    assert (pictures / "again.png").read_bytes() == (pictures / "out.png").read_bytes()


def test_inputs_in_a_file_of_options_are_beside_it(invoke, pictures):
    (pictures / "away").mkdir()
    (pictures / "away" / "run.toml").write_text('mask = "mask.png"\ninit = "noise"')
    done = invoke("transfer", "content.png", "style.png", "--config", "away/run.toml")
    assert done.exit_code == 2
    assert "there is no file away/mask.png" in done.output


@pytest.mark.parametrize(
    "options",
    [
        ["--preset", "paper", "--rotations", "0", "--scales", "0", "--layers", "relu2_1"],
        ["--style-loss", "gram", "--gram-layers", "relu1_1", "--preset", "reference"],
    ],
)
def test_a_synthesis_gives_back_what_had_an_effect(options, invoke, pictures):
    """Settings without effect are not in the file, since they would be refused."""
    options = [*options, *DEEP, "--size", "64x32", "--optimizer", "adam"]
    done = invoke("synthesize", "style.png", *options)
    assert done.exit_code == 0, done.output
    shown = invoke("show-config", "out.png").output
    assert "color" not in shown
    assert "content_weight" not in shown
    assert ("variety" in shown) == ("gram" not in options)
    (pictures / "again.toml").write_text(shown)
    done = invoke("synthesize", "style.png", "--config", "again.toml", "-o", "again.png")
    assert done.exit_code == 0, done.output
    assert (pictures / "again.png").read_bytes() == (pictures / "out.png").read_bytes()


def test_what_nobody_asked_for_is_told(invoke, pictures):
    """Guides beside the pictures, and layers that the network lacks; not guides without effect."""
    labeled((80, 48), "red").save(pictures / "content_sem.png")
    thin = Image.new("RGB", (64, 70), "black")
    thin.paste("red", (0, 0, 64, 2))
    thin.save(pictures / "style_sem.png")
    start = ("transfer", "content.png", "style.png", "-o", "out.png", *DEEP, "--iterations", "0")
    told = invoke(*start).output.splitlines()
    assert (
        told.count(
            "guides found beside the pictures: content_sem.png, style_sem.png "
            "(--guide-weight 0 leaves them out)"
        )
        == 1
    )
    assert any("the label #ff0000 of content_sem.png is in no style patch" in line for line in told)
    assert "level 1/1 round 2/2" in told  # an energy is not known
    assert "guides found" not in invoke(*start, "--guide-weight", "0").output
    assert "iterations is 0 and no decoder" in invoke(*start, "--style-loss", "gram").output
    told = invoke(*start, "--style-loss", "gram", "--iterations", "1").output
    assert "guides found" not in told
    assert told.count("left out relu5_1 of the Gram loss: the network has no such layer") == 1
    assert json.loads(Image.open("out.png").text["jaxmrf"])["content_guide"] is None


def test_unknown_options_in_a_file_are_named(invoke, pictures):
    (pictures / "run.toml").write_text("itrations = 5")
    for arguments, message in (
        (["transfer", "content.png", "style.png", "--config", "run.toml"], "mean 'iterations'?"),
        (["transfer", "content.png", "style.png", "--config", "style.png"], "is not TOML"),
        (["transfer", "content.png", "style.png", "--config", "no.toml"], "cannot read no.toml"),
        (["show-config", "style.png"], "style.png is no picture that jaxmrf made"),
        (["show-config", "no.png"], "there is no file no.png"),
    ):
        done = invoke(*arguments)
        assert done.exit_code == 2, done.output
        assert message in done.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_what_ends_a_run_saves_the_picture_and_says_so(number, code, invoke, pictures, monkeypatch):
    def progress(_, record):
        if record.iteration == 3:
            signal.raise_signal(number)

    monkeypatch.setattr(app.Display, "progress", progress)
    done = invoke("transfer", "content.png", "style.png", *SMALL, "--iterations", "9")
    assert done.exit_code == code
    assert "interrupted: saved" in done.output
    assert json.loads(Image.open("out.png").text["jaxmrf"])["stopped"]["iteration"] == 3


def test_ctrl_c_twice_saves_the_picture_of_a_process(pictures):
    run = process(
        pictures, "transfer", "content.png", "style.png", "-o", "out.png", *SMALL,
        "--iterations", "100000", "--trace", "trace.jsonl",
    )  # fmt: skip
    trace = pictures / "trace.jsonl"
    deadline = time.monotonic() + 120
    while not (trace.exists() and trace.read_text().count("\n") > 3):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for _ in range(2):
        run.send_signal(signal.SIGINT)
        time.sleep(0.05)
    try:
        _, stderr = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130
    assert "interrupted: saved" in stderr
    assert "Traceback" not in stderr
    with Image.open(pictures / "out.png") as file:
        assert file.size == (64, 38)
        assert json.loads(file.text["jaxmrf"])["stopped"]["iteration"] > 3
    assert not list(pictures.glob("*preview*"))


def test_ctrl_c_while_libraries_load_is_no_traceback(pictures):
    run = process(pictures, "info")
    maps = Path(f"/proc/{run.pid}/maps")
    while "numpy" not in maps.read_text():  # its own import is done by then
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    stdout, stderr = run.communicate(timeout=60)
    assert run.returncode in (-signal.SIGINT, 130)  # a shell says 130 of both
    assert stdout == stderr == ""


def test_signals_that_are_ignored_stay_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with noted_signals(signal.SIGHUP, at_once=True) as received:
            signal.raise_signal(signal.SIGHUP)
        assert received == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_where_python_can_only_print_it_is_not_lost(invoke, pictures, monkeypatch):
    """Such as in the destructor of an object."""

    class Interrupting:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def progress(_, record):
        if record.iteration == 3:
            Interrupting()

    monkeypatch.setattr(app.Display, "progress", progress)
    done = invoke("transfer", "content.png", "style.png", *SMALL, "--iterations", "9")
    assert done.exit_code == 130
    assert "Traceback" not in done.output
    with Image.open(pictures / "out.png") as file:
        assert json.loads(file.text["jaxmrf"])["stopped"]["iteration"] == 3


def test_ctrl_c_while_the_finished_picture_is_written_does_not_lose_it(
    invoke, pictures, monkeypatch
):
    save, times = paint.image.save, []

    def interrupted(path, *more):
        times.append(path)
        if len(times) == 1:
            signal.raise_signal(signal.SIGINT)
        save(path, *more)

    monkeypatch.setattr(paint.image, "save", interrupted)
    done = invoke("transfer", "content.png", "style.png", *SMALL, "--preview-every", "0")
    assert done.exit_code == 130
    with Image.open(pictures / "out.png") as file:
        assert "stopped" not in json.loads(file.text["jaxmrf"])


def test_without_a_name_a_free_one_is_taken_and_with_one_a_file_is_replaced(invoke, pictures):
    (pictures / "out.png").write_bytes(b"mine")
    (pictures / "named").write_bytes(b"old")
    quick = ("transfer", "content.png", "style.png", "--size", "64", "--preset", "quick")
    done = invoke(*quick)
    assert "wrote out-2.png" in done.output
    assert (pictures / "out.png").read_bytes() == b"mine"
    done = invoke(*quick, "-o", "named", "--format", "webp")
    assert "named is there already; the finished picture will replace it" in done.output
    with Image.open(pictures / "named") as file:
        assert file.format == "WEBP"


@pytest.mark.parametrize("name", ["n" * 251 + ".png", os.fsdecode(b"cat\xff.png"), "link.png"])
def test_whatever_can_be_a_name_can_be_that_of_a_picture(name, invoke, pictures):
    (pictures / "link.png").symlink_to("target.png")
    (pictures / "target.preview.png").write_bytes(b"mine")
    given = (*SMALL, "--preview-every", "1", "--trace", "trace.jsonl", "-o", name)
    done = invoke("transfer", "content.png", "style.png", *given)
    assert done.exit_code == 0, done.output
    assert "warning" not in done.output
    with Image.open(pictures / name) as file:
        assert file.size == (64, 38)
    assert (pictures / "link.png").is_symlink()
    assert (pictures / "target.preview.png").read_bytes() == b"mine"
    assert len(list(pictures.iterdir())) == 6


@pytest.mark.parametrize("name", ["content.png", "./style.png", "hard.png", "link.png", "x.toml"])
def test_no_output_takes_the_place_of_an_input(name, invoke, pictures):
    (pictures / "hard.png").hardlink_to(pictures / "content.png")
    (pictures / "link.png").symlink_to("style.png")
    (pictures / "x.toml").write_text("seed = 1")
    before = {path.name: path.read_bytes() for path in pictures.iterdir()}
    given = ("--config", "x.toml", "-o", name, "--format", "png")
    done = invoke("transfer", "content.png", "style.png", *given)
    assert done.exit_code == 2
    assert {path.name: path.read_bytes() for path in pictures.iterdir()} == before


def test_an_energy_that_is_not_finite_from_the_start_saves_nothing(invoke, pictures):
    given = (*SMALL, "--style-weight", "1e38")
    done = invoke("transfer", "content.png", "style.png", *given)
    assert done.exit_code == 2
    assert "not finite" in done.output
    assert "nothing saved" in done.output
    assert not (pictures / "out.png").exists()


def test_an_energy_that_stops_being_finite_saves_the_last_good_picture(
    invoke, pictures, monkeypatch
):
    iterate = paint.api.iterate

    def breaks(*arguments, **more):
        for progress in iterate(*arguments, **more):
            yield progress
            if progress.iteration == 1:
                raise NonFiniteEnergyError(progress)

    monkeypatch.setattr(paint.api, "iterate", breaks)
    done = invoke("transfer", "content.png", "style.png", *SMALL)
    assert done.exit_code == 2
    assert "saved the last good picture" in done.output
    with Image.open(pictures / "out.png") as file:
        assert json.loads(file.text["jaxmrf"])["stopped"] == {"level": 1, "iteration": 1}


def test_a_trace_or_preview_that_fails_does_not_end_the_run(invoke, pictures, monkeypatch):
    save = paint.image.save

    def full(path, *more):
        if "preview" in path.name:
            raise ImageError("cannot write the preview: No space left on device")
        save(path, *more)

    monkeypatch.setattr(paint.image, "save", full)
    done = invoke(
        "transfer",
        "content.png",
        "style.png",
        *SMALL,
        "--trace",
        "/dev/full",
        "--preview-every",
        "1",
    )
    assert done.exit_code == 0, done.output
    assert "warning: the trace ends here: No space left" in done.output
    assert done.output.count("warning: no more previews") == 1
    assert (pictures / "out.png").exists()


@pytest.mark.parametrize("name", ["content.png", "style.png", "out.png"])
def test_a_trace_never_takes_the_place_of_a_picture(invoke, pictures, name):
    before = (pictures / "content.png").read_bytes()
    done = invoke("transfer", "content.png", "style.png", "-o", "out.png", "--trace", name)
    assert done.exit_code == 2
    assert "would overwrite" in done.output
    assert (pictures / "content.png").read_bytes() == before


BAD = {
    "missing content": (["nothing.png", "style.png"], "there is no file nothing.png"),
    "text as picture": (["text.png", "style.png"], "not a JPEG, PNG, WebP or TIFF"),
    "empty": (["empty.png", "style.png"], "empty.png"),
    "folder": ([".", "style.png"], "is a folder"),
    "output folder": (["content.png", "style.png", "-o", "folder.png"], "it is a folder"),
    "output suffix": (["content.png", "style.png", "-o", "out.gif"], "must end in"),
    "output nowhere": (["content.png", "style.png", "-o", "no/out.png"], "there is no folder "),
    "layer": (["content.png", "style.png", "--layers", "relu7_1"], "no layer 'relu7_1'"),
    "preset": (["content.png", "style.png", "--preset", "best"], "'best' is not one of"),
    "network": (["content.png", "style.png", "--network", "resnet"], "'resnet' is not one of"),
    "vgg19": (["content.png", "style.png", "--network", "vgg19"], "weights of vgg19 are not here"),
    "memory": (
        ["content.png", "style.png", "--size", "64", "--memory", "0.001"],
        "any picture needs more than 0.6 GB of memory, 0.001 GB are there",
    ),
    "no number": (["content.png", "style.png", "--iterations", "many"], "iterations is 'many'"),
    "nan": (["content.png", "style.png", "--content-weight", "nan"], "content_weight is nan"),
    "negative": (["content.png", "style.png", "--tv-weight", "-1"], "tv_weight is -1"),
    "tiny": (["content.png", "style.png", "--size", "8"], "not even one patch"),
    "huge": (["content.png", "style.png", "--size", "20000"], "more than 100 megapixels"),
    "start": (["content.png", "style.png", "--init", "nothing.png"], "no file nothing.png"),
    "long name": (["content.png", "style.png", "-o", "x" * 300 + ".png"], "File name too long"),
    "levels": (["content.png", "style.png", "--levels", "2000"], "levels is 2000"),
    "style scale": (["content.png", "style.png", "--style-scale", "1e300"], "style_scale is"),
    "seed": (["content.png", "style.png", "--seed", str(10**400)], "seed is"),
    "trace": (["content.png", "style.png", "--trace", "no/trace.jsonl"], "cannot write the trace"),
    "style loss": (["content.png", "style.png", "--style-loss", "mfr"], "no style loss 'mfr'"),
    "blend": (["content.png", "style.png", "--style-blend", "3,7"], "2 weights for 1 style"),
    "tileable": (["content.png", "style.png", "--size", "64", "--tileable"], "size 80 gives 80×48"),
    "black mask": (["content.png", "style.png", "--mask", "black.png"], "is black everywhere"),
    "mask of other proportions": (
        ["content.png", "style.png", "--mask", "style.png"],
        "style.png has 64×70 pixels, its picture 512×307; they must have the same proportions",
    ),
    "one guide": (["content.png", "style.png", "--content-guide", "black.png"], "only together"),
    "guide of other proportions": (
        ["content.png", "style.png", "--content-guide", "black.png", "--style-guide", "black.png"],
        "they must have the same proportions",
    ),
    "label that no style has": (
        ["content.png", "style.png", "--content-guide", "red.png", "--style-guide", "white.png"],
        "the label #ff0000 of the content guide red.png is in no style guide",
    ),
    "device": (["content.png", "style.png", "--device", "tpu"], "there is no device 'tpu'"),
    "unknown option": (
        ["content.png", "style.png", "--content-wieght", "1"],
        "no option --content-wieght; did you mean --content-weight? See jaxmrf transfer --help",
    ),
    "no value": (["content.png", "style.png", "--seed"], "--seed"),
    "no style": (["content.png"], "missing argument 'STYLE...'; see jaxmrf transfer --help"),
    "no whole number": (["content.png", "style.png", "--seed", "x"], "invalid value for '--seed'"),
    "guides without flat colors": (
        ["content.png", "style.png", "--content-guide", "noise.png", "--style-guide", "white.png"],
        "noise.png has no label; paint each thing in it in one flat color",
    ),
    "style guide without flat colors": (
        ["content.png", "style.png", "--content-guide", "red.png", "--style-guide", "noisy.png"],
        "noisy.png has no label",
    ),
    "mask that vanishes": (
        ["content.png", "style.png", "--size", "20", "--mask", "dot.png"],
        "what is white in the mask dot.png vanishes at 20×12 pixels",
    ),
    "no loss": (["content.png", "style.png", "--style-loss", "gram:0"], "one weight must be above"),
    "variety without patches": (
        ["content.png", "style.png", "--style-loss", "gram", "--variety", "0.5"],
        "variety has no effect: the style loss mrf is not used; leave it out",
    ),
    "metric without patches": (
        ["content.png", "style.png", "--style-loss", "gram", "--metric", "distance"],
        "metric has no effect: the style loss mrf is not used",
    ),
    "guides without patches": (
        [
            "content.png",
            "style.png",
            "--style-loss",
            "gram:1,mrf:0",
            "--content-guide",
            "red.png",
            "--style-guide",
            "white.png",
        ],
        "content_guide has no effect: the style loss mrf is not used",
    ),
    "guide weight without guides": (
        ["content.png", "style.png", "--guide-weight", "0.5"],
        "guide_weight has no effect: there are no guides",
    ),
    "gram layers without gram": (
        ["content.png", "style.png", "--gram-layers", "relu1_1"],
        "gram_layers has no effect: the style loss gram is not used",
    ),
    "gram layer": (
        ["content.png", "style.png", "--style-loss", "gram", "--gram-layers", "relu1_1,relu9_1"],
        "no layer 'relu9_1'; it has relu1_1",
    ),
    "more iterations than levels": (
        ["content.png", "style.png", "--levels", "2", "--iterations", "3,2,1"],
        "iterations has 3 numbers for 2 levels; give one for each level at most, or levels 3",
    ),
    "more iterations than the size has levels": (
        ["content.png", "style.png", "--size", "64", "--decoder-rounds", "0", "--iterations=3,2"],
        "iterations has 2 numbers for 1 level",
    ),
    "more iterations than levels of a preset": (
        ["content.png", "style.png", "--preset", "reference", "--iterations", "4,3,2,1"],
        "iterations has 4 numbers for 3 levels",
    ),
    "nothing paints": (
        ["content.png", "style.png", "--decoder-rounds", "0", "--iterations", "0"],
        "iterations is 0 and no decoder paints before them: nothing would be painted",
    ),
    "iterations only where no patch fits": (
        [
            "content.png",
            "style.png",
            "--size",
            "48",
            "--levels",
            "3",
            "--iterations",
            "3,3,0",
            "--decoder-rounds",
            "0",
        ],
        "nothing would be painted; give 1 at least, at a level on which a patch fits",
    ),
    "no gram layer": (
        ["content.png", "style.png", "--style-loss", "gram", "--gram-layers", ","],
        "gram_layers needs at least one layer",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_exit_code_2_and_no_file(case, invoke, pictures):
    (pictures / "text.png").write_text("words")
    (pictures / "empty.png").touch()
    (pictures / "folder.png").mkdir()
    Image.new("RGB", (80, 48), "black").save(pictures / "black.png")
    Image.new("RGB", (80, 48), "red").save(pictures / "red.png")
    Image.new("RGB", (64, 70), "white").save(pictures / "white.png")
    for name, shape in (("noise", (48, 80, 3)), ("noisy", (70, 64, 3))):
        noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        Image.fromarray(noise).save(pictures / f"{name}.png")
    dot = Image.new("L", (80, 48))
    dot.putpixel((40, 24), 255)
    dot.save(pictures / "dot.png")
    before = sorted(pictures.iterdir())
    arguments, message = BAD[case]
    done = invoke("transfer", *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert re.fullmatch(r"error: .*\n", done.output), done.output
    assert sorted(pictures.iterdir()) == before


TOML = {
    "iterations": ("transfer", "levels = 1\niterations = [3, 2]", "2 numbers for 1 level"),
    "nothing": ("transfer", "decoder_rounds = 0\niterations = [0]", "nothing would be painted"),
    "init": ("synthesize", 'init = "content"', "init content has no effect: a synthesis has no"),
    "color": ("synthesize", 'color = "none"', "color has no effect: a synthesis has no content"),
    "mask": ("synthesize", 'mask = "content.png"', "mask has no effect: a synthesis has no"),
    "content": ("synthesize", 'content = "content.png"', "run.toml has a content; use jaxmrf tra"),
    "size": ("transfer", 'size = "64x48"', "size is '64x48', that of a synthesis; a transfer"),
    "preview": ("transfer", "preview_every = -3", "preview_every is -3; it must be a whole number"),
    "truth": ("transfer", "preview_every = true", "preview_every is True; it must be a whole numb"),
    "memory": ("transfer", "memory = true", "memory is True; it must be a number of gigabytes"),
    "empty": ("transfer", 'mask = ""', "mask is empty; leave it out, or give it a value"),
    "network": ("transfer", 'network = "vgg19"', "network can only be given on the command line"),
    "device": ("transfer", 'device = "cpu"', "device can only be given on the command line: --d"),
    "weights": ("transfer", 'weights = "a.h5"', "weights can only be given on the command line"),
}


@pytest.mark.parametrize("case", TOML)
def test_a_file_of_options_that_cannot_be_used_is_one_line(case, invoke, pictures):
    command, text, message = TOML[case]
    (pictures / "run.toml").write_text(text)
    before = sorted(pictures.iterdir())
    arguments = ["content.png", "style.png"] if command == "transfer" else ["style.png"]
    done = invoke(command, *arguments, "--config", "run.toml")
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert re.fullmatch(r"error: .*\n", done.output), done.output
    assert sorted(pictures.iterdir()) == before


def test_memory_may_be_in_a_file(invoke, pictures):
    (pictures / "run.toml").write_text("memory = 0.001")
    done = invoke("transfer", "content.png", "style.png", "--size", "64", "--config", "run.toml")
    assert done.exit_code == 2
    assert "0.001 GB are there" in done.output


def test_an_unknown_command_is_one_line(invoke):
    done = invoke("paint", "content.png")
    assert done.exit_code == 2
    assert re.fullmatch(r"error: no such command 'paint'.*see jaxmrf --help\n", done.output)


def test_bad_sizes_of_synthesis_are_named(invoke):
    for size in ("big", "0x10", "10", "12x"):
        done = invoke("synthesize", "style.png", "--size", size)
        assert done.exit_code == 2
        assert "give width and height" in done.output


def test_coarse_levels_left_out_are_announced(invoke):
    done = invoke(
        "transfer", "content.png", "style.png", "--size", "64", "--levels", "3", "--iterations", "0"
    )
    assert done.exit_code == 0, done.output
    assert "left out 2 coarse level(s)" in done.output


def test_info_names_versions_devices_and_weights(invoke):
    done = invoke("info")
    assert done.exit_code == 0
    for word in (
        "jaxmrf 0.",
        "jax 0.",
        "optax",
        "device cpu:0",
        "weights vgg16",
        "to conv4_2",
        "SHA-256",
    ):
        assert word in done.output


def test_weights_convert_reports_bad_files(invoke, pictures):
    (pictures / "bad.ckpt").write_text("words")
    for name in ("bad.ckpt", "nothing.ckpt"):
        done = invoke("weights", "convert", name, "-o", "out.safetensors")
        assert done.exit_code == 2
        assert name in done.output
    assert not (pictures / "out.safetensors").exists()
