"""Foreign weight files → parameters in this package's layout and file format.

The layout: for every convolution ``convN_M/kernel`` [3, 3, in, out] and
``convN_M/bias`` [out], input RGB; the file: safetensors, with source, architecture and
input normalization in its metadata.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import safetensors.numpy

from jaxmrf.errors import ConversionError
from jaxmrf.networks import architectures, foreign_file, vgg
from jaxmrf.networks.formats import timm
from jaxmrf.networks.formats.common import MAX_FILE_BYTES, Foreign, check_shape

FORMAT = "jaxmrf-vgg-1"
DEEPEST = "conv4_2"
"""Deepest convolution that is kept unless another one is asked for (paper, section 4)."""


@dataclasses.dataclass(frozen=True)
class Conversion:
    """Parameters with all that a weight file says about them.

    Attributes:
      features: architecture, deepest convolution and input normalization.
      params: ``{"conv1_1": {"kernel": ..., "bias": ...}, ...}``, float32.
      source: where they came from.
      license: their licence.
      source_sha256: digest of the published file.
    """

    features: vgg.VGGFeatures
    params: dict[str, dict[str, np.ndarray]]
    source: str
    license: str
    source_sha256: str


def read(path: Path, architecture: str | None = None, deepest: str | None = None) -> Conversion:
    """Reads a weight file of any known format, this package's own included.

    Files of others are parsed in a process of their own, see `foreign_file`.

    Args:
      path: the file; its format is recognized by content.
      architecture: ``vgg16`` or ``vgg19`` if only that will do.
      deepest: last convolution to keep; None: `DEEPEST`, or all that a file of this
        package has.

    Raises:
      ConversionError: if the file is of no known format, damaged, or another network.
      OSError: if it cannot be read.
    """
    try:
        if timm.recognizes(path) and timm.metadata(path).get("format") == FORMAT:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ConversionError("the file is larger than any VGG weights")
            conversion = _shorten(from_safetensors(path.read_bytes()), deepest)
        else:
            conversion = _keep(foreign_file.read(path), deepest or DEEPEST)
    except (ConversionError, OSError):
        raise
    except Exception as error:  # a library stumbled over a damaged or hostile file
        raise ConversionError(f"the file is damaged: {error!r}") from error
    if architecture not in (None, conversion.features.architecture):
        raise ConversionError(f"this is {conversion.features.architecture}, not {architecture}")
    return conversion


def to_safetensors(conversion: Conversion, dtype: str = "float16") -> bytes:
    """Returns the content of a weight file; the same conversion gives the same bytes.

    Raises:
      ConversionError: if a value does not fit into `dtype`.
    """
    features = conversion.features
    tensors = {
        f"{name}/{kind}": np.ascontiguousarray(array, dtype)
        for name, layer in conversion.params.items()
        for kind, array in layer.items()
    }
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise ConversionError(f"{name} has values that do not fit into {dtype}")
    metadata = {
        "format": FORMAT,
        "architecture": features.architecture,
        "deepest": features.deepest,
        "layout": "kernel HWIO, input RGB 0 to 1, (x - mean) / std",
        "mean": json.dumps(features.mean),
        "std": json.dumps(features.std),
        "source": conversion.source,
        "source_sha256": conversion.source_sha256,
        "license": conversion.license,
    }
    metadata["sha256"] = digest(tensors, metadata)
    return canonical(safetensors.numpy.save(tensors, metadata))


def from_safetensors(content: bytes) -> Conversion:
    """Reads the content of a weight file of this package, as float32.

    Raises:
      ConversionError: if it is not one or its tensors do not have their digest.
    """
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        tensors = safetensors.numpy.load(content)
        metadata = header["__metadata__"]
        network = vgg.VGGFeatures(
            metadata["architecture"],
            metadata["deepest"],
            tuple(json.loads(metadata["mean"])),
            tuple(json.loads(metadata["std"])),
        )
        declared = metadata.pop("sha256")
        source, terms, source_digest = (
            metadata[key] for key in ("source", "license", "source_sha256")
        )
        params = {
            name: {
                kind: tensors[f"{name}/{kind}"].astype(np.float32) for kind in ("kernel", "bias")
            }
            for name in _convolutions(network)
        }
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConversionError(f"not a weight file of jaxmrf: {error}") from None
    if digest(tensors, metadata) != declared:
        raise ConversionError("the tensors do not have the digest that the file declares")
    return _checked(Conversion(network, params, source, terms, source_digest))


def _keep(foreign: Foreign, deepest: str) -> Conversion:
    """Returns the convolutions up to `deepest`, with the first one taking RGB."""
    names = architectures.convolution_names(foreign.architecture)
    if deepest not in names:
        raise ConversionError(f"{foreign.architecture} has no {deepest}; it has {', '.join(names)}")
    network = vgg.VGGFeatures(foreign.architecture, deepest, foreign.input.mean, foreign.input.std)
    params = {}
    for name in _convolutions(network):
        kernel, bias = foreign.layers[name]
        if name == names[0] and foreign.input.bgr:
            kernel = kernel[:, :, ::-1]
        params[name] = {"kernel": np.ascontiguousarray(kernel), "bias": np.ascontiguousarray(bias)}
    return _checked(
        Conversion(network, params, foreign.source, foreign.license, foreign.sha256 or "")
    )


def _shorten(conversion: Conversion, deepest: str | None) -> Conversion:
    """Returns a conversion up to `deepest`, all of it if that is None."""
    features = conversion.features
    if deepest in (None, features.deepest):
        return conversion
    if deepest not in _convolutions(features):
        raise ConversionError(f"the file ends at {features.deepest}; it has no {deepest}")
    shorter = dataclasses.replace(features, deepest=deepest)
    params = {name: conversion.params[name] for name in _convolutions(shorter)}
    return dataclasses.replace(conversion, features=shorter, params=params)


def _checked(conversion: Conversion) -> Conversion:
    """Returns `conversion` if its shapes are the architecture's and its values finite."""
    features = conversion.features
    if not all(len(x) == 3 and np.isfinite(x).all() for x in (features.mean, features.std)):
        raise ConversionError("the input normalization is not three numbers")
    if not all(x > 0 for x in features.std):
        raise ConversionError("the input is divided by a number that is not positive")
    shapes = architectures.kernel_shapes(features.architecture)
    for name, layer in conversion.params.items():
        for kind, expected in (("kernel", shapes[name]), ("bias", shapes[name][-1:])):
            check_shape(f"{name}/{kind}", layer[kind].shape, expected)
            if not np.isfinite(layer[kind]).all():
                raise ConversionError(f"{name}/{kind} has values that are not finite")
    return conversion


def _convolutions(network: vgg.VGGFeatures) -> list[str]:
    return [name.replace("relu", "conv") for name in network.layers]


def digest(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> str:
    """Returns the SHA-256 of tensors and metadata, whatever their order in the file."""
    state = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        state.update(f"{name} {tensors[name].dtype} {tensors[name].shape}\n".encode())
        state.update(np.ascontiguousarray(tensors[name]).tobytes())
    return state.hexdigest()


def canonical(content: bytes) -> bytes:
    """Returns a safetensors file with the keys of its header sorted.

    The library writes the metadata in the order of a hash map, which differs from run
    to run; tensor offsets are kept, so the data stay where they are.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]
