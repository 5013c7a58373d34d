import dataclasses
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jaxmrf import api, cli, image, suitability, weights
from jaxmrf.config import Config
from jaxmrf.pyramid import fit
from jaxmrf.transfer import make_plan
from tests.conftest import ToyNetwork, picture, toy_params

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
TOY = Config(size=48, layers=("shallow", "deep"), content_layer="deep", levels=1, color="none")


def measured(content, style, config=TOY):
    arguments = {"features": ToyNetwork(), "config": config}
    plan = make_plan(content.shape[:2], [style.shape[:2]], toy_params(), **arguments)
    return suitability.measure(toy_params(), content, [style], plan, **arguments)


def test_a_painting_explains_itself_with_every_patch():
    found = measured(picture(1, 48, 36), picture(1, 48, 36))
    assert found.matches == 22 * 16  # of the deeper layer
    assert found.score > 0.999
    assert found.distinct > 0.99
    assert not found.alien
    assert not found.monotonous


def test_a_painting_of_one_stroke_is_monotonous():
    style = np.full((48, 36, 3), 0.4, np.float32)
    style[20:, :] = 0.7
    found = measured(picture(1, 48, 36), picture(2, 48, 36) * 0 + style)
    assert found.distinct < 0.2
    assert found.monotonous


def test_few_matches_say_nothing():
    few = suitability.Suitability(0.0, 0.0, suitability.FEWEST_MATCHES - 1)
    assert not few.alien
    assert not few.monotonous


@pytest.mark.parametrize(
    ("content", "style", "alien"),
    [
        ("nasa-astronaut-1993", "vangogh-pere-tanguy-1887", False),
        ("nasa-astronaut-1993", "vangogh-langlois-bridge-1888", True),
    ],
)
def test_pairs_of_the_gallery_are_told_apart(content, style, alien):
    network, config = weights.load("vgg16"), Config(size=256)
    pixels = [image.load(IMAGES / f"{name}.jpg").pixels for name in (content, style)]
    shape = fit(*pixels[0].shape[:2], config.size)
    static = {"features": network.network, "config": config}
    plan = make_plan(shape, [pixels[1].shape[:2]], network.params, **static)
    assert api.measure_suitability(*pixels, plan, config, network).alien == alien
    turned = dataclasses.replace(config, rotations=1, metric="distance")
    assert api.measure_suitability(*pixels, plan, turned, network).alien == alien


def test_the_command_line_says_so_beforehand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pair = [
        str(IMAGES / f"{n}.jpg") for n in ("nasa-astronaut-1993", "vangogh-langlois-bridge-1888")
    ]
    done = CliRunner().invoke(cli.app, ["transfer", *pair, "--size", "128", "--iterations", "0"])
    assert done.exit_code == 0
    advice, level = done.output.index("advice: the painting has little"), done.output.index("wrote")
    assert advice < level
