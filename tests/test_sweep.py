"""`jaxmrf sweep`: the grid, its pictures and its sheet."""

import itertools
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from jaxmrf.cli import app
from jaxmrf.errors import ConfigError
from jaxmrf.jobs import options
from jaxmrf.sweep import grid, sheet
from jaxmrf.sweep.grid import Axis
from tests.common import SHALLOW
from tests.serving import write_pictures

ROOT = Path(__file__).resolve().parent.parent
QUICK = options.to_arguments(
    {name: value for name, value in SHALLOW.items() if name not in ("size", "iterations")}
)
SMALL = options.to_arguments(SHALLOW)
WEIGHTS = ["--content-weight", "0.1,2"]
PICTURES = ["content.png", "style.png"]
PAIR = ["sweep", *PICTURES]


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path)
    return lambda *arguments: CliRunner().invoke(app.app, list(arguments))


def pixels(path):
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def saved(path):
    with Image.open(path) as file:
        return json.loads(file.text["jaxmrf"])


@given(st.lists(st.integers(0, 99), min_size=2, max_size=5, unique=True), st.integers(1, 99))
def test_every_combination_is_a_cell_the_last_axis_fastest(seeds, size):
    given = {"seed": ",".join(map(str, seeds)), "size": str(size), "style_scale": "0.5, 1"}
    fixed, axes = grid.axes(given)
    assert fixed == {"size": str(size)}
    found = [tuple(cell.values()) for cell in grid.cells(axes)]
    assert found == [(str(seed), scale) for seed in seeds for scale in ("0.5", "1")]


NUMBERS = st.integers(1, 99).map(str)
LISTS = st.lists(NUMBERS, min_size=1, max_size=3).map(",".join)
FILES = st.text("ab,", min_size=1, max_size=5).map(lambda name: f"{name}.png")


@given(
    st.lists(NUMBERS, min_size=1, max_size=4, unique=True),
    st.lists(LISTS, min_size=1, max_size=4, unique=True),
    st.lists(FILES, min_size=1, max_size=4, unique=True),
)
def test_commas_are_between_values_semicolons_where_values_have_commas(numbers, lists, names):
    for separator in (",", ", ", ";"):
        assert options.alternatives("size", separator.join(numbers)) == numbers
    for name in ("iterations", "style_blend"):
        assert options.alternatives(name, ";".join(lists)) == lists
    for name in ("style", "content", "mask", "style_guide"):
        assert options.alternatives(name, "; ".join(names)) == names


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("iterations", "60,40", ["60,40"]),
        ("style_blend", "3,7;1,1", ["3,7", "1,1"]),
        ("style_loss", "mrf:1,gram:0.2;mrf", ["mrf:1,gram:0.2", "mrf"]),
        ("layers", "relu3_1 relu4_1;relu4_1", ["relu3_1 relu4_1", "relu4_1"]),
        ("init", "noise,content", ["noise", "content"]),
        ("init", "noise;my,start.png", ["noise", "my,start.png"]),
        ("tileable", "true,false", ["true", "false"]),
    ],
)
def test_values_of_options(name, text, values):
    assert options.alternatives(name, text) == values


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "seed": NUMBERS,
            "iterations": LISTS,
            "tileable": st.sampled_from(["true", "false"]),
            "mask": FILES,
            "style_guide": st.lists(FILES, min_size=1, max_size=3),
        },
    ),
    st.lists(FILES, max_size=3),
)
def test_options_go_to_a_command_line_and_back(values, words):
    line = options.to_arguments(values)
    assert options.from_arguments([*words, *line]) == (words, values)
    assert options.from_arguments([*line, *words]) == (words, values)


@given(st.data())
def test_nothing_on_a_sheet_is_over_anything_else(data):
    names = ("content_weight", "seed", "style_loss")
    values = st.lists(st.text("0123456789.:,gm", min_size=1, max_size=40), min_size=2, max_size=3)
    axes = [Axis(name, tuple(data.draw(values))) for name in names[: data.draw(st.integers(1, 3))]]
    sides = st.integers(8, 200)
    cell = (data.draw(sides), data.draw(sides))
    inputs = data.draw(st.lists(st.tuples(sides, st.just(40)), max_size=3))
    places = sheet.layout(axes, cell, inputs)
    boxes = [(*at, at[0] + cell[0], at[1] + cell[1]) for at in places.corners]
    boxes += [
        (*at, at[0] + size[0], at[1] + size[1])
        for at, size in zip(places.inputs, inputs, strict=True)
    ]
    rows, columns = (
        [sheet._extent(name, places.font) for name in found] for found in sheet._names(axes)
    )
    boxes += [
        (x - width, y - height // 2, x, y + height // 2)
        for (x, y), (width, height) in zip(places.rows, rows, strict=True)
        if width
    ]
    boxes += [
        (x - width // 2, y - height, x + width // 2, y)
        for (x, y), (width, height) in zip(places.columns, columns, strict=True)
    ]
    for left, top, right, bottom in boxes:
        assert 0 <= left <= right <= places.size[0]
        assert 0 <= top <= bottom <= places.size[1]
    for one, other in itertools.combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


def test_the_sheet_has_every_picture_and_name_at_its_place(tmp_path):
    outputs = []
    for number in range(6):
        color = (40 * number, 255 - 40 * number, 99)
        Image.new("RGB", (90, 50), color).save(tmp_path / f"{number}.png")
        outputs.append(tmp_path / f"{number}.png")
    outputs[4] = "the energy is not finite; try smaller weights"
    axes = [Axis("seed", ("1", "2", "3")), Axis("tv_weight", ("0", "1"))]
    places = sheet.layout(axes, (90, 50), [(30, 20)])
    paper = sheet.draw(axes, places, outputs, [Image.new("RGB", (30, 20), "blue")])
    assert paper.size == places.size
    for number, (x, y) in enumerate(places.corners):
        inside = np.asarray(paper.crop((x, y, x + 90, y + 50)))
        if number == 4:
            assert (inside != 255).any()
            assert (inside == 255).mean() > 0.5  # a text on paper
        else:
            assert (inside == (40 * number, 255 - 40 * number, 99)).all()
    ink = np.asarray(paper.convert("L")) < 100
    (x, y), [left, *_] = places.inputs[0], places.corners
    assert (np.asarray(paper)[y : y + 20, x : x + 30] == (0, 0, 255)).all()
    for x, y in places.columns:
        assert ink[y - 2 * places.font : y, x - 20 : x + 20].any()
    for x, y in places.rows:
        assert ink[y - places.font : y + places.font, x - 20 : x].any()
    around = ink.copy()
    for x, y in (*places.corners, *places.inputs):
        around[y : y + 50, x : x + 90] = False
    assert around[:, : left[0]].any()


def test_outputs_are_called_by_their_values(invoke):
    fixed, axes = grid.axes({"content": "content.png", "style": ["style.png"], "seed": "1,2"})
    small = [line.name for line in grid.lines(axes, fixed, Path("cells"), {})]
    assert small == ["seed-1.png", "seed-2.png"]
    fixed, axes = grid.axes({**fixed, "style": ["style.png"], "seed": "0,1,2"})
    assert small == [line.name for line in grid.lines(axes, fixed, Path("cells"), {})][1:]
    Path("a").mkdir()
    Path("a/style.png").write_bytes(Path("style.png").read_bytes())
    fixed, axes = grid.axes({**fixed, "style": ["style.png;a/style.png"], "seed": "1"})
    assert len({line.name for line in grid.lines(axes, fixed, Path("cells"), {})}) == 2


def test_a_sweep_has_the_pictures_of_a_batch_and_goes_on_from_them(invoke, tmp_path):
    more = [*SMALL, "--init", "noise", "--lanes", "2"]
    done = invoke(*PAIR, *WEIGHTS, "--seed", "0,1", *more, "--keep", "cells")
    assert done.exit_code == 0, done.output
    rows = [
        {"content": "content.png", "style": "style.png", "output": f"{weight}-{seed}.png",
         "content_weight": weight, "seed": seed}
        for weight in (0.1, 2) for seed in (0, 1)
    ]  # fmt: skip
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    batch = invoke("batch", "list.jsonl", "--out", "b", *more)
    assert batch.exit_code == 0, batch.output
    painted = [pixels(f"b/{row['output']}") for row in rows]
    for row, expected in zip(rows, painted, strict=True):
        name = f"content-weight-{row['content_weight']}_seed-{row['seed']}.png"
        np.testing.assert_array_equal(pixels(f"cells/{name}"), expected)
    assert len({picture.tobytes() for picture in painted}) == 4
    _, axes = grid.axes({"content_weight": "0.1,2", "seed": "0,1"})
    shown = pixels("sheet.png")
    sizes = [(round(w * 15 / h), 15) for w, h in ((80, 48), (64, 70))]
    for (x, y), expected in zip(sheet.layout(axes, (64, 38), sizes).corners, painted, strict=True):
        np.testing.assert_array_equal(shown[y : y + 38, x : x + 64], expected)
    assert saved("sheet.png")["sweep"] == {"content_weight": ["0.1", "2"], "seed": ["0", "1"]}

    again = invoke(*PAIR, *WEIGHTS, "--seed", "0,1", *more, "--keep", "cells", "-o", "again.png")
    assert "0 painted, 4 skipped" in again.output
    np.testing.assert_array_equal(shown, pixels("again.png"))


def test_the_printed_command_paints_the_first_cell(invoke):
    Image.fromarray(pixels("style.png")[::-1]).save("other.png")
    Path("few.toml").write_text("iterations = [2]\ncontent_weight = 0.7\n")
    done = invoke(
        "sweep", "content.png", "other.png;style.png", "--size", "64", *QUICK,
        "--config", "few.toml", "--keep", "cells",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    [command] = re.findall("its first cell: jaxmrf (.*)", done.output)
    quick = shlex.join(QUICK)
    assert command == f"transfer content.png other.png --size 64 {quick} --config few.toml"
    alone = invoke(*shlex.split(command), "-o", "alone.png")
    assert alone.exit_code == 0, alone.output
    assert saved("alone.png")["config"]["content_weight"] == 0.7
    # A device's only lane computes what a single run does.
    np.testing.assert_array_equal(pixels("cells/style-other.png.png"), pixels("alone.png"))
    assert (pixels("cells/style-style.png.png") != pixels("alone.png")).any()


def test_a_cell_that_fails_says_so_on_the_sheet(invoke, tmp_path):
    done = invoke(*PAIR, "--style-weight", "1,1e38", *SMALL)
    assert done.exit_code == 1
    assert "1 painted, 0 skipped, 1 failed" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "content.png", "sheet.png", "style.png",
    ]  # fmt: skip
    red = pixels("sheet.png").astype(int)
    assert ((red[..., 0] > 150) & (red[..., 1:].max(axis=-1) < 30)).any()


def test_ctrl_c_leaves_what_is_finished(invoke, tmp_path):
    run = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *PAIR, "--size", "64", *QUICK,
         "--iterations", "1;100000", "--keep", "cells"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        while not list(tmp_path.glob("cells/*.png")):
            assert run.poll() is None, run.communicate()[0]
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        text, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130, text
    assert "Traceback" not in text
    assert "1 painted, 0 skipped, 0 failed, 1 left" in text
    assert [path.name for path in tmp_path.glob("cells/*.png")] == ["iterations-1.png"]
    assert pixels("sheet.png").size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["content.png", *WEIGHTS], "give a CONTENT and at least one STYLE"),
        (["content.png", "style.png"], "no option has several values"),
        (["content.png", "style.png", "--content-wieght", "1,2"], "did you mean 'content_weight'"),
        (["content.png", "style.png", "--kep", "cells"], "did you mean 'keep'"),
        (["content.png", "style.png", "--style", "a.png"], "pictures are named without --style"),
        (["content.png", "style.png", "--seed", "1,x"], "error: seed is 'x'; it takes whole"),
        (["content.png", "style.png", "--seed", "1,,2"], "a value is missing"),
        (["content.png", "style.png", "--seed", "1,2,1"], "the value '1' twice"),
        (["content.png", "style.png", "--seed"], "needs a value"),
        (["content.png", "style.png", "--trace", "t"], "no option has several values"),
        (["content.png", "style.png", *WEIGHTS, "--trace", "t"], "single runs only"),
        (["content.png", "no.png", *WEIGHTS], "there is no file no.png"),
        (["content.png", "text.png", *WEIGHTS], "text.png is not a"),
        (["content.png", "style.png", *WEIGHTS, "--config", "no.toml"], "cannot read no.toml"),
        (["content.png", "style.png", *WEIGHTS, "-o", "a.gif"], "must end in"),
        (["content.png", "style.png", *WEIGHTS, "-o", "style.png"], "would overwrite"),
        (["content.png", "style.png", "--seed", "1,2", "-o", "nowhere/sheet.png"], "no folder"),
        (["content.png", "style.png", *WEIGHTS, "--lanes", "some"], "give auto or a number"),
        (["content.png", "style.png", "--seed", ",".join(map(str, range(101)))], "101 cells"),
        (["cells/seed-1.png", "style.png", "--seed", "1,2"], "a cell would overwrite cells/seed-1"),
        ([*PICTURES, *WEIGHTS, "--mask", "black.png"], "error: the mask black.png is black every"),
        ([*PICTURES, *WEIGHTS, "--mask", "style.png"], "must have the same proportions"),
        (
            [*PICTURES, *WEIGHTS, "--content-guide", "style.png", "--style-guide", "black.png"],
            "must have the same proportions",
        ),
        (
            [*PICTURES, "--tileable", "true,false", "--size", "100"],
            "error: the cell tileable true: the sides of a tileable picture must be multiples",
        ),
        (
            [*PICTURES, "--style-blend", "1;1,2"],
            "error: the cell style-blend 1,2: style_blend has 2 weights for 1 style(s)",
        ),
        ([*PICTURES, "--style-loss", "mrf;mfr"], "the cell style-loss mfr: there is no style loss"),
        ([*PICTURES, *WEIGHTS, "--style-loss", "mfr"], "error: there is no style loss 'mfr'"),
        ([*PICTURES, *WEIGHTS, "--layers", "relu9_1"], "error: the network has no layer 'relu9_1'"),
        (
            [*PICTURES, "--init", "noise;text.png"],
            "the cell init text.png: text.png is not",
        ),
        ([*PICTURES, "--style-loss", "gram", "--variety", "0,1"], "variety has no effect"),
    ],
)
def test_bad_requests_are_one_line_and_leave_nothing(invoke, tmp_path, arguments, message):
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (80, 48)).save(tmp_path / "black.png")
    (tmp_path / "cells").mkdir()
    Image.new("RGB", (80, 48)).save(tmp_path / "cells" / "seed-1.png")
    before = contents(tmp_path)
    done = invoke("sweep", *arguments, "--keep", "cells")
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert done.output.count("\n") == 1
    assert contents(tmp_path) == before


def test_what_has_an_effect_in_some_cells_may_be_asked_for(invoke):
    done = invoke(*PAIR, "--style-loss", "mrf;gram", "--variety", "0.5", *SMALL)
    assert done.exit_code == 0, done.output
    assert done.output.count("left out relu5_1 of the Gram loss") == 1


def test_a_sheet_that_its_format_cannot_hold_is_refused_beforehand(invoke, tmp_path):
    seeds = ",".join(map(str, range(60)))
    done = invoke(*PAIR, "--size", "512", "--seed", seeds, "-o", "sheet.webp", "--keep", "cells")
    assert done.exit_code == 2, done.output
    assert "WEBP holds at most" in done.output
    assert not (tmp_path / "cells").exists()


def test_a_grid_needs_an_option_with_several_values():
    with pytest.raises(ConfigError, match="no option has several values"):
        grid.axes({"iterations": "60,40", "layers": "relu3_1,relu4_1"})
