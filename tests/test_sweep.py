"""`jaxmrf sweep`: the grid, its pictures and its sheet."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from jaxmrf import cli, sweep
from jaxmrf.config import ConfigError
from tests.serving import write_pictures

SMALL = ["--size", "64", "--levels", "1", "--iterations", "2"]
WEIGHTS = ["--content-weight", "0.1,2"]


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


def pixels(path):
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


@given(st.lists(st.integers(0, 99), min_size=2, max_size=5, unique=True), st.integers(1, 99))
def test_every_combination_is_a_cell_the_last_axis_fastest(seeds, size):
    given = {"seed": ",".join(map(str, seeds)), "size": str(size), "style_scale": "0.5, 1"}
    fixed, grid = sweep.axes(given)
    assert fixed == {"size": str(size)}
    found = [tuple(cell.values()) for cell in sweep.cells(grid)]
    assert found == [(str(seed), scale) for seed in seeds for scale in ("0.5", "1")]


def test_options_that_take_lists_have_their_values_between_semicolons():
    fixed, grid = sweep.axes({"iterations": "60,30;20", "layers": "relu3_1,relu4_1", "seed": "1;2"})
    assert fixed == {"layers": "relu3_1,relu4_1"}
    assert [axis.values for axis in grid] == [("60,30", "20"), ("1", "2")]


def test_the_sheet_has_every_picture_at_its_place(tmp_path):
    outputs = []
    for number in range(6):
        color = (40 * number, 255 - 40 * number, 99)
        Image.new("RGB", (90, 50), color).save(tmp_path / f"{number}.png")
        outputs.append(tmp_path / f"{number}.png")
    outputs[4] = "the energy is not finite"
    grid = [sweep.Axis("seed", ("1", "2", "3")), sweep.Axis("tv_weight", ("0", "1"))]
    paper, layout = sweep.sheet(grid, outputs)
    for number in range(6):
        x, y = layout.corner(number)
        inside = np.asarray(paper.crop((x, y, x + 90, y + 50)))
        if number == 4:
            assert (inside != 255).any()
            assert (inside == 255).mean() > 0.5  # a text on paper
        else:
            assert (inside == (40 * number, 255 - 40 * number, 99)).all()
    names = np.asarray(paper.convert("L"))
    assert names[: layout.top].min() < 100  # of the columns
    assert names[layout.corner(2)[1] :, : layout.left].min() < 100  # of the rows


def test_a_sweep_has_the_pictures_of_a_batch_and_goes_on_from_them(invoke, tmp_path):
    done = invoke(
        "sweep", "content.png", "style.png", *WEIGHTS, "--seed", "0,1", *SMALL, "--init", "noise",
        "--lanes", "2", "--keep", "cells",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = [
        {"content": "content.png", "style": "style.png", "output": f"{weight}-{seed}.png",
         "content_weight": weight, "seed": seed}
        for weight in (0.1, 2) for seed in (0, 1)
    ]  # fmt: skip
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    batch = invoke("batch", "list.jsonl", "--out", "b", *SMALL, "--init", "noise", "--lanes", "2")
    assert batch.exit_code == 0, batch.output
    for number, row in enumerate(rows, 1):
        cell = pixels(f"cells/{number:03}.png")
        np.testing.assert_array_equal(cell, pixels(f"b/{row['output']}"))
    assert (pixels("cells/001.png") != pixels("cells/002.png")).any()
    again = invoke(
        "sweep", "content.png", "style.png", *WEIGHTS, "--seed", "0,1", *SMALL, "--init", "noise",
        "--lanes", "2", "--keep", "cells", "-o", "again.png",
    )  # fmt: skip
    assert "0 painted, 4 skipped" in again.output
    np.testing.assert_array_equal(pixels("sheet.png"), pixels("again.png"))
    with Image.open("sheet.png") as file:
        assert json.loads(file.text["jaxmrf"])["sweep"]["seed"] == ["0", "1"]


def test_a_cell_that_fails_says_so_on_the_sheet(invoke, tmp_path):
    done = invoke("sweep", "content.png", "style.png", "--style-weight", "1,1e38", *SMALL)
    assert done.exit_code == 1
    assert "1 painted, 0 skipped, 1 failed" in done.output
    assert (tmp_path / "sheet.png").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "content.png", "sheet.png", "style.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["content.png", *WEIGHTS], "give a CONTENT and at least one STYLE"),
        (["content.png", "style.png"], "no option has several values"),
        (["content.png", "style.png", "--content-wieght", "1,2"], "did you mean 'content_weight'"),
        (["content.png", "style.png", "--seed", "1,x"], "takes whole numbers"),
        (["content.png", "no.png", *WEIGHTS], "there is no file no.png"),
        (["content.png", "style.png", *WEIGHTS, "-o", "a.gif"], "must end in"),
        (["content.png", "style.png", *WEIGHTS, "-o", "style.png"], "would overwrite"),
        (["content.png", "style.png", *WEIGHTS, "--lanes", "some"], "give auto or a number"),
        (["content.png", "style.png", "--seed", ",".join(map(str, range(101)))], "101 cells"),
    ],
)
def test_bad_requests_are_one_line_and_leave_nothing(invoke, tmp_path, arguments, message):
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    done = invoke("sweep", *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.output.replace("\n", " ")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_unknown_value_is_an_error_of_its_option():
    with pytest.raises(ConfigError, match="no option"):
        sweep.axes({"sede": "1,2"})
