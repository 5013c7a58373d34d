"""PyTorch ``.pth`` files, legacy and zip, without PyTorch: torchvision's weights.

The pickle inside may name a handful of globals; storages are raw bytes that are read only where a
convolution needs them, after their declared size was checked.
"""

import collections
import dataclasses
import math
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jaxmrf.errors import ConversionError
from jaxmrf.networks.formats import named_features
from jaxmrf.networks.formats.common import MAX_FILE_BYTES, Foreign, floats

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
LEGACY_PROTOCOL = 1001  # torch/serialization.py, PROTOCOL_VERSION
MAX_PICKLE_BYTES = 16 * 2**20
MAX_STORAGES = 10_000


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A storage that the pickle refers to: its key in the file and its extent."""

    key: str
    dtype: str
    count: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A tensor in a storage, not read yet."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, int]:
        """First and last byte in the storage."""
        size = np.dtype(self.storage.dtype).itemsize
        return self.offset * size, (self.offset + math.prod(self.shape)) * size


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or not isinstance(offset, int):
        raise ConversionError("a tensor of the pickle has no storage")
    if not all(isinstance(x, int) and x >= 0 for x in (*shape, *stride, offset)):
        raise ConversionError("a tensor of the pickle has no proper shape")
    contiguous = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
    if tuple(stride) != contiguous or offset + math.prod(shape) > storage.count:
        raise ConversionError("a tensor of the pickle does not lie inside its storage")
    return _Tensor(storage, offset, tuple(shape))


class _StateDict(collections.OrderedDict):
    """Takes the place of OrderedDict; torch attaches an attribute ``_metadata`` to it."""


_ALLOWED = {
    ("collections", "OrderedDict"): _StateDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,  # files of 2017, torchvision's
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch", "Size"): tuple,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "HalfStorage"): "<f2",
    ("torch", "DoubleStorage"): "<f8",
    ("torch", "LongStorage"): "<i8",
}


# The C unpickler allocates a memo as large as a pickle asks for; this one does not.
class TensorUnpickler(pickle._Unpickler):
    """Reads dictionaries of tensors; any other global is an error."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns an allowed global.

        Raises:
          ConversionError: for every other one.
        """
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise ConversionError(
                f"the pickle asks for {module}.{name}; only tensors are read"
            ) from None

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns the storage that the pickle refers to.

        Raises:
          ConversionError: if the reference is not one of a storage.
        """
        if (
            isinstance(pid, tuple)
            and len(pid) >= 5
            and pid[0] == "storage"
            and pid[1] in ("<f4", "<f2", "<f8", "<i8")
            and isinstance(pid[2], str)
            and isinstance(pid[4], int)
            and 0 <= pid[4] <= MAX_FILE_BYTES
        ):
            return _Storage(pid[2], pid[1], pid[4])
        raise ConversionError("the pickle refers to something that is not a storage")


def recognizes(path: Path) -> bool:
    """Whether the file is a zip with a pickle of tensors, or begins with torch's magic."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    with path.open("rb") as file:
        return file.read(32).startswith(pickle.dumps(LEGACY_MAGIC, protocol=2))


def read(path: Path) -> Foreign:
    """Reads torchvision's ``vgg19-dcbb9e9d.pth`` or ``vgg16-397923af.pth``.

    Raises:
      ConversionError: if the file is not that.
    """
    try:
        tensors = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except (ConversionError, MemoryError):
        raise
    except Exception as error:
        raise ConversionError(f"not a readable PyTorch file: {error}") from error
    return named_features.foreign(tensors, "PyTorch file, torchvision's ImageNet weights")


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ConversionError(f"the file has {len(pickles)} pickles, expected one")
        folder = pickles[0].removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in archive.namelist() and _member(archive, order, 16) != b"little":
            raise ConversionError("the file was written on a big-endian machine")
        with archive.open(pickles[0]) as file:
            if archive.getinfo(pickles[0]).file_size > MAX_PICKLE_BYTES:
                raise ConversionError("the pickle is larger than one of tensors")
            state = TensorUnpickler(file).load()
        tensors = {}
        for name, tensor in _convolutions(state):
            storage = tensor.storage
            data = _member(archive, f"{folder}data/{storage.key}", tensor.extent[1])
            tensors[name] = floats(name, data[tensor.extent[0] :], storage.dtype, tensor.shape)
        return tensors


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Returns a member of at most `limit` bytes, whatever its header declares."""
    with archive.open(name) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ConversionError(f"{name} is larger than the tensor that it holds")
    return data


def _read_legacy(path: Path) -> dict[str, np.ndarray]:
    """Reads magic, protocol, system, tensors, storage keys, then count and data of each."""
    with path.open("rb") as file:
        magic, protocol = (TensorUnpickler(file).load() for _ in range(2))
        if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL:
            raise ConversionError("not a PyTorch file of a known version")
        system = TensorUnpickler(file).load()
        if not system.get("little_endian", True):
            raise ConversionError("the file was written on a big-endian machine")
        state = TensorUnpickler(file).load()
        keys = TensorUnpickler(file).load()
        of_storage = collections.defaultdict(list)
        for name, tensor in _convolutions(state):
            of_storage[tensor.storage.key].append((name, tensor))
        sizes = {
            tensor.storage.key: np.dtype(tensor.storage.dtype).itemsize
            for tensor in state.values()
            if isinstance(tensor, _Tensor)
        }
        if not isinstance(keys, list) or len(keys) > MAX_STORAGES:
            raise ConversionError("the list of storages is not one")
        tensors = {}
        for key in keys:
            tensors.update(_legacy_storage(file, of_storage[key], sizes.get(key)))
        return tensors


def _legacy_storage(
    file: BinaryIO, named_tensors: list[tuple[str, _Tensor]], item_size: int | None
) -> dict[str, np.ndarray]:
    """Reads the tensors of the storage at the current position, or skips it."""
    (count,) = struct.unpack("<q", file.read(8))
    if item_size is None or count < 0 or count * item_size > MAX_FILE_BYTES:
        raise ConversionError("a storage has no proper size")
    start = file.tell()
    tensors = {}
    for name, tensor in named_tensors:
        if tensor.storage.count != count:
            raise ConversionError(f"{name}: the storage has {count} values")
        first, last = tensor.extent
        file.seek(start + first)
        data = file.read(last - first)
        tensors[name] = floats(name, data, tensor.storage.dtype, tensor.shape)
    file.seek(start + count * item_size)
    return tensors


def _convolutions(state: Any) -> list[tuple[str, _Tensor]]:
    """Returns the tensors of the convolutions, no others, with names and shapes checked."""
    if not isinstance(state, dict):
        raise ConversionError("the file does not hold a dictionary of tensors")
    tensors = {
        name: tensor
        for name, tensor in state.items()
        if isinstance(name, str) and name.startswith("features.") and isinstance(tensor, _Tensor)
    }
    architecture = named_features.check({name: tensor.shape for name, tensor in tensors.items()})
    return [(name, tensors[name]) for name in named_features.tensor_names(architecture)]
