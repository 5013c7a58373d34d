"""A trained decoder as the content of a safetensors file, and back.

Layout: the parameters of `decoder.Network` by their path, ``half_1/kernel`` and so on, and
``scale/LAYER``; in the metadata the network whose features it decodes, and how it was trained.
"""

import json
from collections.abc import Mapping

import numpy as np
import safetensors.numpy
from flax import traverse_util

from jaxmrf.core.decoder import LAYERS, Decoder
from jaxmrf.errors import ConversionError
from jaxmrf.networks import convert, vgg

FORMAT = "jaxmrf-decoder-1"
LICENSE = "Apache-2.0"


def fits(trained_for: vgg.VGGFeatures, network: object) -> bool:
    """Returns whether a decoder trained for one network decodes the features of another.

    Networks of one architecture, input and pooling have the same parameters up to rounding.
    """
    return isinstance(network, vgg.VGGFeatures) and _facts(trained_for) == _facts(network)


def to_safetensors(trained: Decoder, network: vgg.VGGFeatures, facts: Mapping[str, str]) -> bytes:
    """Returns the content of a file, float16; the same decoder gives the same bytes.

    Args:
      trained: the decoder.
      network: whose features it decodes.
      facts: what else the file says, such as pictures, steps and seed.
    """
    named = traverse_util.flatten_dict(dict(trained.params), sep="/")
    tensors = {name: np.asarray(array, np.float16) for name, array in named.items()}
    tensors |= {
        f"scale/{name}": np.asarray(value, np.float32)[None]
        for name, value in trained.scale.items()
    }
    metadata = {**facts, **_facts(network), "format": FORMAT, "license": LICENSE}
    metadata["sha256"] = convert.digest(tensors, metadata)
    return convert.canonical(safetensors.numpy.save(tensors, metadata))


def from_safetensors(content: bytes) -> tuple[Decoder, vgg.VGGFeatures]:
    """Returns a decoder, float32, and the network that it was trained for.

    Raises:
      ConversionError: if the content is not a decoder, or does not have its digest.
    """
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        tensors = safetensors.numpy.load(content)
        metadata = header["__metadata__"]
        digest = metadata.pop("sha256")
        mean, std = (tuple(json.loads(metadata[name])) for name in ("mean", "std"))
        network = vgg.VGGFeatures(metadata["architecture"], mean=mean, std=std)
        scale = {name: tensors[f"scale/{name}"][0] for name in LAYERS}
        params = {
            name: array.astype(np.float32)
            for name, array in tensors.items()
            if not name.startswith("scale/")
        }
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConversionError(f"not a decoder of jaxmrf: {error}") from None
    if metadata.get("format") != FORMAT or convert.digest(tensors, metadata) != digest:
        raise ConversionError("the tensors do not have the digest that the file declares")
    return Decoder(traverse_util.unflatten_dict(params, sep="/"), scale), network


def _facts(network: vgg.VGGFeatures) -> dict[str, str]:
    """Returns what a decoder depends on, as metadata."""
    return {
        "architecture": network.architecture,
        "mean": json.dumps(network.mean),
        "std": json.dumps(network.std),
        "pooling": network.pooling,
    }
