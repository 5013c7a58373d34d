"""The examples under docs/ do what docs/research.md says of them."""

import dataclasses
import functools
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmrf
from jaxmrf import Config, ConfigError
from jaxmrf.batch import manifest
from jaxmrf.core.losses import style_losses
from jaxmrf.core.matching import nearest, style_patches
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.run.plan import make_plan
from jaxmrf.core.settings import DescentSettings, PatchSettings, TermWeights, resolve
from jaxmrf.files import image
from tests.common import picture, toy_network

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"
TOY = toy_network()


@pytest.fixture
def example(own_parts):
    """Returns what loads an example; what it registers is forgotten after the test."""
    return lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_the_manifest_of_a_folder_has_its_pairs(tmp_path, capsys):
    (tmp_path / "deep").mkdir()
    for name in ("a.jpg", "b.jpg", "deep/c.jpg", "d.png"):
        (tmp_path / name).touch()
    main = runpy.run_path(str(EXAMPLES / "make_manifest.py"))["main"]
    main(str(tmp_path), "100")
    lines = capsys.readouterr().out.splitlines()
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    found = manifest.read(tmp_path / "pairs.jsonl", tmp_path / "out", {})
    names = {"a-b", "a-c", "b-a", "b-c", "c-a", "c-b"}
    assert {line.name for line in found} == {f"{name}.png" for name in names}
    assert all(
        line.name == f"{line.job.content.stem}-{line.job.styles[0].stem}.png" for line in found
    )
    main(str(tmp_path), "4")
    assert capsys.readouterr().out.splitlines() == lines[:4]


@pytest.fixture
def painted(example, tmp_path, monkeypatch):
    """Returns what runs an example as from a command line, on small pictures, briefly.

    With the toy network in the place of VGG, which takes long to compile, and with Adam unless
    the example has an optimizer. Gives what the example defines and the records.
    """
    paths = [str(tmp_path / name) for name in ("content.png", "style.png", "out.png")]
    for seed, path in enumerate(paths[:2], start=1):
        image.save(Path(path), image.Picture(np.asarray(picture(seed, 32, 32))), {})
    transfer, records = jaxmrf.transfer, []

    def briefly(more, content, style, config, network=TOY):
        brief = {"levels": 1, "iterations": (8,), "match_every": 1}
        if network is TOY:
            brief |= {"layers": ("deep",), "content_layer": "deep"}
        if config.optimizer == "lbfgs":
            brief["optimizer"] = "adam"
        config = dataclasses.replace(config, **(brief | more))
        return transfer(content, style, config, network=network, callback=records.append)

    def run(name, **more):
        monkeypatch.setattr(jaxmrf, "transfer", functools.partial(briefly, more))
        found = example(name)
        result = found["main"](*paths, size="32")
        written = image.load(Path(paths[2])).pixels
        np.testing.assert_allclose(written, result.image, atol=1 / 255)
        return found, records

    return run


def test_a_loss_of_ones_own_is_lowered(painted):
    alone = {"style_loss": ("sliced_wasserstein",), "content_weight": 0.0}
    own, records = painted(
        "sliced_wasserstein", **alone, init="noise", iterations=(20,), optimizer="lbfgs"
    )
    values = [record.terms["sliced_wasserstein"] for record in records[1:]]
    assert values[-1] < 0.5 * values[0]
    assert style_losses.STYLE_LOSSES["sliced_wasserstein"].value is own["value"]


def test_an_optimizer_of_ones_own_takes_its_own_steps(painted):
    _, records = painted("own_optimizer")
    assert records[-1].value < records[1].value
    # All changes of Lion's first step have one length, but for its weight decay.
    first = np.abs(np.asarray(records[1].image - records[0].image))
    np.testing.assert_allclose(first, 0.01, rtol=0.01)


def test_a_network_of_ones_own_paints(painted):
    _, records = painted("own_network", layers=("coarse",))  # one compiles sooner
    assert records[-1].value < records[1].value
    assert records[-1].config.content_layer == "coarse"


def test_a_matcher_of_ones_own_finds_the_matches(painted, monkeypatch):
    monkeypatch.setattr(nearest, "match", None)  # a run that calls it, fails
    own, records = painted("own_matcher")
    assert records[-1].value < records[1].value
    monkeypatch.undo()
    features, style_map = (
        jnp.maximum(jnp.asarray(np.random.default_rng(seed).standard_normal((12, 12, 8))), 0)
        for seed in (1, 2)
    )

    @jax.jit
    def agreement():
        style = style_patches.collect((style_map,), 3, 1)
        starts = style_patches.starts([(12, 12)], 3, 1)
        style = style._replace(index=own["index"](style, starts, (12, 12), PatchSettings()))
        match = own["nearest"](features, style, 3, 1, labels=None)
        itself = own["nearest"](style_map, style, 3, 1)
        return nearest.agreement(features, style, match, 3, 1, 10**6), itself.position

    share, itself = agreement()
    assert 0.05 < share < 1  # by chance: 0.01
    np.testing.assert_array_equal(itself.ravel(), style_patches.starts([(12, 12)], 3, 1))


def test_what_is_not_registered_is_named():
    for field, message in (
        ({"optimizer": "lion"}, "no optimizer 'lion'; choose from lbfgs, adam"),
        ({"matching": "mine"}, "no matcher 'mine'; choose from auto, exact"),
    ):
        config = Config(layers=("deep",), content_layer="deep", **field)
        with pytest.raises(ConfigError, match=message):
            make_plan((32, 32), [(32, 32)], TOY, resolve(config, TOY))


def test_a_name_means_what_was_registered_last(example):
    optimizers.OPTIMIZERS["own"] = optimizers.OPTIMIZERS["adam"]
    first = optimizers.make_optimizer(DescentSettings(optimizer="own"))
    assert optimizers.make_optimizer(DescentSettings(optimizer="own")) is first
    optimizers.OPTIMIZERS["own"] = optimizers.OPTIMIZERS["lbfgs"]
    assert optimizers.make_optimizer(DescentSettings(optimizer="own")) is not first


def test_pooling_is_refused_for_a_network_that_has_no_choice():
    pixels = np.asarray(picture(1, 32, 32))
    with pytest.raises(ConfigError, match="only VGG networks have a choice"):
        jaxmrf.transfer(pixels, pixels, Config(pooling="average"), network=TOY)


def test_a_whole_run_has_the_derivatives_that_differences_show(example):
    own = example("differentiate_hyperparameters")
    config = Config(
        size=16, coarsest=8, layers=("deep",), content_layer="deep", patch_size=2,
        iterations=(1, 2), match_every=1, optimizer="smooth_adam",
    )  # fmt: skip
    content, style = picture(1, 16, 16), picture(2, 16, 16)
    settings = resolve(config, TOY)
    plan = make_plan((16, 16), [(16, 16)], TOY, settings)
    assert len(plan.shapes) == 2

    @jax.jit
    @jax.value_and_grad
    def differentiate(factors):
        factors = TermWeights(factors[0], {"mrf": factors[1]}, 1.0)
        return own["distance"](factors, TOY, content, style, plan, settings)[0]

    one, step = jnp.ones(2), 0.005
    derivatives = differentiate(one)[1]
    differences = [
        (differentiate(one.at[i].add(step))[0] - differentiate(one.at[i].add(-step))[0])
        / (2 * step)
        for i in (0, 1)
    ]
    assert np.abs(derivatives).min() > 5e-5
    np.testing.assert_allclose(derivatives, differences, rtol=0.05)
