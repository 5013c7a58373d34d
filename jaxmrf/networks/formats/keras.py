"""Keras HDF5 in the legacy layout: the original Oxford weights, as Keras publishes them."""

import re
from pathlib import Path

import h5py
import numpy as np

from jaxmrf.errors import ConversionError
from jaxmrf.networks import architectures
from jaxmrf.networks.formats.common import (
    CAFFE_INPUT,
    OXFORD_LICENSE,
    Foreign,
    architecture_of,
    check_shape,
)

_LAYER = re.compile(r"block(\d)_conv(\d)")
_MAX_OBJECTS = 1000
_Object = h5py.Group | h5py.Dataset | h5py.Datatype


def recognizes(path: Path) -> bool:
    """Whether the file is HDF5."""
    return h5py.is_hdf5(path)


def read(path: Path) -> Foreign:
    """Reads ``vgg19_weights_tf_dim_ordering_tf_kernels[_notop].h5``, or VGG-16's.

    Layers are groups ``blockN_convM`` with a kernel HWIO and a bias; input BGR 0 to 255
    minus the mean. Only what lies in the file itself is read: links, virtual datasets and
    external storage are refused, and declared shapes are compared before reading.

    Raises:
      ConversionError: if the file is not that.
    """
    try:
        with h5py.File(path, "r") as file:
            root = _hard(file, "model_weights") if "model_weights" in file else file
            if not isinstance(root, h5py.Group):
                raise ConversionError("model_weights is not a group")
            groups = {
                f"conv{match[1]}_{match[2]}": _hard(root, name)
                for name in map(str, root)
                if (match := _LAYER.fullmatch(name))
            }
            architecture = architecture_of(groups)
            shapes = architectures.kernel_shapes(architecture)
            layers = {name: _layer(name, groups[name], shape) for name, shape in shapes.items()}
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConversionError):
            raise
        raise ConversionError(f"the HDF5 file is damaged: {error}") from None
    return Foreign(
        architecture, layers, CAFFE_INPUT, "Keras HDF5, original Oxford weights", OXFORD_LICENSE
    )


def _layer(name: str, group: _Object, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(group, h5py.Group):
        raise ConversionError(f"{name} is not a group with a kernel and a bias")
    datasets = _datasets(group)
    kernels = [dataset for dataset in datasets if len(dataset.shape) == 4]
    biases = [dataset for dataset in datasets if len(dataset.shape) == 1]
    if len(kernels) != 1 or len(biases) != 1 or len(datasets) != 2:
        raise ConversionError(f"{name} has {len(datasets)} arrays, expected a kernel and a bias")
    check_shape(f"{name} kernel", kernels[0].shape, shape)
    check_shape(f"{name} bias", biases[0].shape, shape[-1:])
    return np.asarray(kernels[0][()], np.float32), np.asarray(biases[0][()], np.float32)


def _datasets(group: h5py.Group) -> list[h5py.Dataset]:
    """Returns the datasets below a group, which Keras 2 and 3 nest differently deep."""
    datasets, waiting, seen = [], [group], 0
    while waiting:
        current = waiting.pop()
        for name in map(str, current):
            seen += 1
            if seen > _MAX_OBJECTS:
                raise ConversionError(f"{group.name} has too many objects")
            item = _hard(current, name)
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                datasets.append(_plain(item))
    return datasets


def _hard(group: h5py.Group, name: str) -> _Object:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ConversionError(f"{group.name}/{name} is a link to another place or file")
    return group[name]


def _plain(dataset: h5py.Dataset) -> h5py.Dataset:
    if dataset.is_virtual or dataset.external:
        raise ConversionError(f"{dataset.name} takes its data from another file")
    if dataset.dtype.kind != "f":
        raise ConversionError(f"{dataset.name} does not hold floating-point numbers")
    return dataset
