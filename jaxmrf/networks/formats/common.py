"""Results and checks of all readers."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from jaxmrf.errors import ConversionError
from jaxmrf.networks import architectures

MAX_FILE_BYTES = 2 * 2**30
"""No published VGG file is larger: VGG-19 with its classifier has 575 MB."""


@dataclasses.dataclass(frozen=True)
class Input:
    """What a network expects as input.

    Attributes:
      mean: color that is subtracted, RGB, in pixel values 0 to 1.
      std: what the difference is divided by, RGB, in pixel values 0 to 1.
      bgr: whether its first convolution takes blue first.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool


_OXFORD_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)
_OXFORD_STD = (1 / 255, 1 / 255, 1 / 255)

TORCHVISION_INPUT = Input(architectures.IMAGENET_MEAN, architectures.IMAGENET_STD, bgr=False)
"""torchvision's documentation of its ImageNet models."""

CAFFE_INPUT = Input(_OXFORD_MEAN, _OXFORD_STD, bgr=True)
"""Model card of VGG_ILSVRC_19_layers.caffemodel: BGR minus (103.939, 116.779, 123.68)."""

MATCONVNET_INPUT = Input(_OXFORD_MEAN, _OXFORD_STD, bgr=False)
"""MatConvNet's conversion of the same weights takes RGB."""


@dataclasses.dataclass(frozen=True)
class Foreign:
    """The convolutions of a foreign file.

    Attributes:
      architecture: ``vgg16`` or ``vgg19``.
      layers: kernel [3, 3, in, out] and bias [out] by name, shallowest first.
      input: what the network expects.
      source: the format, for the metadata of the converted file.
      license: of the weights.
      sha256: digest of what was read, if that is not the whole file.
    """

    architecture: str
    layers: dict[str, tuple[np.ndarray, np.ndarray]]
    input: Input
    source: str
    license: str
    sha256: str | None = None


OXFORD_LICENSE = "CC BY 4.0 (Visual Geometry Group, University of Oxford)"
TORCHVISION_LICENSE = "BSD-3-Clause (torchvision)"


def architecture_of(names: Iterable[str]) -> str:
    """Returns the architecture whose convolutions are exactly `names`.

    Raises:
      ConversionError: if there is none.
    """
    convolutions = set(names)
    for architecture in architectures.CONVOLUTIONS:
        if convolutions == set(architectures.convolution_names(architecture)):
            return architecture
    raise ConversionError(
        f"the file has {len(convolutions)} convolutions that are neither VGG-16's 13 nor "
        "VGG-19's 16"
    )


def check_shape(name: str, shape: Sequence[int], expected: Sequence[int]) -> None:
    """Checks a declared shape before anything of that size is read.

    Raises:
      ConversionError: if it is not the expected one.
    """
    if tuple(shape) != tuple(expected):
        raise ConversionError(f"{name} has shape {tuple(shape)}, expected {tuple(expected)}")


def floats(name: str, data: bytes, dtype: str, shape: Sequence[int]) -> np.ndarray:
    """Returns raw data as an array, float32.

    Raises:
      ConversionError: if there are not as many values as `shape` says.
    """
    if len(data) != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ConversionError(f"{name} has {len(data)} bytes, which do not fill {tuple(shape)}")
    return np.frombuffer(data, dtype).reshape(shape).astype(np.float32)


def oihw_to_hwio(kernel: np.ndarray) -> np.ndarray:
    """Returns a kernel [out, in, h, w] of torch and Caffe as [h, w, in, out]."""
    return kernel.transpose(2, 3, 1, 0)
