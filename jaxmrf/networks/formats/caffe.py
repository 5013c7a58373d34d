"""Caffe's ``.caffemodel``: the Oxford weights as published, and their normalized version.

Only the fields of caffe.proto that hold convolutions are declared here, under their
numbers there; protobuf skips all others.
"""

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from jaxmrf.errors import ConversionError
from jaxmrf.networks import architectures
from jaxmrf.networks.formats.common import (
    CAFFE_INPUT,
    MAX_FILE_BYTES,
    OXFORD_LICENSE,
    Foreign,
    architecture_of,
    check_shape,
    oihw_to_hwio,
)

_INT64, _FLOAT, _STRING, _MESSAGE, _INT32, _ENUM = 3, 2, 9, 11, 5, 14  # protobuf's types

# (message, field, number, type, repeated, packed, type of the message), from caffe.proto:
# https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto
_FIELDS = [
    ("BlobShape", "dim", 1, _INT64, True, True, None),
    ("BlobProto", "num", 1, _INT32, False, False, None),
    ("BlobProto", "channels", 2, _INT32, False, False, None),
    ("BlobProto", "height", 3, _INT32, False, False, None),
    ("BlobProto", "width", 4, _INT32, False, False, None),
    ("BlobProto", "data", 5, _FLOAT, True, True, None),
    ("BlobProto", "shape", 7, _MESSAGE, False, False, "BlobShape"),
    ("LayerParameter", "name", 1, _STRING, False, False, None),
    ("LayerParameter", "blobs", 7, _MESSAGE, True, False, "BlobProto"),
    ("V1LayerParameter", "name", 4, _STRING, False, False, None),
    ("V1LayerParameter", "blobs", 6, _MESSAGE, True, False, "BlobProto"),
    ("NetParameter", "name", 1, _STRING, False, False, None),
    ("NetParameter", "layers", 2, _MESSAGE, True, False, "V1LayerParameter"),
    ("NetParameter", "layer", 100, _MESSAGE, True, False, "LayerParameter"),
]
_CONVOLUTION = re.compile(r"conv\d_\d")


def recognizes(path: Path) -> bool:
    """Whether the file begins as a NetParameter does: with a name, or with a layer."""
    with path.open("rb") as file:
        head = file.read(64 * 1024)
    return bool(head) and head[0] in (0x0A, 0x12) and b"conv1_1" in head


def read(path: Path) -> Foreign:
    """Reads ``VGG_ILSVRC_19_layers.caffemodel``, VGG-16's, or ``vgg_normalised.caffemodel``.

    Kernels are OIHW; input BGR 0 to 255 minus the mean.

    Raises:
      ConversionError: if the file is not that.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ConversionError("the file is larger than any VGG weights")
    network = net_parameter_class()()
    try:
        network.ParseFromString(path.read_bytes())
    except message.DecodeError as error:
        raise ConversionError(f"the Caffe model is damaged: {error}") from None
    blobs = {
        layer.name: layer.blobs
        for layer in (*network.layers, *network.layer)
        if _CONVOLUTION.fullmatch(layer.name) and len(layer.blobs)
    }
    architecture = architecture_of(blobs)
    layers = {}
    for name, (height, width, inputs, outputs) in architectures.kernel_shapes(architecture).items():
        if len(blobs[name]) != 2:
            raise ConversionError(f"{name} has {len(blobs[name])} blobs, expected 2")
        kernel, bias = blobs[name]
        layers[name] = (
            oihw_to_hwio(_array(f"{name} kernel", kernel, (outputs, inputs, height, width))),
            _array(f"{name} bias", bias, (outputs,)),
        )
    return Foreign(
        architecture, layers, CAFFE_INPUT, "Caffe model, original Oxford weights", OXFORD_LICENSE
    )


def _array(name: str, blob: Any, expected: tuple[int, ...]) -> np.ndarray:
    shape = tuple(blob.shape.dim) or (blob.num, blob.channels, blob.height, blob.width)
    # Old blobs have four sizes always, so a bias is 1 × 1 × 1 × n.
    while len(shape) > len(expected) and shape[0] == 1:
        shape = shape[1:]
    check_shape(name, shape, expected)
    values = np.array(blob.data, np.float32)
    if values.size != np.prod(expected):
        raise ConversionError(f"{name} has {values.size} values, which do not fill {expected}")
    return values.reshape(expected)


@functools.cache
def net_parameter_class() -> Any:
    """Returns the protobuf class of a network with the fields named above."""
    file = descriptor_pb2.FileDescriptorProto(
        name="jaxmrf/caffe.proto", package="caffe", syntax="proto2"
    )
    messages = {}
    for name, field, number, kind, repeated, packed, type_name in _FIELDS:
        if name not in messages:
            messages[name] = file.message_type.add(name=name)
        added = messages[name].field.add(
            name=field, number=number, type=kind, label=3 if repeated else 1
        )
        if packed:
            added.options.packed = True
        if type_name:
            added.type_name = f".caffe.{type_name}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))
