"""Every published format: a file with the real names and shapes in the real container."""

import collections
import io
import json
import os
import pickle
import struct
import zipfile

import h5py
import jax
import numpy as np
import pytest
import safetensors.numpy
import scipy.io

from benchmarks import engine
from jaxmrf.errors import ConversionError
from jaxmrf.networks import architectures, convert, foreign_file
from jaxmrf.networks.formats import matconvnet, named_features, torch_file
from tests.common import picture

MEAN_BGR = np.array([103.939, 116.779, 123.68])


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Parses here what a process of its own would: tests of that are in test_isolation.py."""
    monkeypatch.setattr(foreign_file, "read", foreign_file.parse)


def numbers(architecture):
    """Kernels [out, in, h, w] and biases by name, He-scaled, all shapes real.

    Two thirds of them, the deepest, are zeros, which are packed in no time.
    """
    generator = np.random.default_rng(5)
    found = {}
    for name, (height, width, inputs, outputs) in architectures.kernel_shapes(architecture).items():
        kernel = np.zeros((outputs, inputs, height, width), np.float32)
        if name <= "conv4_2":
            generator.standard_normal(out=kernel, dtype=np.float32)
        kernel *= np.sqrt(2 / (9 * inputs)) / (60 if name == "conv1_1" else 1)
        found[name] = (kernel, 0.1 * generator.standard_normal(outputs).astype(np.float32))
    return found


@pytest.fixture(scope="module")
def vgg19():
    return numbers("vgg19")


def write_keras(path, layers, nested=True):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [
            b"input_1",
            *(f"block{n[4]}_conv{n[6]}".encode() for n in layers),
        ]
        file.create_group("input_1")
        for name, (kernel, bias) in layers.items():
            keras_name = f"block{name[4]}_conv{name[6]}"
            group = file.create_group(keras_name)
            if nested:
                group = group.create_group(keras_name)
            names = (
                ("kernel:0", "bias:0") if nested else (f"{keras_name}_W_1:0", f"{keras_name}_b_1:0")
            )
            group.create_dataset(names[0], data=kernel.transpose(2, 3, 1, 0))
            group.create_dataset(names[1], data=bias)


class TensorPickler(pickle._Pickler):
    """Writes arrays as torch does: a call of _rebuild_tensor_v2 on a persistent storage."""

    def __init__(self, file, storages):
        super().__init__(file, protocol=2)
        self.storages = storages

    def save_array(self, array):
        key = str(len(self.storages))
        self.storages[key] = np.ascontiguousarray(array, np.float32)
        version = b"" if self.first else b"_v2"
        self.write(b"ctorch._utils\n_rebuild_tensor" + version + b"\n(")  # GLOBAL, MARK
        self.write(b"(")
        self.save("storage")
        self.write(b"ctorch\nFloatStorage\n")
        self.save(key)
        self.save("cpu")
        self.save(array.size)
        if self.legacy:
            self.save(None)
        self.write(b"tQ")  # TUPLE, BINPERSID
        self.save(0)
        self.save(tuple(array.shape))
        self.save(tuple(stride // 4 for stride in self.storages[key].strides))
        if not self.first:
            self.save(False)
            self.write(b"ccollections\nOrderedDict\n)R")
        self.write(b"tR")

    def save_state(self, state):
        self.write(pickle.PROTO + b"\x02")
        self.write(b"ccollections\nOrderedDict\n)R(")
        for name, array in state.items():
            self.save(name)
            self.save_array(array)
        self.write(b"u.")


def torch_state(layers, architecture="vgg19"):
    state = collections.OrderedDict()
    for name, position in named_features.positions(architecture).items():
        state[f"features.{position}.weight"], state[f"features.{position}.bias"] = layers[name]
    state["classifier.0.bias"] = np.zeros(7, np.float32)
    return state


def write_torch_zip(path, state, compression=zipfile.ZIP_STORED):
    stream, storages = io.BytesIO(), {}
    pickler = TensorPickler(stream, storages)
    pickler.legacy = pickler.first = False
    pickler.save_state(state)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("vgg19/data.pkl", stream.getvalue())
        archive.writestr("vgg19/byteorder", "little")
        for key, array in storages.items():
            archive.writestr(f"vgg19/data/{key}", array.tobytes())
        archive.writestr("vgg19/version", "3\n")


def write_torch_legacy(path, state, first=False):
    """The format before 1.6; `first` is that of 2017, in which torchvision's files are."""
    storages = {}
    with path.open("wb") as file:
        pickle.dump(torch_file.LEGACY_MAGIC, file, protocol=2)
        pickle.dump(torch_file.LEGACY_PROTOCOL, file, protocol=2)
        system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
        pickle.dump(system, file, protocol=2)
        pickler = TensorPickler(file, storages)
        pickler.legacy, pickler.first = True, first
        pickler.save_state(state)
        keys = sorted(storages)
        pickle.dump(keys, file, protocol=2)
        for key in keys:
            file.write(struct.pack("<q", storages[key].size) + storages[key].tobytes())


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, content):
    """A field of a protobuf message, by the wire format: bytes or a whole number."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def write_caffe(path, layers, old=True):
    """Field numbers from caffe.proto, written by hand and not by the reader's schema."""
    network = field(1, b"VGG_ILSVRC_19_layers")
    for name, arrays in layers.items():
        blobs = b""
        for array in arrays:
            if old:  # num, channels, height, width
                shape = (1,) * (4 - array.ndim) + array.shape
                blob = b"".join(field(1 + i, side) for i, side in enumerate(shape))
            else:  # shape { dim }, packed
                blob = field(7, field(1, b"".join(varint(side) for side in array.shape)))
            blob += field(5, array.astype("<f4").tobytes())
            blobs += field(6 if old else 7, blob)
        layer = field(4 if old else 1, name.encode()) + blobs
        relu = field(4 if old else 1, name.replace("conv", "relu").encode())
        network += field(2 if old else 100, layer) + field(2 if old else 100, relu)
    path.write_bytes(network)


def write_matconvnet(path, layers, old=False):
    cells = []
    for name, (kernel, bias) in layers.items():
        filters = kernel.transpose(3, 2, 1, 0)  # [w, h, in, out]
        if old:
            cells.append({"name": name, "type": "conv", "filters": filters, "biases": bias[None]})
        else:
            pair = np.empty((1, 2), object)
            pair[0, 0], pair[0, 1] = filters, bias[:, None]
            cells.append({"name": name, "type": "conv", "weights": pair})
        cells.append({"name": name.replace("conv", "relu"), "type": "relu"})
    layers_cell = np.empty((1, len(cells)), object)
    layers_cell[0, :] = cells
    scipy.io.savemat(path, {"layers": layers_cell}, do_compression=old)


def write_timm(path, state):
    tensors = {name: np.ascontiguousarray(array) for name, array in state.items()}
    path.write_bytes(safetensors.numpy.save(tensors, {"format": "pt"}))


def torch_input(image):
    return (
        (image - np.array(architectures.IMAGENET_MEAN)) / np.array(architectures.IMAGENET_STD)
    ).transpose(2, 0, 1)


def caffe_input(image):
    return (255 * image[..., ::-1] - MEAN_BGR).transpose(2, 0, 1)


def matconvnet_input(image):
    return (255 * image - MEAN_BGR[::-1]).transpose(2, 0, 1)


FORMATS = {
    "keras 2": (lambda p, n: write_keras(p, n), caffe_input),
    "keras as published": (lambda p, n: write_keras(p, n, nested=False), caffe_input),
    "torch zip": (lambda p, n: write_torch_zip(p, torch_state(n)), torch_input),
    "torch legacy": (lambda p, n: write_torch_legacy(p, torch_state(n)), torch_input),
    "torch of 2017": (lambda p, n: write_torch_legacy(p, torch_state(n), True), torch_input),
    "timm": (lambda p, n: write_timm(p, torch_state(n)), torch_input),
    "caffe": (write_caffe, caffe_input),
    "caffe, new layers": (lambda p, n: write_caffe(p, n, old=False), caffe_input),
    "matconvnet": (write_matconvnet, matconvnet_input),
    "matconvnet, old": (lambda p, n: write_matconvnet(p, n, old=True), matconvnet_input),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_computes_what_an_independent_engine_does_and_cut_off_is_refused(
    name, vgg19, tmp_path
):
    write, normalize = FORMATS[name]
    path = tmp_path / "a name that says nothing"
    write(path, vgg19)
    conversion = convert.read(path, "vgg19")
    assert conversion.features.architecture == "vgg19"
    image = np.asarray(picture(1, 35, 48))
    kept = {key: vgg19[key] for key in architectures.convolution_names("vgg19")[:10]}
    expected = engine.run(
        {key: kernel for key, (kernel, _) in kept.items()},
        {key: bias for key, (_, bias) in kept.items()},
        normalize(image),
    )
    found = jax.jit(conversion.features)(conversion.params, image)
    assert list(found)[-1] == "relu4_2"
    for layer, activation in expected.items():
        error = np.abs(np.asarray(found[layer]) - activation).max() / np.abs(activation).max()
        assert error < 1e-4, layer
    os.truncate(path, path.stat().st_size * 2 // 3)
    refused(path, ".")


def test_one_network_from_two_formats_gives_the_same_activations(vgg19, tmp_path):
    paths = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    write_keras(paths[0], vgg19)
    write_caffe(paths[1], vgg19)
    swapped = dict(vgg19)
    swapped["conv1_1"] = (vgg19["conv1_1"][0][:, ::-1], vgg19["conv1_1"][1])
    write_matconvnet(paths[2], swapped)  # the same network, taking RGB
    image = np.asarray(picture(2, 40, 40))
    layers = []
    for path in paths:
        stored = convert.from_safetensors(convert.to_safetensors(convert.read(path), "float32"))
        layers.append(jax.jit(stored.features)(stored.params, image)["relu4_2"])
    for other in layers[1:]:
        assert np.abs(layers[0] - other).max() < 1e-3 * np.abs(layers[0]).max()


def test_vgg16_is_told_from_vgg19(tmp_path):
    path = tmp_path / "weights"
    write_timm(path, torch_state(numbers("vgg16"), "vgg16"))
    assert convert.read(path).features.architecture == "vgg16"
    with pytest.raises(ConversionError, match="this is vgg16, not vgg19"):
        convert.read(path, "vgg19")


def test_the_deepest_layer_can_be_chosen_and_the_size_is_as_documented(vgg19, tmp_path):
    path = tmp_path / "weights"
    write_keras(path, vgg19)
    default = convert.to_safetensors(convert.read(path), "float32")
    assert abs(len(default) / 1e6 - 23.5) < 0.1
    deepest = convert.read(path, deepest="conv5_4")
    assert deepest.features.layers[-1] == "relu5_4"
    with pytest.raises(ConversionError, match="has no conv6_1"):
        convert.read(path, deepest="conv6_1")


# Hostile and damaged files.


def refused(path, match):
    with pytest.raises(ConversionError, match=match) as caught:
        convert.read(path)
    assert "\n" not in str(caught.value)


def small_keras(path):
    """Names as published, shapes not: enough for what fails before shapes are compared."""
    with h5py.File(path, "w") as file:
        for name in architectures.convolution_names("vgg19"):
            group = file.create_group(f"block{name[4]}_conv{name[6]}")
            group.create_dataset("kernel:0", data=np.zeros((3, 3, 1, 1), np.float32))
            group.create_dataset("bias:0", data=np.zeros(1, np.float32))


def test_hdf5_links_to_other_places_are_refused(tmp_path):
    path, secret = tmp_path / "a.h5", tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file.create_dataset("kernel", data=np.zeros((3, 3, 3, 64), np.float32))
    for link in (h5py.ExternalLink(str(secret), "/kernel"), h5py.SoftLink("/block1_conv2")):
        small_keras(path)
        with h5py.File(path, "a") as file:
            del file["block1_conv1/kernel:0"]
            file["block1_conv1/kernel:0"] = link
        refused(path, "link to another place")
        small_keras(path)
        with h5py.File(path, "a") as file:
            del file["block1_conv1"]
            file["block1_conv1"] = link
        refused(path, "link to another place")


def test_hdf5_data_outside_the_file_are_refused(tmp_path):
    path, outside = tmp_path / "a.h5", tmp_path / "outside.bin"
    outside.write_bytes(bytes(4 * 27 * 64))
    small_keras(path)
    with h5py.File(path, "a") as file:
        del file["block1_conv1/kernel:0"]
        file["block1_conv1"].create_dataset(
            "kernel:0", (3, 3, 3, 64), "f4", external=[(str(outside), 0, 4 * 27 * 64)]
        )
    refused(path, "from another file")
    small_keras(path)
    with h5py.File(path, "a") as file:
        del file["block1_conv1/kernel:0"]
        layout = h5py.VirtualLayout((3, 3, 3, 64), "f4")
        layout[...] = h5py.VirtualSource(str(tmp_path / "x.h5"), "kernel", (3, 3, 3, 64))
        file["block1_conv1"].create_virtual_dataset("kernel:0", layout)
    refused(path, "from another file")


def test_hdf5_shape_bombs_are_refused_before_anything_is_read(tmp_path):
    path = tmp_path / "a.h5"
    small_keras(path)
    with h5py.File(path, "a") as file:
        del file["block1_conv1/kernel:0"]
        file["block1_conv1"].create_dataset(
            "kernel:0", (3, 3, 3, 2**40), "f4", chunks=(3, 3, 3, 64), fillvalue=1
        )
    refused(path, "has shape")


def test_hdf5_objects_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "a.h5"
    small_keras(path)
    with h5py.File(path, "a") as file:
        del file["block1_conv1"]
        file["block1_conv1"] = np.zeros(3, np.float32)
    refused(path, "conv1_1 is not a group")
    small_keras(path)
    with h5py.File(path, "a") as file:
        del file["block1_conv1/kernel:0"]
        file["block1_conv1/kernel:0"] = np.dtype("f4")
    refused(path, "expected a kernel and a bias")


@pytest.mark.parametrize(
    "header",
    [b'{"__metadata__":[1]}', b"[" * 50_000, b'{"__metadata__":{"format":"jaxmrf-vgg-1"}}'],
)
def test_strange_safetensors_headers_are_refused(tmp_path, header):
    path = tmp_path / "a"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ConversionError):
        convert.read(path)


def test_a_zip_with_a_broken_directory_is_refused(vgg19, tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"x")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"PK\x01\x02", b"PK\x01\x99"))
    with pytest.raises(ConversionError):
        convert.read(path)


class Exploit:
    def __reduce__(self):
        return (os.system, ("touch exploited",))


def test_torch_pickles_with_other_globals_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"features.0.weight": Exploit()}, protocol=2))
    refused(path, r"asks for (posix|nt)\.system")
    with path.open("wb") as file:
        pickle.dump(torch_file.LEGACY_MAGIC, file, protocol=2)
        pickle.dump(torch_file.LEGACY_PROTOCOL, file, protocol=2)
        pickle.dump(Exploit(), file, protocol=2)
    refused(path, r"asks for (posix|nt)\.system")
    assert not (tmp_path / "exploited").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (0, (64, 3, 3, 3), (27, 9, 3, 2)),  # not contiguous
        (5, (64, 3, 3, 3), (27, 9, 3, 1)),  # past the end
        (-1, (64, 3, 3, 3), (27, 9, 3, 1)),
        (0, (2**40, 3, 3, 3), (27, 9, 3, 1)),
        ("0", (64, 3, 3, 3), (27, 9, 3, 1)),
    ],
)
def test_torch_tensors_outside_their_storage_are_refused(arguments):
    storage = torch_file._Storage("0", "<f4", 64 * 27)
    assert torch_file._rebuild_tensor(storage, 0, (64, 3, 3, 3), (27, 9, 3, 1))
    with pytest.raises(ConversionError):
        torch_file._rebuild_tensor(storage, *arguments)


def test_zip_members_are_capped_and_never_unpacked_by_name(vgg19, tmp_path):
    path = tmp_path / "bomb.pth"
    write_torch_zip(path, torch_state(vgg19))
    rewritten = tmp_path / "rewritten.pth"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(rewritten, "w") as target:
        for name in source.namelist():
            if name == "vgg19/data/0":
                target.writestr(name, bytes(2**26), zipfile.ZIP_DEFLATED)
            else:
                target.writestr(name, source.read(name))
        target.writestr("../../escaped", "x")
    refused(rewritten, "larger than the tensor")
    assert not list(tmp_path.parent.glob("escaped"))


def test_other_networks_are_refused_by_name_and_shape(vgg19, tmp_path):
    path = tmp_path / "weights"
    normalized = torch_state(vgg19) | {"features.1.weight": np.ones(64, np.float32)}
    write_timm(path, normalized)
    refused(path, "batch normalization")
    wider = dict(vgg19)
    wider["conv1_1"] = (np.zeros((64, 4, 3, 3), np.float32), vgg19["conv1_1"][1])
    write_timm(path, torch_state(wider))
    refused(path, r"features.0.weight has shape \(64, 4, 3, 3\)")
    write_caffe(path, {name: vgg19[name] for name in list(vgg19)[:5]})
    refused(path, "5 convolutions")
    broken = dict(vgg19)
    broken["conv2_1"] = (vgg19["conv2_1"][0] * np.nan, vgg19["conv2_1"][1])
    write_timm(path, torch_state(broken))
    refused(path, "not finite")


@pytest.mark.parametrize("content", [b"", b"x", b"words and more words " * 100, bytes(5000)])
def test_files_of_no_known_format_are_refused(content, tmp_path):
    (tmp_path / "weights").write_bytes(content)
    refused(tmp_path / "weights", "not a weight file of a known format")


def test_a_matlab_bomb_is_refused_before_it_unpacks(tmp_path, monkeypatch):
    path = tmp_path / "bomb.mat"
    scipy.io.savemat(path, {"layers": np.zeros(2**22)}, do_compression=True)
    assert path.stat().st_size < 2**20
    monkeypatch.setattr(matconvnet, "MAX_FILE_BYTES", 2**24)
    refused(path, "unpacks to more")


def test_metadata_says_where_the_numbers_are_from(vgg19, tmp_path):
    path = tmp_path / "weights"
    write_keras(path, vgg19)
    content = convert.to_safetensors(convert.read(path))
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    assert header["architecture"] == "vgg19"
    assert "Oxford" in header["source"]
    assert "CC BY 4.0" in header["license"]
    np.testing.assert_allclose(json.loads(header["mean"]), MEAN_BGR[::-1] / 255)


# The frameworks themselves, where the `bench` extra is installed.


@pytest.mark.framework
@pytest.mark.parametrize("legacy", [False, True])
def test_files_that_torch_writes_are_read(vgg19, tmp_path, legacy):
    torch = pytest.importorskip("torch")
    state = collections.OrderedDict(
        (name, torch.from_numpy(np.ascontiguousarray(array)))
        for name, array in torch_state(vgg19).items()
    )
    path = tmp_path / "weights"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    conversion = convert.read(path)
    expected = vgg19["conv4_1"][0].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(conversion.params["conv4_1"]["kernel"], expected)


@pytest.mark.framework
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_files_that_keras_writes_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    model = keras.applications.VGG19(weights=None, include_top=False)
    path = tmp_path / "weights.h5"
    model.save(path)
    conversion = convert.read(path)
    kernel, _ = model.get_layer("block4_conv1").get_weights()
    np.testing.assert_array_equal(conversion.params["conv4_1"]["kernel"], kernel)
