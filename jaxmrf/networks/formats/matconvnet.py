"""MatConvNet's ``imagenet-vgg-verydeep-19.mat``: the Oxford weights in a MATLAB file."""

import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from jaxmrf.errors import ConversionError
from jaxmrf.networks import architectures
from jaxmrf.networks.formats.common import (
    MATCONVNET_INPUT,
    MAX_FILE_BYTES,
    OXFORD_LICENSE,
    Foreign,
    architecture_of,
    check_shape,
)

_MAGIC = b"MATLAB 5.0 MAT-file"
_COMPRESSED = 15  # miCOMPRESSED, "MAT-File Format", table 1-1
_CONVOLUTION = re.compile(r"conv\d_\d")


def recognizes(path: Path) -> bool:
    """Whether the file is a MATLAB file of version 5."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read(path: Path) -> Foreign:
    """Reads the convolutions of ``layers``; filters are [w, h, in, out], input RGB.

    Filters keep MATLAB's axes, in which the picture is transposed: their first two are
    swapped.

    Raises:
      ConversionError: if the file is not that.
    """
    _check_size(path)
    try:
        content = scipy.io.loadmat(path, variable_names=["layers"], struct_as_record=False)
        cells = content["layers"].ravel()
        convolutions = dict(filter(None, (_convolution(cell) for cell in cells)))
    except (ConversionError, MemoryError):
        raise
    except Exception as error:
        raise ConversionError(f"not a MatConvNet model: {error!r}") from None
    architecture = architecture_of(convolutions)
    layers = {}
    for name, shape in architectures.kernel_shapes(architecture).items():
        kernel, bias = convolutions[name]
        check_shape(f"{name} kernel", kernel.shape, shape)
        check_shape(f"{name} bias", (bias.size,), shape[-1:])
        layers[name] = (
            kernel.transpose(1, 0, 2, 3).astype(np.float32),
            bias.ravel().astype(np.float32),
        )
    return Foreign(
        architecture,
        layers,
        MATCONVNET_INPUT,
        "MatConvNet file, original Oxford weights",
        OXFORD_LICENSE,
    )


def _convolution(cell: Any) -> tuple[str, tuple[np.ndarray, np.ndarray]] | None:
    """Returns name, filters and biases of a layer, None if it is not a convolution."""
    layer = cell.ravel()[0] if isinstance(cell, np.ndarray) else cell
    name = str(np.asarray(layer.name).ravel()[0])
    if not _CONVOLUTION.fullmatch(name):
        return None
    if hasattr(layer, "weights"):
        kernel, bias = np.asarray(layer.weights, object).ravel()
    else:  # the first versions of the file
        kernel, bias = layer.filters, layer.biases
    return name, (np.asarray(kernel), np.asarray(bias))


def _check_size(path: Path) -> None:
    """Unpacks compressed variables piece by piece to see that they are not bombs."""
    total = 0
    with path.open("rb") as file:
        file.seek(128)
        while len(tag := file.read(8)) == 8:
            kind, size = struct.unpack("<II", tag)
            if kind != _COMPRESSED:
                total += size
                file.seek(size, 1)
            else:
                total += _unpacked_size(file.read(size))
            if total > MAX_FILE_BYTES:
                raise ConversionError("the file unpacks to more than any VGG weights")


def _unpacked_size(data: bytes) -> int:
    unpacker, total = zlib.decompressobj(), 0
    try:
        while data and total <= MAX_FILE_BYTES:
            total += len(unpacker.decompress(data, 2**24))
            data = unpacker.unconsumed_tail
    except zlib.error as error:
        raise ConversionError(f"the file is damaged: {error}") from None
    return total
