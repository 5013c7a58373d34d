"""Options by name: what becomes of them, and what is refused."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from jaxmrf import planning
from jaxmrf.core import presets
from jaxmrf.core.config import Config
from jaxmrf.core.decoder import Decoder
from jaxmrf.core.features import Network
from jaxmrf.core.run.plan import check_iterations
from jaxmrf.core.settings import resolve
from jaxmrf.errors import ConfigError
from jaxmrf.jobs import options
from tests.common import ToyNetwork

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
        ({"alpha": "1.1"}, "alpha is 1.1; it must be a number from 0 to 1"),
        ({"alpha": "nan"}, "alpha is nan"),
        ({"alpha": True}, "alpha is True"),
        ({"alpha": "much"}, "alpha is 'much'; it takes numbers"),
        ({"alpha": "0.2", "anchor": "0.5"}, "alpha sets anchor, too; give one of them"),
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


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_the_knob_goes_from_the_photograph_to_the_painting_through_the_preset(preset):
    usual = options.job({**PICTURES, "preset": preset}).config
    assert options.job({**PICTURES, "preset": preset, "alpha": "0.5"}).config == usual
    turned = [
        options.job({**PICTURES, "preset": preset, "alpha": alpha}).config
        for alpha in np.linspace(0, 1, 21)
    ]
    for name in presets.SET_BY_ALPHA:
        values = [getattr(config, name) for config in turned]
        assert values == sorted(values, reverse=True)
        assert values[0] > values[-1]
    others = [dataclasses.replace(config, **SETTINGS_OF_ALPHA) for config in turned]
    assert set(others) == {dataclasses.replace(usual, **SETTINGS_OF_ALPHA)}


SETTINGS_OF_ALPHA = dict.fromkeys(presets.SET_BY_ALPHA, 0.0)


def test_the_knob_is_nothing_for_a_synthesis():
    values = {"style": "b.png", "output": "c.png", "alpha": "0.2"}
    assert "alpha" in options.without_effect(values, options.job(values))


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


@pytest.mark.parametrize("number", ["256.0", "256.", " 256 ", 256.0])
def test_whole_numbers_may_be_written_with_a_point(number):
    config = options.job({**PICTURES, "size": number, "iterations": [number, 3]}).config
    assert (config.size, config.iterations) == (256, (256, 3))
    assert type(config.size) is int


@pytest.mark.parametrize("number", ["256.5", "2.56E+02", ".0", "256,0"])
def test_what_is_no_whole_number_is_refused(number):
    with pytest.raises(ConfigError, match=r"^seed is .* whole number"):
        options.job({**PICTURES, "seed": number})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_of_options_may_begin_with_a_mark(tmp_path, encoding):
    (tmp_path / "run.toml").write_bytes('init = "ä.png"\r\nsize = 64.0\r\n'.encode(encoding))
    values = options.read_toml(tmp_path / "run.toml")
    assert values == {"init": str(tmp_path / "ä.png"), "size": 64.0}
    assert options.job(PICTURES | values).config.size == 64


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "run.toml",
            b"caf\xe9 = 1",
            "run.toml is not TOML: it is not UTF-8",
        ),
        ("run.toml", b"a = " + b"[" * 9999, "run.toml is not TOML"),
        ("run.toml", b"seed = 1\0", "run.toml is not TOML: it is not UTF-8 text"),
        ("a.png", b"\x89PNG\r\n", r"a.png is not TOML: jaxmrf show-config .* prints the options"),
    ],
)
def test_what_is_no_file_of_options_is_one_line(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=told) as error:
        options.read_toml(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "rounds", "told"),
    [
        ({"iterations": "3,2"}, 2, None),  # as many levels as numbers
        ({"iterations": "3,2", "levels": 2}, 2, None),
        ({"iterations": "3", "levels": 2}, 0, None),
        ({"iterations": "3,2", "levels": 1}, 2, "2 numbers for 1 level;"),
        ({"iterations": "3,2", "levels": 1}, 0, "2 numbers for 1 level;"),
        ({"iterations": "4,3,2"}, 0, "3 numbers for 2 levels;"),  # by the size
        ({"preset": "reference", "iterations": "4,3,2,1"}, 0, "4 numbers for 3 levels;"),
        ({"preset": "reference", "levels": 1}, 0, None),
        ({"preset": "quick", "levels": 1}, 0, None),  # its own three numbers are no fault
        ({"preset": "fine", "levels": 3}, 2, None),
        ({"iterations": "0"}, 2, None),
        ({"iterations": "0,0"}, 0, "nothing would be painted"),
        ({"iterations": "0,2"}, 0, None),
    ],
)
def test_every_number_of_iterations_has_a_level_and_something_paints(given, rounds, told):
    config = options.job({**PICTURES, "size": 128, **given}).config
    if told is None:
        check_iterations(config, (96, 128), rounds=rounds)
        return
    with pytest.raises(ConfigError, match=f"^iterations .*{told}"):
        check_iterations(config, (96, 128), rounds=rounds)


def test_settings_are_checked_where_they_are_resolved():
    network = Network(ToyNetwork(), {})
    with pytest.raises(ConfigError, match="2 numbers for 1 level"):
        planning.resolved(Config(levels=1, iterations=(3, 2)), network, (64, 64))
