import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from jaxmrf import vgg
from tests.conftest import picture


def onnx_layers(network, params, image):
    """The same network, written down as an ONNX graph in the NCHW of its papers."""
    nodes, tensors, outputs, previous = [], [], [], "input"
    for name in vgg.convolution_names(network.architecture):
        block, index = name.removeprefix("conv").split("_")
        if index == "1" and block != "1":
            pooled = f"pool{block}"
            nodes.append(
                helper.make_node(
                    "MaxPool", [previous], [pooled], kernel_shape=[2, 2], strides=[2, 2]
                )
            )
            previous = pooled
        kernel = np.asarray(params[name]["kernel"]).transpose(3, 2, 0, 1)
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(kernel), f"{name}/kernel"))
        tensors.append(numpy_helper.from_array(np.asarray(params[name]["bias"]), f"{name}/bias"))
        nodes.append(
            helper.make_node(
                "Conv",
                [previous, f"{name}/kernel", f"{name}/bias"],
                [name],
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
            )
        )
        previous = f"relu{block}_{index}"
        nodes.append(helper.make_node("Relu", [name], [previous]))
        outputs.append(
            helper.make_tensor_value_info(previous, TensorProto.FLOAT, [1, None, None, None])
        )
        if name == network.deepest:
            break
    graph = helper.make_graph(
        nodes,
        "vgg",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, None, None, None])],
        outputs,
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    normalized = (np.asarray(image) - np.array(network.mean)) / np.array(network.std)
    values = session.run(None, {"input": normalized.transpose(2, 0, 1)[None].astype(np.float32)})
    names = [output.name for output in session.get_outputs()]
    return {name: value[0].transpose(1, 2, 0) for name, value in zip(names, values, strict=True)}


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (vgg.Network("vgg16", "conv4_2"), (48, 37)),
        (vgg.Network("vgg19", "conv5_1"), (35, 64)),
        (vgg.Network("vgg19", "conv4_2", mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3)), (40, 40)),
    ],
)
def test_activations_equal_those_of_an_independent_engine(network, shape):
    params = network.random_params(jax.random.key(1))
    biases = jax.random.split(jax.random.key(2), len(params))
    for key, layer in zip(biases, params.values(), strict=True):
        layer["bias"] = 0.1 * jax.random.normal(key, layer["bias"].shape)
    image = picture(1, *shape)
    ours = jax.jit(network)(params, image)
    theirs = onnx_layers(network, params, image)
    assert list(ours) == list(theirs) == network.layers
    for name, expected in theirs.items():
        error = np.abs(np.asarray(ours[name]) - expected).max() / np.abs(expected).max()
        assert error < 1e-4, name


def test_pooling_drops_odd_borders_and_its_gradient_is_that_of_the_maximum():
    x = jnp.asarray(np.random.default_rng(0).permutation(5 * 7).reshape(1, 5, 7, 1), jnp.float32)
    naive = np.array(
        [[np.asarray(x)[0, y : y + 2, z : z + 2, 0].max() for z in (0, 2, 4)] for y in (0, 2)]
    )
    np.testing.assert_array_equal(vgg.max_pool(x)[0, ..., 0], naive)
    gradient = jax.grad(lambda x: vgg.max_pool(x).sum())(x)
    np.testing.assert_array_equal(gradient, np.isin(x, naive).astype(np.float32))


def test_layer_names_are_those_of_the_papers():
    assert vgg.Network("vgg19", "conv4_2").layers[-3:] == ["relu3_4", "relu4_1", "relu4_2"]
    assert vgg.Network("vgg16", "conv4_2").layers[-3:] == ["relu3_3", "relu4_1", "relu4_2"]
    assert len(vgg.convolution_names("vgg16")) == 13
    assert len(vgg.convolution_names("vgg19")) == 16
