"""The notebook of the first hour is sound, and its cells run."""

import ast
import sys
from pathlib import Path

import jax
import nbformat
import numpy as np
import pytest
from PIL import Image

import jaxmrf
from jaxmrf.core.features import Network
from jaxmrf.networks import weights
from jaxmrf.networks.weights import Loaded
from tests.common import NamedAsVGG, toy_params

DOCS = Path(__file__).resolve().parent.parent / "docs"
NOTEBOOK = DOCS / "examples" / "first_hour.ipynb"


@pytest.fixture
def shown(monkeypatch, own_parts):
    """Returns what runs the notebook as Jupyter does, in one namespace; gives what cells show."""
    monkeypatch.chdir(NOTEBOOK.parent)
    monkeypatch.syspath_prepend(NOTEBOOK.parent)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def run(size):
        names, results = {"__name__": "__main__"}, []
        cells = nbformat.read(NOTEBOOK, as_version=4).cells
        for cell in (cell.source for cell in cells if cell.cell_type == "code"):
            if cell.startswith("SIZE = "):
                cell = f"SIZE = {size}"
            *statements, last = ast.parse(cell).body
            shows = isinstance(last, ast.Expr)
            before = ast.Module(statements if shows else [*statements, last], [])
            exec(compile(before, NOTEBOOK.name, "exec"), names)
            if shows:
                code = compile(ast.Expression(last.value), NOTEBOOK.name, "eval")
                results.append(eval(code, names))
        return names, [result for result in results if result is not None]

    return run


def test_the_notebook_is_sound_and_saved_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert code[0].source.startswith("SIZE = ")


def check(names, results, size):
    first, *pictures = results
    assert isinstance(first, jaxmrf.Result)
    assert first._repr_png_().startswith(b"\x89PNG")
    assert all(isinstance(picture, Image.Image) for picture in pictures)
    height, width = first.image.shape[:2]
    assert (width, height) == (size, round(size * 300 / 451))
    assert [picture.size for picture in pictures] == [
        (4 * width, height), (3 * width, height), (2 * width, height), (2 * size, size // 2),
    ]  # fmt: skip
    variants = np.split(np.asarray(pictures[0], float), 4, axis=1)
    assert all(np.abs(variants[0] - other).mean() > 1 for other in variants[1:])
    assert "sliced" in names["own"].progress.terms
    distances = names["distances"]
    assert distances[-1] < distances[0]


def test_its_cells_run_with_a_network_in_miniature(shown, monkeypatch):
    """Which compiles in seconds; the other test has that of the notebook's readers."""
    network = Network(NamedAsVGG(), toy_params())
    monkeypatch.setattr(weights, "load", lambda *_: Loaded(network))
    check(*shown(48), 48)


@pytest.mark.slow
def test_its_cells_run_with_the_network_of_its_readers(shown):
    check(*shown(96), 96)
    jax.clear_caches()
