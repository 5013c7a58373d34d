"""An independent engine for VGG networks: onnxruntime on a graph built here."""

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def run(
    kernels: Mapping[str, np.ndarray], biases: Mapping[str, np.ndarray], picture: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the rectified activations [h, w, C] by layer name.

    Args:
      kernels: [out, in, h, w] by name conv1_1, conv1_2, ..., shallowest first.
      biases: [out] by the same names.
      picture: normalized input, [3, H, W].
    """
    return evaluate(session(kernels, biases), picture)


def evaluate(engine: onnxruntime.InferenceSession, picture: np.ndarray) -> dict[str, np.ndarray]:
    """Returns what `run` does, from a session that is there."""
    values = engine.run(None, {"input": picture[None].astype(np.float32)})
    names = [output.name for output in engine.get_outputs()]
    return {name: value[0].transpose(1, 2, 0) for name, value in zip(names, values, strict=True)}


def session(
    kernels: Mapping[str, np.ndarray], biases: Mapping[str, np.ndarray]
) -> onnxruntime.InferenceSession:
    """Returns the network as an onnxruntime session; the arguments are those of `run`."""
    nodes, tensors, outputs, previous = [], [], [], "input"
    for name, kernel in kernels.items():
        block, index = name.removeprefix("conv").split("_")
        if index == "1" and block != "1":
            pooled = f"pool{block}"
            nodes.append(
                helper.make_node(
                    "MaxPool", [previous], [pooled], kernel_shape=[2, 2], strides=[2, 2]
                )
            )
            previous = pooled
        for kind, array in (("kernel", kernel), ("bias", biases[name])):
            contiguous = np.ascontiguousarray(array, np.float32)
            tensors.append(numpy_helper.from_array(contiguous, f"{name}/{kind}"))
        inputs = [previous, f"{name}/kernel", f"{name}/bias"]
        nodes.append(
            helper.make_node("Conv", inputs, [name], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        )
        previous = f"relu{block}_{index}"
        nodes.append(helper.make_node("Relu", [name], [previous]))
        outputs.append(_value(previous))
    graph = helper.make_graph(nodes, "vgg", [_value("input")], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def _value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, None, None])
