"""The benchmark is honest: the baseline, the judge and the package compute one energy."""

import jax
import numpy as np
import pytest

from benchmarks import lanes
from benchmarks.evaluator import Evaluator
from jaxmrf import energy, weights
from jaxmrf.config import Config
from jaxmrf.energy import Weights
from tests.conftest import picture

WEIGHTS = Weights(0.25, {"mrf": 1.0}, 0.3)
CONFIG = Config(matching="exact", style_stride=2, style_border=0, overlap="mean")


@pytest.fixture(scope="module")
def network():
    return weights.load_file(weights.shipped_file("vgg16.safetensors"))


@pytest.fixture(scope="module")
def pictures():
    return picture(1, 56, 48), picture(2, 64, 52), picture(3, 56, 48)


@pytest.fixture(scope="module")
def ours(network, pictures):
    content, style, image = pictures
    arguments = {"features": network.network, "config": CONFIG}

    @jax.jit
    def value_and_gradient(image, params):
        targets = energy.prepare(
            params, content, [style], WEIGHTS, shape=content.shape[:2], **arguments
        )
        return jax.value_and_grad(lambda x: energy.energy(x, params, targets, **arguments)[0])(
            image
        )

    return value_and_gradient(image, network.params)


def test_the_judge_finds_our_energy(network, pictures, ours):
    content, style, image = map(np.asarray, pictures)
    judge = Evaluator(network.network, network.params, content, [style], WEIGHTS, CONFIG)
    np.testing.assert_allclose(judge(image), ours[0], rtol=1e-4)


@pytest.mark.framework
def test_the_baseline_has_our_energy_and_gradient(network, pictures, ours):
    pytest.importorskip("torch")
    from benchmarks import torch_baseline

    content, style, image = map(np.asarray, pictures)
    torch_network = torch_baseline.Network(network.network, network.params)
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
