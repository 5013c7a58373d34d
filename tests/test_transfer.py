import dataclasses
import math
import re
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmrf
from jaxmrf import api
from jaxmrf.core.config import EFFORTS, Config
from jaxmrf.core.decoder import LAYERS
from jaxmrf.core.features import Network
from jaxmrf.core.matching import clusters, matchers
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.presets import PRESETS
from jaxmrf.core.run import lanes
from jaxmrf.core.run.lanes import chunk_length
from jaxmrf.core.run.loop import run
from jaxmrf.core.run.progress import NonFiniteEnergyError
from jaxmrf.core.settings import resolve
from jaxmrf.errors import ConfigError
from jaxmrf.machine.memory import memory_needed
from jaxmrf.networks import weights
from jaxmrf.planning import plan_run
from tests.common import ToyNetwork, picture, toy_params

# With so short a memory all levels of 5 iterations and more share their programs. Runs of two
# layers are those of the presets.
CONFIG = Config(
    size=48, coarsest=16, layers=("deep",), content_layer="deep", iterations=(8,),
    overlap="mean", style_border=0, history=4,
)  # fmt: skip
ONE_LEVEL = dataclasses.replace(CONFIG, levels=1)


def records(content, style, config=CONFIG, shape=(48, 36), params=None, **more):
    plan, progress = started(content, style, config, shape, params, **more)
    return plan, list(progress)


def started(content, style, config=CONFIG, shape=(48, 36), params=None, **more):
    network, settings, plan = plan_run(
        shape,
        [style.shape[:2]],
        config,
        Network(ToyNetwork(), params or toy_params()),
        has_content=content is not None,
        has_start=more.get("initial") is not None,
    )
    return plan, run(network, content, [style], plan, settings, **more)


def test_an_optimizer_starts_from_the_picture(monkeypatch):
    held = optax.GradientTransformation(
        lambda image: image,
        lambda gradient, start, image: (start - image, start),
    )
    monkeypatch.setitem(optimizers.OPTIMIZERS, "held", lambda descent: held)
    config = dataclasses.replace(ONE_LEVEL, optimizer="held", iterations=(2,))
    _, progress = records(picture(1, 48, 36), picture(2, 48, 36), config)
    np.testing.assert_allclose(progress[-1].image, progress[0].image, atol=1e-6)


def test_a_picture_transferred_onto_itself_stays():
    image = picture(1, 48, 36)
    _, progress = records(image, image, dataclasses.replace(ONE_LEVEL, tv_weight=0.0))
    assert np.abs(np.asarray(progress[-1].picture() - image)).max() < 0.01


def test_the_energy_falls_at_every_level():
    plan, progress = records(picture(1, 48, 36), picture(2, 48, 36))
    assert plan.shapes == ((24, 18), (48, 36))
    for level in range(len(plan.shapes)):
        values = [p.value for p in progress if p.level == level and p.iteration]
        assert len(values) == 8
        assert values[-1] < 0.9 * values[0]
    assert progress[-1].picture().shape == (48, 36, 3)


@pytest.mark.parametrize("content", [picture(1, 48, 36), None], ids=["content", "noise"])
def test_the_same_seed_gives_the_same_bytes(content):
    config = dataclasses.replace(ONE_LEVEL, seed=5)
    pictures = [
        np.asarray(records(content, picture(2, 48, 36), config)[1][-1].picture()) for _ in range(2)
    ]
    assert pictures[0].tobytes() == pictures[1].tobytes()


def test_another_seed_starts_from_other_noise():
    starts = [
        next(started(None, picture(2, 48, 36), dataclasses.replace(CONFIG, seed=seed))[1]).image
        for seed in (0, 1)
    ]
    assert np.abs(np.asarray(starts[0] - starts[1])).max() > 0.05


def test_unguided_synthesis_comes_near_the_patches_of_the_style():
    _, progress = records(None, picture(2, 48, 36), dataclasses.replace(CONFIG, iterations=(20,)))
    finest = [p.terms["mrf"] for p in progress if p.level == 1 and p.iteration]
    coarsest = [p.terms["mrf"] for p in progress if p.level == 0 and p.iteration]
    assert coarsest[-1] < 0.5 * coarsest[0]
    assert finest[-1] < finest[0]
    assert "content" not in progress[-1].terms


def test_a_given_start_is_used():
    start = picture(9, 20, 20)
    _, progress = started(picture(1, 48, 36), picture(2, 48, 36), initial=start)
    difference = np.asarray(next(progress).image) - np.asarray(start).mean(axis=(0, 1))
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.05


def test_keep_gives_the_chrominance_of_the_content():
    content = 0.35 + 0.3 * picture(1, 48, 36)
    config = dataclasses.replace(CONFIG, color="keep")
    _, progress = records(content, picture(2, 48, 36), config)
    painted = np.asarray(progress[-1].picture())
    inside = ((painted > 0.01) & (painted < 0.99)).all(axis=-1)
    difference = painted - np.asarray(content)
    # Only luminance differs: the same difference in all three channels.
    assert np.ptp(difference[inside], axis=-1).max() < 1e-3
    assert np.abs(difference).mean() > 1e-3


def test_match_paints_with_the_palette_of_the_style():
    style = 0.2 + 0.3 * picture(2, 48, 36)
    content = 0.5 + 0.5 * picture(1, 48, 36)
    strong = dataclasses.replace(ONE_LEVEL, content_weight=50.0, iterations=(20,))
    means = {}
    for mode in ("match", "none"):
        config = dataclasses.replace(strong, color=mode)
        painted = records(content, style, config)[1][-1].picture()
        means[mode] = np.asarray(painted).mean()
    distances = {mode: abs(mean - style.mean()) for mode, mean in means.items()}
    assert distances["match"] < 0.5 * distances["none"]


def test_coarse_levels_without_a_patch_are_left_out():
    config = dataclasses.replace(CONFIG, levels=5, iterations=(1, 1, 0, 0, 8))
    plan, progress = records(picture(1, 48, 36), picture(2, 48, 36), config, (24, 18))
    assert plan.dropped > 0
    assert plan.iterations == (1, 1, 0, 0, 8)[plan.dropped :]
    assert progress[-1].levels == 5 - plan.dropped


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        ({}, (4, 3), "not even one patch"),
        ({"patch_size": 40}, (48, 36), "not even one patch"),
        ({"layers": ("relu9_9",)}, (48, 36), "no layer 'relu9_9'; it has deep, shallow"),
        ({"content_layer": "relu9_9"}, (48, 36), "no layer 'relu9_9'"),
    ],
)
def test_settings_that_do_not_fit_the_pictures_are_named(config, shape, message):
    with pytest.raises(ConfigError, match=message):
        records(picture(1, 9, 9), picture(2, 48, 36), dataclasses.replace(CONFIG, **config), shape)


def test_an_energy_that_is_not_finite_stops_with_the_last_good_picture():
    params = toy_params()
    params["second"] = params["second"] * jnp.inf
    with pytest.raises(NonFiniteEnergyError) as caught:
        records(picture(1, 48, 36), picture(2, 48, 36), params=params)
    assert np.isfinite(caught.value.progress.picture()).all()


def test_a_step_that_blows_up_is_taken_back():
    config = dataclasses.replace(CONFIG, optimizer="adam", learning_rate=1e30)
    seen = []
    with pytest.raises(NonFiniteEnergyError) as caught:
        seen.extend(started(picture(1, 48, 36), picture(2, 48, 36), config)[1])
    assert len(seen) == 2
    np.testing.assert_array_equal(caught.value.progress.image, seen[0].image)


def test_chunks_of_steps_do_what_single_steps_do(monkeypatch):
    """As accelerators run them: several steps in one program."""
    arguments = picture(1, 48, 36), picture(2, 48, 36), ONE_LEVEL
    _, single = records(*arguments)
    monkeypatch.setattr(lanes, "chunk_length", lambda *_: 4)
    _, chunked = records(*arguments)
    assert [p.iteration for p in chunked] == [p.iteration for p in single]
    for a, b in zip(single, chunked, strict=True):
        if a.iteration:
            np.testing.assert_allclose(sum(b.terms.values()), b.value, rtol=1e-5)
        if a.iteration in (1, 2, 3):  # later a match that is a tie may flip
            np.testing.assert_allclose(a.value, b.value, rtol=1e-5)
            np.testing.assert_allclose(a.image, b.image, atol=1e-4)
    params = toy_params()
    params["second"] = params["second"] * jnp.inf
    with pytest.raises(NonFiniteEnergyError) as caught:
        records(*arguments, params=params)
    np.testing.assert_array_equal(caught.value.progress.image, single[0].image)


@pytest.mark.parametrize("iterations", [0, 1, 15, 60, 97])
def test_a_chunk_divides_the_iterations_of_a_level(iterations):
    for shape in ((96, 80), (1080, 1920), (2160, 3840)):
        pixels = math.prod(shape)
        length = chunk_length("tpu", pixels, iterations)
        assert iterations % length == 0
        assert length == 1 or length * pixels <= 2**22


def test_settings_of_the_wrong_type_are_named():
    """In a process of its own, without the type checker of the tests."""
    program = (
        "from jaxmrf import Config, ConfigError\n"
        "for field, value in [('size', 64.5), ('layers', 'relu3_1'), ('layers', (3,)),\n"
        "                     ('seed', True), ('tv_weight', '1'), ('levels', '2')]:\n"
        "    try:\n"
        "        Config(**{field: value})\n"
        "    except ConfigError as error:\n"
        "        assert field in str(error)\n"
        "    else:\n"
        "        raise AssertionError(field)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent.parent)


def test_the_library_paints_arrays():
    content, style = np.asarray(picture(1, 48, 80)), np.asarray(picture(2, 70, 64))
    seen = []
    result = jaxmrf.transfer(
        content, style, Config(size=64, levels=1, iterations=(2,)), callback=seen.append
    )
    assert result.image.shape == (38, 64, 3)
    assert 0 <= result.image.min() <= result.image.max() <= 1
    assert [p.iteration for p in seen] == [0, 0, 0, 1, 2]
    toy = Network(ToyNetwork(), toy_params())
    texture = jaxmrf.synthesize(np.asarray(picture(2, 48, 36)), (48, 36), ONE_LEVEL, network=toy)
    assert texture.image.shape == (48, 36, 3)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_runs_and_its_energy_falls(name):
    """With the programs of `test_the_library_paints_arrays`, where a preset has the decoder."""
    preset = PRESETS[name]
    config = dataclasses.replace(
        preset,
        iterations=(2,) if preset.decoder_rounds else (6,),
        levels=1,
        rotations=min(1, preset.rotations),
        scales=0,
    )
    content, style = np.asarray(picture(1, 48, 80)), np.asarray(picture(2, 70, 64))
    values = [
        progress.value
        for progress in api.iterate(content, style, (38, 64), config)
        if progress.iteration
    ]
    assert values[-1] < values[0]


def test_presets_weigh_pixels_in_the_units_of_the_network():
    network = weights.load("vgg16").network
    default = resolve(PRESETS["default"], network).config
    effort = EFFORTS["default"]
    iterations = (*[0] * (effort.levels - 1), effort.iterations)
    assert default == dataclasses.replace(
        PRESETS["default"], levels=effort.levels, iterations=iterations
    )
    reference = resolve(PRESETS["reference"], network).config
    np.testing.assert_allclose(reference.pixel_scale, 3 / (0.229 + 0.224 + 0.225))


def test_the_last_number_of_iterations_serves_all_finer_levels():
    assert Config(iterations=(7,)).iterations_per_level(3) == (7, 7, 7)
    assert Config(iterations=(7, 5)).iterations_per_level(4) == (7, 5, 5, 5)
    assert Config(iterations=(7, 5, 3)).iterations_per_level(2) == (7, 5)


def test_memory_needed_grows_with_the_picture():
    needed = []
    for shape in ((24, 18), (48, 36)):  # of which other tests have the programs
        config = dataclasses.replace(ONE_LEVEL, size=shape[0])
        toy = Network(ToyNetwork(), toy_params())
        network, settings, plan = plan_run(shape, [shape], config, toy)
        needed.append(memory_needed(plan, network, settings))
    pairs_of_lbfgs = 2 * CONFIG.history * 4 * 3 * 48 * 36
    assert needed[1] > pairs_of_lbfgs
    assert needed[1] > 1.1 * needed[0]


def test_memory_needed_counts_what_a_level_has(monkeypatch):
    lowered, names = lanes.lowered, []

    def noted(*arguments):
        programs = lowered(*arguments)
        names[:] = (re.search(r"@jit_(\w+)", each.as_text())[1] for each in programs)
        return programs

    monkeypatch.setattr(lanes, "lowered", noted)

    def needed(**more):
        # The programs of `test_the_library_paints_arrays`.
        config = Config(size=64, levels=1, layers=LAYERS, preconditioner="none", **more)
        network, settings, plan = plan_run((38, 64), [(70, 64)], config, weights.load().network)
        return memory_needed(plan, network, settings)

    without = needed(iterations=(0,))
    assert names == ["prepare", "decode"]
    assert needed(iterations=(2,)) > without
    assert names == ["prepare", "decode", "steps"]
    assert needed(iterations=(2,), decoder_rounds=0) > without
    assert names == ["prepare", "steps"]


def test_the_last_record_of_a_level_has_the_share_of_exact_matches(monkeypatch):
    content, style = picture(1, 48, 36), picture(2, 48, 36)
    _, progress = records(content, style)
    assert all(np.isnan(p.exact_matches) for p in progress)
    _, progress = records(content, style, judge_matches=True)
    known = [p.exact_matches for p in progress if not np.isnan(p.exact_matches)]
    assert known == [1.0, 1.0]
    monkeypatch.setattr(matchers, "EXACT_PAIRS", 0)
    monkeypatch.setattr(clusters, "CLUSTER_SIZE", 16)
    monkeypatch.setattr(clusters, "PROBES", 1)
    # Not the programs from above, which do not know that the constants have changed.
    config = dataclasses.replace(ONE_LEVEL, patch_size=2, optimizer="adam")
    _, progress = records(content, style, config, judge_matches=True)
    for record in progress:
        assert (0.1 < record.exact_matches < 1) == (record.iteration == record.iterations)
