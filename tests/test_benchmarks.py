"""The benchmark is honest: the baseline, the judge and the package compute one energy."""

import jax
import numpy as np
import pytest

from benchmarks import lanes, picture_measures
from benchmarks import picture as picture_sheet
from benchmarks.evaluator import Evaluator
from jaxmrf.core import energy
from jaxmrf.core.config import Config
from jaxmrf.core.settings import TermWeights, program_of
from jaxmrf.networks import weights
from tests.conftest import picture

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
    found = lanes.throughput(content, style, [1, 2], [2])
    assert set(found) == {f"2 devices × {count} lanes, iterations/s" for count in (1, 2)}
    assert min(found.values()) > 0


def test_measures_of_the_picture_say_what_they_are_called():
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
