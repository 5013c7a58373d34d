"""Options by name: what becomes of them, and what is refused."""

import re
from pathlib import Path

import pytest

from jaxmrf.core.config import Config
from jaxmrf.core.decoder import Decoder
from jaxmrf.core.features import Network
from jaxmrf.core.settings import resolve
from jaxmrf.errors import ConfigError
from jaxmrf.jobs import options
from tests.conftest import ToyNetwork

PICTURES = {"content": "a.png", "style": "b.png", "output": "c.png"}


def test_texts_and_values_mean_the_same():
    texts = {"size": "96", "iterations": "3, 2", "style-scale": "0.5", "levels": "2"}
    values = {"size": 96, "iterations": [3, 2], "style_scale": 0.5, "levels": 2}
    config = Config(size=96, iterations=(3, 2), style_scale=0.5, levels=2)
    assert options.job(PICTURES | texts).config == config
    assert options.job(PICTURES | values) == options.job(PICTURES | texts)


def test_paths_are_relative_to_the_folder():
    job = options.job({**PICTURES, "style": "/b.png", "init": "start.png"}, Path("/pictures"))
    assert job.content == Path("/pictures/a.png")
    assert job.styles == (Path("/b.png"),)
    assert job.initial == Path("/pictures/start.png")
    assert options.job({**PICTURES, "init": "noise"}).config.init == "noise"


def test_lists_of_files_and_switches():
    job = options.job(
        {**PICTURES, "style": ["b.png", "d.png"], "style_guide": "e.png", "tileable": "true"}
    )
    assert job.styles == (Path("b.png"), Path("d.png"))
    assert job.style_guides == (Path("e.png"),)
    assert job.config.tileable


def test_a_synthesis_has_width_and_height():
    job = options.job({"style": "b.png", "output": "c.png", "size": "64x32"})
    assert job.content is None
    assert (job.shape, job.config.size) == ((32, 64), 64)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"itrations": 3}, "no option 'itrations'; did you mean 'iterations'?"),
        ({"config": 3}, "no option 'config'"),
        ({"output": None}, "'output' is missing"),
        ({"size": "wide"}, "size is 'wide'; it takes whole numbers"),
        ({"seed": "1.5"}, "seed is '1.5'; it takes whole numbers"),
        ({"iterations": [1, "x"]}, "iterations is 'x'"),
        ({"memory": "much"}, "memory is 'much'; it takes numbers"),
        ({"style": 3}, "style is 3; it must be text"),
        ({"style": ["b.png", 3]}, "style is 3; it must be text"),
        ({"tileable": "perhaps"}, "tileable is 'perhaps'; it takes true or false"),
        ({"style_loss": "gram:0"}, "style_loss is 'gram:0'; one weight must be above 0"),
        ({"style_loss": "gram:0,mrf:0"}, "one weight must be above 0"),
        ({"preset": "best"}, "no preset 'best'"),
    ],
)
def test_faults_are_named(more, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        options.job(PICTURES | more)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"content": None, "size": "64x64", "anchor": 0.5}, "a synthesis has no content picture"),
        ({"style_loss": "gram", "anchor": 0.5}, "the style loss mrf is not used"),
        ({"style_loss": "gram", "decoder_rounds": 1}, "the style loss mrf is not used"),
        ({"color": "keep", "final_color": 0.5}, "the colors are not the painting's"),
        ({"tileable": True, "decoder_rounds": 1}, "the decoder knows nothing of tileable pictures"),
    ],
)
def test_what_has_no_effect_is_named(given, reason):
    values = PICTURES | given
    assert reason in options.without_effect(values, options.job(values)).values()


def test_levels_and_iterations_depend_on_the_decoder_until_they_are_given():
    def decoded(**given):
        network = Network(ToyNetwork(), {}, Decoder({}, {}))
        config = resolve(options.job({**PICTURES, **given}).config, network).config
        return config.levels, config.iterations

    assert decoded(preset="quick") == (1, (0,))
    assert decoded() == (2, (0, 4))
    assert decoded(levels="1") == (1, (4,))
    assert decoded(levels="4") == (4, (0, 0, 0, 4))
    assert decoded(iterations="7") == (2, (7,))
    assert decoded(iterations="7,5,3") == (3, (7, 5, 3))
    config = options.job({**PICTURES, "preset": "quick"}).config
    alone = resolve(config, Network(ToyNetwork(), {})).config
    assert alone.levels is None
    assert max(alone.iterations) > 0
