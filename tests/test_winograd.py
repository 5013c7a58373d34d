import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmrf.networks import vgg, winograd
from tests.common import vgg_params


def naive(x, kernel):
    """Correlates by NumPy, in float64."""
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.einsum("nhwiyx,yxio->nhwo", windows, np.asarray(kernel, np.float64))


def arrays(*shapes):
    generator = np.random.default_rng(0)
    return [jnp.asarray(generator.standard_normal(shape), jnp.float32) for shape in shapes]


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 9, 6), (1, 1, 7), (1, 13, 16)])
def test_it_is_a_convolution(shape):
    x, kernel = arrays((*shape, 3), (3, 3, 3, 5))
    expected = naive(x, kernel)
    found = jax.jit(winograd.convolve)(x, kernel)
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_its_gradients_are_those_of_a_convolution():
    x, kernel = arrays((1, 9, 10, 4), (3, 3, 4, 6))

    def value(convolve):
        return jax.jit(jax.grad(lambda x, kernel: jnp.sum(jnp.sin(convolve(x, kernel))), (0, 1)))

    found, expected = (value(f)(x, kernel) for f in (winograd.convolve, winograd.direct))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def test_only_cpus_use_it():
    x, kernel = arrays((1, 12, 12, 4), (3, 3, 4, 4))
    modules = [
        jax.export.export(jax.jit(winograd.convolve), platforms=[platform])(x, kernel).mlir_module()
        for platform in ("cpu", "cuda")
    ]
    assert ["dot_general" in module for module in modules] == [True, False]
    assert ["stablehlo.convolution" in module for module in modules] == [False, True]


def test_deep_layers_of_large_pictures_go_by_it(monkeypatch):
    """The network is the same with and without."""
    network = vgg.VGGFeatures("vgg16", "conv3_2")
    params = vgg_params(network)
    image = jnp.asarray(np.random.default_rng(1).random((40, 44, 3), np.float32))
    direct = np.asarray(network(params, image)["relu3_2"])
    monkeypatch.setattr(vgg, "WINOGRAD_POSITIONS", {256: 100})
    vgg._activations.clear_cache()  # a network is traced once for each size
    found = np.asarray(network(params, image)["relu3_2"])
    assert np.abs(found - direct).max() > 0
    np.testing.assert_allclose(found, direct, atol=1e-4 * np.abs(direct).max())
