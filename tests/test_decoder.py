"""The decoder: what it paints from, its file, its part in a run, and its training."""

import dataclasses
import functools
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxmrf
from jaxmrf.core import decoder
from jaxmrf.core.config import Config
from jaxmrf.core.decoder import Decoder
from jaxmrf.core.settings import resolve
from jaxmrf.errors import ConversionError, WeightsError
from jaxmrf.jobs import inputs, options, paint
from jaxmrf.networks import decoder_file, vgg, weights
from jaxmrf.planning import resolved
from tests.common import picture

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
NETWORK = vgg.VGGFeatures("vgg16")
CHANNELS = {"relu3_1": 256, "relu4_1": 512}
# Without the decoder, too, levels start with the first guess that they have with it.
CONFIG = Config(size=64, levels=1, iterations=(1,), preconditioner="none")


@pytest.fixture(scope="module")
def loaded():
    return weights.load("vgg16")


@pytest.fixture(scope="module")
def network(loaded):
    return loaded.network


@pytest.fixture(scope="module")
def pixels():
    """Of the sizes that other tests have, which compile the same programs."""
    return np.asarray(picture(1, 48, 80)), np.asarray(picture(2, 70, 64))


decode = jax.jit(decoder.decode, static_argnums=3)


@functools.cache
def untrained():
    shapes = jax.eval_shape(functools.partial(decoder.initial, CHANNELS), jax.random.key(0))
    generator = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.03 * generator.standard_normal(leaf.shape, np.float32)), shapes
    )
    return Decoder(params, dict.fromkeys(decoder.LAYERS, np.float32(3.0)))


@pytest.mark.parametrize(("height", "width"), [(64, 48), (53, 71)])
def test_any_size_is_decoded(height, width):
    features = {
        name: np.ones((height // step, width // step, CHANNELS[name]), np.float32)
        for name, step in zip(decoder.LAYERS, (4, 8), strict=True)
    }
    slow = np.full((height // 8, width // 8, 3), 0.5, np.float32)
    found = decode(untrained(), features, slow, (height, width))
    assert found.shape == (height, width, 3)
    # The border is continued: what is flat inside is flat to its edge.
    assert np.ptp(found, axis=(0, 1)).max() < 1e-5


def test_the_shipped_decoder_finds_the_picture_that_the_features_are_of(network):
    path = WEIGHTS.parent / "docs" / "images" / "cat-chelsea-cc0.jpg"
    photograph = np.asarray(Image.open(path).resize((128, 96)), np.float32) / 255
    layers = network(jnp.asarray(photograph))
    slow = jax.image.resize(photograph, (*layers["relu4_1"].shape[:2], 3), "linear")
    found = decode(network.decoder, layers, slow, photograph.shape[:2])
    blurred = jax.image.resize(slow, photograph.shape, "linear")
    error, of_blur = (np.abs(each - photograph).mean() for each in (found, blurred))
    assert error < 0.7 * of_blur


def test_a_file_gives_the_decoder_back():
    trained = untrained()
    content = decoder_file.to_safetensors(trained, NETWORK, {"seed": "0"})
    assert content == decoder_file.to_safetensors(trained, NETWORK, {"seed": "0"})
    found, network = decoder_file.from_safetensors(content)
    assert decoder_file.fits(network, NETWORK)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(trained), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "other",
    [
        vgg.VGGFeatures("vgg19"),
        vgg.VGGFeatures("vgg16", mean=(0.4, 0.4, 0.4)),
        vgg.VGGFeatures("vgg16", pooling="average"),
        "no VGG",
    ],
)
def test_a_decoder_fits_its_network_alone(other):
    assert not decoder_file.fits(NETWORK, other)


@pytest.mark.parametrize("place", [40, -9])
def test_a_damaged_decoder_is_refused(place):
    content = bytearray(decoder_file.to_safetensors(untrained(), NETWORK, {}))
    content[place] ^= 0x55
    with pytest.raises(ConversionError):
        decoder_file.from_safetensors(bytes(content))


def test_a_missing_or_damaged_decoder_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "shipped_file", lambda name: tmp_path / name)
    with pytest.raises(WeightsError, match=r"cannot read the decoder .*vgg16"):
        weights.load_decoder(NETWORK)
    (tmp_path / "decoder-vgg16.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="damaged; install the package again"):
        weights.load_decoder(NETWORK)
    assert weights.load_decoder(vgg.VGGFeatures("vgg19")) is None


def test_levels_start_with_the_decoder(network, pixels):
    seen = []
    jaxmrf.transfer(*pixels, CONFIG, callback=seen.append, network=network)
    assert [(p.decoded, p.iteration) for p in seen] == [(0, 0), (1, 0), (2, 0), (2, 1)]
    assert [p.painted for p in seen] == [False, True, True, True]
    alone = dataclasses.replace(CONFIG, decoder_rounds=0)
    without = jaxmrf.transfer(*pixels, alone, network=network).image
    with_it = np.asarray(seen[-1].picture())
    assert np.abs(with_it - without).mean() > 0.01


def test_a_synthesis_starts_with_the_decoder_and_keeps_its_iterations(network, pixels):
    seen = []
    more = {"coarsest": 32, "optimizer": "adam"}  # which compiles sooner
    config = dataclasses.replace(CONFIG, iterations=(2, 1), levels=None, **more)
    jaxmrf.synthesize(pixels[1], (64, 64), config, callback=seen.append, network=network)
    steps = [(p.decoded, p.iteration) for p in seen]
    assert steps == [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (0, 0), (1, 0), (2, 0), (2, 1)]
    alone = dataclasses.replace(CONFIG, iterations=())
    assert resolve(alone, network, has_content=False).config.iterations == (60, 30, 15)


def test_what_is_not_finite_is_left_out(network, pixels):
    broken = network.decoder._replace(scale=dict.fromkeys(decoder.LAYERS, np.float32(0.0)))
    seen = []
    result = jaxmrf.transfer(
        *pixels,
        CONFIG,
        callback=seen.append,
        network=dataclasses.replace(network, decoder=broken),
    )
    assert [p.undecodable for p in seen] == [False, True, True, True]
    alone = jaxmrf.transfer(*pixels, dataclasses.replace(CONFIG, decoder_rounds=0), network=network)
    np.testing.assert_array_equal(result.image, alone.image)


def test_random_parameters_do_not_break_a_run(network, pixels):
    chosen = dataclasses.replace(network, decoder=untrained())
    found = jaxmrf.transfer(*pixels, CONFIG, network=chosen).image
    assert np.isfinite(found).all()


def job_of(tmp_path, pixels, **more):
    for name, values in zip(("content", "style"), pixels, strict=True):
        Image.fromarray(np.uint8(values * 255)).save(tmp_path / f"{name}.png")
    named = {name: str(tmp_path / f"{name}.png") for name in ("content", "style", "output")}
    return options.job({**named, "size": 64, "levels": 1, "iterations": 1, **more})


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, r"no decoder for this network with max pooling: levels start without it"),
        ({"layers": "relu3_1"}, r"the decoder needs the layers relu3_1, relu4_1"),
        ({"decoder_rounds": 0}, None),
        ({"style_loss": "gram", "gram_layers": "relu2_1"}, None),
    ],
)
def test_a_start_without_the_decoder_is_told(network, tmp_path, pixels, more, line):
    def left_out(job, network):
        return inputs.left_out(job, resolved(job.config, network, (64, 64))[1])

    told = left_out(job_of(tmp_path, pixels, **more), dataclasses.replace(network, decoder=None))
    assert len(told) == (line is not None)
    assert line is None or re.search(line, told[0])
    assert left_out(job_of(tmp_path, pixels), network) == []


def test_a_decoder_that_fails_is_one_line_and_the_picture_is_painted(loaded, tmp_path, pixels):
    network = loaded.network
    broken = network.decoder._replace(scale=dict.fromkeys(decoder.LAYERS, np.float32(0.0)))
    told = []
    paint.run(
        job_of(tmp_path, pixels),
        dataclasses.replace(loaded, network=dataclasses.replace(network, decoder=broken)),
        on_warning=told.append,
    )
    assert len(told) == 1
    assert "not finite; going on without" in told[0]
    assert (tmp_path / "output.png").exists()


def test_the_lattice_is_what_repeats_every_eight_pixels_beside_slow_colors(monkeypatch):
    monkeypatch.syspath_prepend(str(WEIGHTS))
    import train_decoder

    rows, columns = np.mgrid[:64, :96]
    slow = np.repeat((rows + columns)[..., None] / 160.0, 3, axis=-1)
    dots = 0.2 * ((rows % 4 == 0) & (columns % 4 == 0))[..., None]
    random = 0.2 * np.random.default_rng(0).standard_normal((64, 96, 3))
    smooth, dotted, noisy = (
        float(train_decoder.lattice(jnp.asarray(values, jnp.float32)))
        for values in (slow, slow + dots, slow + random)
    )
    assert smooth < 0.005
    assert dotted > 0.02
    assert smooth < noisy < 0.3 * np.abs(random).mean()


TRAINING = """
import sys
sys.path.insert(0, {folder!r})
import jax, numpy as np, pathlib
import decoder_pictures, train_decoder
from jaxmrf.networks import weights
path = pathlib.Path({path!r})
sources = decoder_pictures.folder_of_pictures(path)
loaded = weights.load_file(weights.find("vgg16"))
trained = train_decoder.train(sources, loaded, path / "state.msgpack", steps=3, crop=32)
(path / {output!r}).write_bytes(b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(trained)))
"""


@pytest.mark.slow
def test_training_lowers_the_loss_and_goes_on_to_the_same_bytes_after_a_kill(tmp_path):
    for seed in (1, 2):
        values = np.uint8(np.asarray(picture(seed, 48, 56)) * 255)
        Image.fromarray(values).save(tmp_path / f"{seed}.png")

    def start(output, **more):
        program = TRAINING.format(folder=str(WEIGHTS), path=str(tmp_path), output=output)
        program = program.replace(
            "trained =",
            "train_decoder.CHECKPOINT_EVERY, train_decoder.LAST_PHASE = 1, 3; trained =",
        )
        return subprocess.Popen([sys.executable, "-c", program], text=True, **more)

    whole = start("whole", stdout=subprocess.PIPE)
    losses = [
        float(line.split('"loss": ')[1].split(",")[0])
        for line in whole.communicate()[0].splitlines()
    ]
    assert whole.returncode == 0
    assert losses[2] < losses[0]
    (tmp_path / "state.msgpack").unlink()
    killed = start("killed", stdout=subprocess.PIPE)
    killed.stdout.readline()
    while not (tmp_path / "state.msgpack").exists():
        pass
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    again = start("again", stdout=subprocess.DEVNULL)
    assert again.wait() == 0
    assert (tmp_path / "again").read_bytes() == (tmp_path / "whole").read_bytes()
