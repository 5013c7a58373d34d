import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import engine
from jaxmrf.core.features import Network
from jaxmrf.networks import architectures, vgg
from tests.common import picture, vgg_params


def engine_layers(network, params, image):
    """Activations of an independent engine, for parameters in this package's layout."""
    kernels = {name: np.asarray(p["kernel"]).transpose(3, 2, 0, 1) for name, p in params.items()}
    biases = {name: np.asarray(p["bias"]) for name, p in params.items()}
    normalized = (np.asarray(image) - np.array(network.mean)) / np.array(network.std)
    return engine.run(kernels, biases, normalized.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (vgg.VGGFeatures("vgg16", "conv4_2"), (48, 37)),
        (vgg.VGGFeatures("vgg19", "conv5_1"), (35, 64)),
        (vgg.VGGFeatures("vgg19", "conv2_1", mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3)), (40, 40)),
    ],
)
def test_activations_equal_those_of_an_independent_engine(network, shape):
    params, generator = vgg_params(network), np.random.default_rng(2)
    for layer in params.values():
        layer["bias"] = np.float32(0.1 * generator.standard_normal(layer["bias"].shape))
    image = picture(1, *shape)
    ours = jax.jit(network)(params, image)
    theirs = engine_layers(network, params, image)
    assert list(ours) == list(theirs) == network.layers
    for name, expected in theirs.items():
        error = np.abs(np.asarray(ours[name]) - expected).max() / np.abs(expected).max()
        assert error < 1e-4, name


def test_pooling_drops_odd_borders_and_its_gradient_is_that_of_the_maximum():
    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradient_and_pooled(x):
        pooled = vgg.max_pool(x)
        return pooled.sum(), pooled

    x = np.float32(np.random.default_rng(0).permutation(5 * 7).reshape(1, 5, 7, 1))
    naive = np.array([[x[0, y : y + 2, z : z + 2, 0].max() for z in (0, 2, 4)] for y in (0, 2)])
    gradient, pooled = gradient_and_pooled(x)
    np.testing.assert_array_equal(pooled[0, ..., 0], naive)
    np.testing.assert_array_equal(gradient, np.isin(x, naive).astype(np.float32))
    flat = np.zeros_like(x)
    flat[:, :4, :6] = 0.25
    np.testing.assert_array_equal(gradient_and_pooled(np.ones_like(x))[0], flat)


def test_layer_names_are_those_of_the_papers():
    assert vgg.VGGFeatures("vgg19", "conv4_2").layers[-3:] == ["relu3_4", "relu4_1", "relu4_2"]
    assert vgg.VGGFeatures("vgg16", "conv4_2").layers[-3:] == ["relu3_3", "relu4_1", "relu4_2"]
    assert len(architectures.convolution_names("vgg16")) == 13
    assert len(architectures.convolution_names("vgg19")) == 16


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (vgg.VGGFeatures("vgg16"), (48, 37)),
        (vgg.VGGFeatures("vgg19", "conv5_4", pooling="average"), (35, 70)),
        (vgg.VGGFeatures("vgg19", "conv3_1", in_strips=True), (17, 33)),
        (vgg.VGGFeatures("vgg16", "conv1_2"), (3, 1)),
    ],
)
def test_shapes_of_layers_are_those_of_the_activations(network, shape):
    params = jax.eval_shape(network.random_params, jax.random.key(0))
    layers = jax.eval_shape(network, params, jax.ShapeDtypeStruct((*shape, 3), "float32"))
    assert Network(network, params).shapes(shape) == layers


@pytest.mark.parametrize("shape", [(26, 19), (19, 26), (8, 10)])
def test_strips_of_the_first_block_change_neither_values_nor_gradient(shape, monkeypatch):
    monkeypatch.setattr(vgg, "STRIP_ROWS", 8)
    whole = vgg.VGGFeatures("vgg16", "conv2_2")
    strips = dataclasses.replace(whole, in_strips=True)
    params = vgg_params(whole)
    # What lies beyond the border is not zero by itself.
    params["conv1_1"]["bias"] = np.full(64, 0.3, np.float32)
    image = picture(1, *shape)

    @functools.partial(jax.jit, static_argnums=1)
    @functools.partial(jax.grad, has_aux=True)
    def gradient_and_layers(x, network):
        layers = network(params, x)
        return jnp.sum(jnp.sin(layers["relu2_2"])), layers

    expected, layers = gradient_and_layers(image, whole)
    gradient, layers_of_strips = gradient_and_layers(image, strips)
    assert list(layers_of_strips) == ["relu2_1", "relu2_2"]
    np.testing.assert_allclose(layers_of_strips["relu2_2"], layers["relu2_2"], atol=1e-5)
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())
