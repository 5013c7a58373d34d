from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jaxmrf import planning
from jaxmrf.analysis import suitability
from jaxmrf.cli import app
from jaxmrf.core.config import Config
from jaxmrf.core.run import programs
from jaxmrf.files import image
from jaxmrf.jobs import options
from jaxmrf.networks import weights
from tests.common import picture, toy_network

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"


def measured(content, style):
    return suitability.measure(toy_network(), content, [style], layers=("shallow", "deep"))


def test_a_painting_explains_itself_with_every_patch():
    found = measured(picture(1, 48, 36), picture(1, 48, 36))
    assert found.matches == (suitability.SIDE // 2 - 2) ** 2  # of the deeper layer
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
        ("cat-chelsea-cc0", "vangogh-road-to-tarascon-1888", False),
        ("coffee-cc0", "vangogh-night-cafe-1888", False),
        ("nasa-astronaut-1993", "vangogh-langlois-bridge-1888", True),
    ],
)
def test_pairs_of_the_gallery_are_told_apart(content, style, alien):
    network = weights.load("vgg16").network
    pixels = [image.load(IMAGES / f"{name}.jpg").pixels for name in (content, style)]
    found = planning.measure_suitability(*pixels, Config(), network)
    assert found.alien == alien
    assert not found.monotonous
    # No setting of a run has a part in it.
    other = Config(size=1024, levels=1, style_scale=0.5, layers=("relu2_1",), rotations=1)
    assert planning.measure_suitability(*pixels, other, network) == found


@pytest.mark.parametrize("kind", ["flat", "noise"])
@pytest.mark.parametrize("content", ["nasa-astronaut-1993", "coffee-cc0"])
def test_a_style_without_anything_in_it_gets_advice(kind, content):
    pixels = image.load(IMAGES / f"{content}.jpg").pixels
    style = np.full((200, 150, 3), 0.5, np.float32)
    if kind == "noise":
        style = np.random.default_rng(1).random(style.shape, np.float32)
    network = weights.load("vgg16").network
    found = planning.measure_suitability(pixels, style, Config(), network)
    assert found.alien or found.monotonous


def test_advice_does_not_name_what_is_already_set(monkeypatch):
    said = []
    monkeypatch.setattr(app, "say", said.append)
    few = suitability.Suitability(0.3, 0.1, 100)
    for variety in ("0", "1"):
        given = {"content": "a.png", "style": "b.png", "output": "c.png", "variety": variety}
        app._advise(options.job(given), few)
    assert "try a variety of 1 or another painting" in said[0]
    assert "try another painting" in said[1]


def test_the_command_line_says_so_beforehand(tmp_path, monkeypatch):
    """Before it paints, which is left out here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(programs, "prepare", lambda *_, **__: None)
    monkeypatch.setattr(programs, "decode", lambda _, images, *__, **___: (images, True))
    pair = [
        str(IMAGES / f"{n}.jpg") for n in ("nasa-astronaut-1993", "vangogh-langlois-bridge-1888")
    ]
    more = ["--levels", "1", "--iterations", "0"]
    done = CliRunner().invoke(app.app, ["transfer", *pair, "--size", "128", *more])
    assert done.exit_code == 0
    advice, level = done.output.index("advice: the painting has little"), done.output.index("wrote")
    assert advice < level
