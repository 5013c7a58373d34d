"""The library's calls: pictures of any kind, settings by name, results that save and show."""

import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxmrf
from jaxmrf.core.config import Config
from jaxmrf.core.presets import PRESETS, between, configured
from jaxmrf.errors import ConfigError, ImageError
from jaxmrf.files import image
from jaxmrf.jobs.records import read_record, to_toml
from jaxmrf.networks.weights import Loaded
from tests.common import BRIEFLY, picture, toy_network

TOY = toy_network()
QUICK = BRIEFLY | {"network": TOY}
CONTENT, STYLE = (np.asarray(picture(seed, 24, 32)) for seed in (1, 2))
EIGHT = [np.rint(pixels * 255).astype(np.uint8) for pixels in (CONTENT, STYLE)]


def transfer(content=EIGHT[0], style=EIGHT[1], **more):
    return jaxmrf.transfer(content, style, **QUICK | more)


@pytest.fixture(scope="module")
def painted():
    return transfer()


@pytest.fixture
def files(tmp_path):
    """Returns the two pictures as files."""
    for name, pixels in zip(("content", "style"), EIGHT, strict=True):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return [tmp_path / f"{name}.png" for name in ("content", "style")]


def test_pictures_of_every_kind_paint_the_same(painted, files):
    kinds = {
        "files": files,
        "names": map(str, files),
        "Pillow": map(Image.fromarray, EIGHT),
        "floats": (pixels / np.float32(255) for pixels in EIGHT),
        "JAX": map(jnp.asarray, EIGHT),
    }
    for kind, (content, style) in kinds.items():
        assert np.array_equal(transfer(content, style).image, painted.image), kind
    several = transfer(EIGHT[0], [files[1], EIGHT[1]])
    assert several.record["style"] == ["style.png", "array"]


def test_keywords_go_on_top_of_a_config(painted):
    config = Config(size=64, layers=("deep",), content_layer="deep", seed=3, optimizer="adam")
    own = jaxmrf.transfer(*EIGHT, config, size=np.int64(32), levels=1, iterations=[2], network=TOY)
    assert (own.progress.config.size, own.progress.config.seed) == (32, 3)
    assert np.array_equal(own.image, painted.image)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Config()),
        ({"preset": "paper", "size": 96}, dataclasses.replace(PRESETS["paper"], size=96)),
        ({"iterations": 30}, Config(iterations=(30,))),
        ({"iterations": np.array([3, 2])}, Config(iterations=(3, 2))),
        ({"style_loss": ["mrf:1", "gram:0.5"]}, Config(style_loss=("mrf:1", "gram:0.5"))),
        ({"anchor": np.float32(0.5), "seed": jnp.int32(7)}, Config(anchor=0.5, seed=7)),
        ({"alpha": 0.5}, Config()),
        ({"alpha": np.float32(0.25), "preset": "fine"}, between(PRESETS["fine"], 0.25)),
    ],
)
def test_settings_by_name_are_those_of_a_config(options, expected):
    assert configured(None, options) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"achor": 0.5}, "there is no option 'achor'; did you mean 'anchor'?"),
        ({"stile_guide": EIGHT[0]}, "no option 'stile_guide'; did you mean 'style_guide'?"),
        ({"size": 0}, "size is 0; it must be at least 1"),
        ({"alpha": 2}, "alpha is 2; it must be a number from 0 to 1"),
        ({"alpha": 0.2, "anchor": 0.5}, "alpha sets anchor, too; give one of them"),
        ({"preset": "slow"}, "there is no preset 'slow'; choose from"),
        ({"preset": "fine", "config": Config()}, "there are a config and a preset; give one"),
        ({"content": EIGHT[0] / 1.0}, "content has values from 0 to 2.*: divide by 255"),
        ({"style": [EIGHT[1], EIGHT[1][0, 0]]}, r"style 2 has shape \(3,\)"),
        ({"mask": np.zeros((24, 32))}, "the mask is black everywhere"),
        ({"content_guide": EIGHT[0]}, "a content guide and style guides are of use only together"),
    ],
)
def test_what_cannot_be_used_is_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        transfer(**options)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ImageError, match=r"there is no file .*cat\.jpg"):
        transfer(tmp_path / "cat.jpg")


def test_transparency_stays_and_grey_is_painted(files):
    opacity = np.zeros((24, 32), np.uint8)
    opacity[:, 10:] = 255
    transparent = np.dstack([EIGHT[0], opacity])
    found = transfer(transparent)
    np.testing.assert_allclose(found.alpha, opacity / 255, atol=1 / 255)
    assert found.picture.mode == "RGBA"
    white = np.where(opacity[..., None] > 0, EIGHT[0], 255)
    assert np.array_equal(transfer(style=transparent).image, transfer(style=white).image)
    grey = EIGHT[0][..., 0]
    three = np.repeat(grey[..., None], 3, axis=-1)
    assert np.array_equal(transfer(grey).image, transfer(three).image)


def test_a_start_a_mask_and_guides_are_pictures_too(files):
    left = np.zeros((24, 32), bool)
    left[:, :16] = True
    Image.fromarray(left).save(files[0].with_name("mask.png"))
    by_array = transfer(mask=left, initial=EIGHT[1])
    assert np.array_equal(by_array.image[:, 17:], transfer(iterations=1, mask=left).image[:, 17:])
    assert isinstance(by_array.progress.original, np.ndarray)  # nothing is kept on a device
    np.testing.assert_array_equal(by_array.progress.picture(), by_array.image)
    by_file = transfer(mask=files[0].with_name("mask.png"), initial=files[1])
    assert np.array_equal(by_array.image, by_file.image)
    assert (by_file.record["mask"], by_file.record["initial"]) == ("mask.png", "style.png")
    labels = np.where(left[..., None], np.uint8([255, 0, 0]), np.uint8([0, 0, 255]))
    guided = transfer(content_guide=labels, style_guide=labels)
    one_hot = np.stack([left, ~left], axis=-1).astype(np.float32)
    by_labels = transfer(guides=jaxmrf.Guides(one_hot, (one_hot,)))
    np.testing.assert_allclose(guided.image, by_labels.image, atol=1e-5)
    assert guided.record["style_guides"] == by_labels.record["style_guides"] == ["array"]


def test_a_synthesis_takes_them_too(files):
    by_file = jaxmrf.synthesize(files[1], (20, 28), **QUICK, seed=1)
    by_array = jaxmrf.synthesize(STYLE, (20, 28), Config(seed=1), **QUICK)
    np.testing.assert_allclose(by_file.image, by_array.image, atol=0.05)
    assert by_file.image.shape == (20, 28, 3)
    assert by_file.record["command"] == "synthesize"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_a_result_is_saved_as_the_command_line_does(painted, tmp_path, name):
    painted.save(tmp_path / name)
    image.save(tmp_path / f"b{name}", image.Picture(painted.image), painted.record)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"b{name}").read_bytes()
    record = read_record(tmp_path / name)
    assert record == {**painted.record, "config": record["config"]}
    assert "iterations = [\n    2,\n]" in to_toml(record)


def test_the_record_of_a_result_names_files_and_weights(files):
    loaded = Loaded(TOY, sha256="0" * 64)
    record = transfer(*files, network=loaded).record
    assert (record["content"], record["style"]) == ("content.png", ["style.png"])
    assert (record["weights_sha256"], record["width"]) == ("0" * 64, 32)


@pytest.mark.parametrize(
    ("path", "more", "message"),
    [
        ("a.xyz", {}, r"the name must end in \.png"),
        ("nowhere/a.png", {}, "there is no folder"),
        ("a", {"format": "xyz"}, "cannot write .* as xyz: choose from png, jpg"),
        ("a.png", {"format": "jpg"}, "as jpg: its name says PNG"),
    ],
)
def test_where_a_result_cannot_be_saved_is_one_line(painted, tmp_path, path, more, message):
    with pytest.raises(ImageError, match=message):
        painted.save(tmp_path / path, **more)
    assert not list(tmp_path.iterdir())


def test_notebooks_show_a_result(painted, tmp_path):
    assert repr(painted) == "<Result of 32×24 pixels>"
    with Image.open(io.BytesIO(painted._repr_png_())) as shown:
        assert np.array_equal(np.asarray(shown), np.asarray(painted.picture))
    np.testing.assert_allclose(np.asarray(painted.picture) / 255, painted.image, atol=0.5 / 255)
    painted.save(str(tmp_path / "a"), format="png")
    assert (tmp_path / "a").read_bytes() == painted._repr_png_()


@pytest.mark.parametrize("transformation", [jax.jit, jax.grad, jax.vmap])
def test_what_loops_on_the_host_says_that_it_cannot_be_traced(transformation):
    def of_the_content(content):
        return jaxmrf.transfer(content, STYLE, network=TOY).image.mean()

    def of_a_weight(weight):
        return jaxmrf.synthesize(STYLE, (32, 32), style_weight=weight, network=TOY).image.mean()

    def of_the_parameters(params):
        network = dataclasses.replace(TOY, params={**TOY.params, "first": params})
        return next(jaxmrf.iterate(CONTENT, STYLE, (24, 32), Config(), network=network)).value

    def of_a_pair(content):
        return jaxmrf.transfer_many([(content, STYLE)], network=TOY)[0].image.mean()

    for function, argument in (
        (of_a_pair, CONTENT),
        (of_the_content, CONTENT),
        (of_a_weight, np.float32(1)),
        (of_the_parameters, TOY.params["first"]),
    ):
        argument = np.stack([argument] * 2) if transformation is jax.vmap else argument
        with pytest.raises(ConfigError, match=r"cannot trace it; jaxmrf\.core\.energy"):
            transformation(function)(argument)


def test_nothing_is_traced_where_only_something_else_is():
    @jax.jit
    def within(x):
        jaxmrf.transfer(CONTENT, STYLE, network=TOY)
        return x

    with pytest.raises(ConfigError, match=r"jaxmrf\.transfer loops on the host"):
        within(1.0)
