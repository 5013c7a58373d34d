"""The benchmark is honest: the baseline, the judge and the package compute one energy."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest

from benchmarks import __main__ as benchmarks_main
from benchmarks import accelerator, batch, kernels, lanes, picture_measures
from benchmarks import picture as picture_sheet
from benchmarks.evaluator import Evaluator
from jaxmrf.batch import manifest
from jaxmrf.batch.ledger import Ledger
from jaxmrf.core import energy
from jaxmrf.core.config import Config
from jaxmrf.core.settings import TermWeights, program_of
from jaxmrf.jobs import options
from jaxmrf.networks import weights
from tests.common import picture

WEIGHTS = TermWeights(0.25, {"mrf": 1.0}, 0.3)
CONFIG = Config(matching="exact", style_stride=2, style_border=0, overlap="mean")


@pytest.fixture(scope="module")
def network():
    return weights.load_file(weights.shipped_file("vgg16.safetensors")).network


@pytest.fixture(scope="module")
def pictures():
    return picture(1, 56, 48), picture(2, 64, 52), picture(3, 56, 48)


@pytest.fixture(scope="module")
def ours(network, pictures):
    content, style, image = pictures
    program = program_of(CONFIG)

    @jax.jit
    def value_and_gradient(image, network):
        targets = energy.prepare(
            network, content, [style], WEIGHTS, shape=content.shape[:2], program=program
        )
        return jax.value_and_grad(lambda x: energy.total(network, x, targets, program=program)[0])(
            image
        )

    return value_and_gradient(image, network)


def test_the_judge_finds_our_energy(network, pictures, ours):
    content, style, image = map(np.asarray, pictures)
    judge = Evaluator(network, content, [style], WEIGHTS, CONFIG)
    np.testing.assert_allclose(judge(image), ours[0], rtol=1e-4)


@pytest.mark.framework
def test_the_baseline_has_our_energy_and_gradient(network, pictures, ours):
    pytest.importorskip("torch")
    from benchmarks import torch_baseline

    content, style, image = map(np.asarray, pictures)
    torch_network = torch_baseline.Network(network)
    baseline = torch_baseline.Energy(torch_network, content, [style], WEIGHTS, CONFIG)
    x = torch_baseline.to_torch(image).requires_grad_()
    value = baseline(x)
    value.backward()
    np.testing.assert_allclose(value.item(), ours[0], rtol=1e-4)
    gradient = x.grad[0].numpy().transpose(1, 2, 0)
    error = np.linalg.norm(gradient - ours[1]) / np.linalg.norm(ours[1])
    assert error < 1e-3


def test_lanes_are_counted_over_devices(pictures):
    content, style, _ = pictures
    found = lanes.throughput(content, style, [1], [2])
    assert list(found) == ["2 devices × 1 lanes, iterations/s"]
    assert min(found.values()) > 0


@pytest.fixture(scope="module")
def bench():
    files = (
        benchmarks_main.IMAGES / name
        for name in ("nasa-astronaut-1993.jpg", "vangogh-pere-tanguy-1887.jpg")
    )
    return accelerator.default_bench(*files)


@pytest.mark.slow
def test_an_accelerator_is_measured_part_by_part(bench):
    reported = {}
    extent = dataclasses.replace(
        accelerator.SMALL, product=64, copy=2**16, chunks=(2,), shapes=((40, 40),)
    )
    parts = ("device", "40×40")
    assert accelerator.measure(bench, extent, seconds=600, only=parts, report=reported.__setitem__)
    names = (
        *("picture against the CPU", "matches by precision", "lanes: 2"),
        *("chunks of 2", "profile of an iteration"),
    )
    assert list(reported) == ["device", "40×40", *(f"{name}, 40×40" for name in names)]
    shares = [
        share
        for name, share in reported["matches by precision, 40×40"].items()
        if "share of float32's matches" in name
    ]
    assert shares == [1.0] * 6
    of_picture = reported["picture against the CPU, 40×40"]
    assert of_picture["largest difference of a pixel, of 1"] == 0  # it is the CPU
    equal = [value for name, value in of_picture.items() if "equal matches" in name]
    assert equal == [1.0] * 4
    numbers = itertools.chain(
        reported["40×40"].values(), *(reported[f"{name}, 40×40"].values() for name in names[1:])
    )
    assert all(number is None or number > 0 for number in numbers)
    json.dumps(reported, allow_nan=False)


def test_parts_that_fail_or_come_too_late_are_named_and_the_others_measured(
    bench, monkeypatch, capsys
):
    def fails(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(accelerator, "_size", fails)
    monkeypatch.setattr(accelerator, "_chunk", lambda *_: {"iteration": 1.0})
    reported = {}
    options = {"only": ["64×64"], "report": reported.__setitem__}
    extent = dataclasses.replace(accelerator.SMALL, lanes=())
    assert accelerator.measure(bench, extent, seconds=0, **options)
    assert all("skipped" in rows for rows in reported.values())
    options["only"] = ["chunks"]
    assert accelerator.measure(bench, extent, seconds=600, **options)
    extent = dataclasses.replace(extent, shapes=((8, 8),))
    options["only"] = ["8×8", "chunks"]
    monkeypatch.setattr(accelerator, "_against_cpu", fails)
    monkeypatch.setattr(accelerator, "_profile", fails)
    assert not accelerator.measure(bench, extent, seconds=600, **options)
    assert reported["8×8"]["error"] == "RuntimeError: out of memory"
    assert reported["chunks of 1, 8×8"]["iteration"] == 1.0
    assert "out of memory" in capsys.readouterr().err


def test_results_of_an_accelerator_are_written_as_they_come(tmp_path, monkeypatch):
    file = tmp_path / "results.json"

    def measure(*_, report, **__):
        report("device", {"kind": "none"})
        assert json.loads(file.read_text())["accelerator"] == {"device": {"kind": "none"}}
        return False

    monkeypatch.setattr(accelerator, "measure", measure)
    monkeypatch.setattr(accelerator, "set_up", lambda _: None)
    monkeypatch.setattr("sys.argv", ["benchmarks", "accelerator", "--json", str(file)])
    monkeypatch.setattr(benchmarks_main.device, "keep_freed_memory", lambda: None)
    with pytest.raises(SystemExit) as ended:
        benchmarks_main.main()
    assert ended.value.code == 1


def test_kernels_of_a_call_are_told_by_their_share():
    @jax.jit
    def product_and_sine(x):
        return jax.numpy.sin(x @ x)

    x = jax.numpy.ones((256, 256))
    product_and_sine(x).block_until_ready()
    rows = kernels.largest(lambda: product_and_sine(x), count=2)
    total, count, *spent = rows.values()
    assert 0 < sum(spent) <= total * (1 + 1e-6)  # each is rounded
    assert len(spent) <= 2 <= count


def test_a_kernel_within_another_is_counted_once():
    @dataclasses.dataclass
    class Event:
        name: str
        start_ns: float
        duration_ns: float
        stats: tuple = ()

        @property
        def end_ns(self):
            return self.start_ns + self.duration_ns

    inner, other = Event("product", 2, 3), Event("product", 6, 1)
    outer, last = Event("loop", 0, 10), Event("sum", 10, 5)
    alone = kernels._alone([last, inner, outer, other])
    spent = sorted((event.name, time) for event, time in alone)
    assert spent == [("loop", 6), ("product", 1), ("product", 3), ("sum", 5)]


def test_measures_of_the_picture_say_what_they_are_called(monkeypatch):
    monkeypatch.setattr(picture_measures, "PATCHES", 4000)
    smooth = np.asarray(jax.image.resize(picture(4, 12, 10), (96, 80, 3), "cubic")).clip(0, 1)
    other = np.asarray(jax.image.resize(picture(5, 10, 12), (80, 96, 3), "cubic")).clip(0, 1)
    same = picture_measures.measure(smooth, smooth, smooth)
    np.testing.assert_allclose([same["contrast"], same["grain"]], [1.0, 0.0], atol=1e-6)
    assert same["structure"] > 0.95
    assert picture_measures.measure(smooth, other, other)["style"] < 0.05
    pale = picture_measures.measure(smooth, smooth, 0.25 + 0.5 * smooth)
    assert pale["contrast"] < 0.8
    noise = np.random.default_rng(0).normal(scale=0.05, size=smooth.shape)
    assert picture_measures.measure(smooth, smooth, (smooth + noise).clip(0, 1))["grain"] > 1
    assert picture_measures.measure(smooth, smooth, smooth[::-1])["structure"] < 0.5


def test_pairs_are_read_from_a_list_beside_the_pictures(tmp_path):
    (tmp_path / "pairs.txt").write_text("# photograph, painting\n'a b.png' c.png\n\n")
    expected = [(tmp_path / "a b.png", tmp_path / "c.png")]
    assert picture_sheet.read_pairs(tmp_path) == expected
    for pair in picture_sheet.read_pairs(picture_sheet.DEFAULT_PAIRS):
        assert all(path.is_file() for path in pair)
    settings = picture_sheet.read_settings(["mine=--size 64 --color keep", "plain="])
    assert settings == {"mine": ["--size", "64", "--color", "keep"], "plain": []}


def test_lines_that_are_written_as_finished_are_finished(tmp_path):
    batch._make(tmp_path, 6)
    words = batch.LITTLE.split()
    batch._finish(tmp_path / "list.jsonl", tmp_path / "out", words)
    loaded = weights.load("vgg16")
    options_of_all = options.from_arguments(words)[1]
    lines = manifest.read(tmp_path / "list.jsonl", tmp_path / "out", options_of_all, loaded)
    ledger = Ledger(tmp_path / "out", loaded, 1)
    assert len(lines) == 6
    assert all(ledger.record(line) for line in lines)
