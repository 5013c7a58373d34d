"""Tensors named ``features.N.weight``: the naming of torchvision, which timm keeps."""

import re
from collections.abc import Mapping

import numpy as np

from jaxmrf.errors import ConversionError
from jaxmrf.networks import architectures
from jaxmrf.networks.formats.common import (
    TORCHVISION_INPUT,
    TORCHVISION_LICENSE,
    Foreign,
    check_shape,
    oihw_to_hwio,
)

_NAME = re.compile(r"features\.(\d+)\.(weight|bias)")


def positions(architecture: str) -> dict[str, int]:
    """Returns N of every convolution: each is followed by a ReLU, blocks by a pooling."""
    numbers, position = {}, 0
    for name in architectures.convolution_names(architecture):
        if name.endswith("_1") and name != "conv1_1":
            position += 1
        numbers[name] = position
        position += 2
    return numbers


def tensor_names(architecture: str) -> list[str]:
    """Returns the names of all kernels and biases."""
    numbers = positions(architecture).values()
    return [f"features.{number}.{kind}" for number in numbers for kind in ("weight", "bias")]


def check(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Returns the architecture whose names and shapes these are, [out, in, h, w].

    Raises:
      ConversionError: if it is none; a network with batch normalization is named.
    """
    numbers = {int(match[1]) for name in shapes if (match := _NAME.fullmatch(name))}
    for architecture in architectures.CONVOLUTIONS:
        if numbers == set(positions(architecture).values()):
            break
    else:
        hint = " (batch normalization is not supported)" if 1 in numbers else ""
        raise ConversionError(f"the features are neither those of VGG-16 nor VGG-19{hint}")
    for name, (height, width, inputs, outputs) in architectures.kernel_shapes(architecture).items():
        prefix = f"features.{positions(architecture)[name]}"
        for kind, expected in (
            ("weight", (outputs, inputs, height, width)),
            ("bias", (outputs,)),
        ):
            if f"{prefix}.{kind}" not in shapes:
                raise ConversionError(f"{prefix}.{kind} is missing")
            check_shape(f"{prefix}.{kind}", shapes[f"{prefix}.{kind}"], expected)
    return architecture


def foreign(tensors: Mapping[str, np.ndarray], source: str) -> Foreign:
    """Returns the convolutions of tensors by name, [out, in, h, w].

    Raises:
      ConversionError: if names or shapes are wrong.
    """
    architecture = check({name: tensor.shape for name, tensor in tensors.items()})
    layers = {
        name: (
            oihw_to_hwio(tensors[f"features.{position}.weight"]),
            tensors[f"features.{position}.bias"],
        )
        for name, position in positions(architecture).items()
    }
    return Foreign(architecture, layers, TORCHVISION_INPUT, source, TORCHVISION_LICENSE)
