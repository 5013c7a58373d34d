"""safetensors with timm's names: ``model.safetensors`` of ``timm/vgg19.tv_in1k``."""

import json
from pathlib import Path

import numpy as np
import safetensors

from jaxmrf.errors import ConversionError
from jaxmrf.networks.formats import named_features
from jaxmrf.networks.formats.common import Foreign

_MAX_HEADER = 2**20


def recognizes(path: Path) -> bool:
    """Whether the file begins with a safetensors header."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return 2 <= size <= _MAX_HEADER and file.read(1) == b"{"


def metadata(path: Path) -> dict[str, str]:
    """Returns the metadata of a safetensors file, empty if it has none.

    Raises:
      ConversionError: if the header cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            return json.loads(file.read(size)).get("__metadata__") or {}
    except (ValueError, AttributeError) as error:
        raise ConversionError(f"the header is damaged: {error}") from None


def read(path: Path) -> Foreign:
    """Reads the convolutions; the classifier is not touched.

    Raises:
      ConversionError: if the file is not that.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if name.startswith("features.")]  # noqa: SIM118
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            tensors = {
                name: file.get_tensor(name).astype(np.float32)
                for name in named_features.tensor_names(named_features.check(shapes))
            }
    except safetensors.SafetensorError as error:
        raise ConversionError(f"the safetensors file is damaged: {error}") from None
    return named_features.foreign(tensors, "timm safetensors, torchvision's ImageNet weights")
