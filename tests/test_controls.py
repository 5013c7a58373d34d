"""Each control does what its name says: tests that fail when it does nothing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmrf import api, planning
from jaxmrf.analysis import label_coverage
from jaxmrf.core import energy
from jaxmrf.core.color import match_histogram
from jaxmrf.core.config import Config, check_type
from jaxmrf.core.features import Network
from jaxmrf.core.losses import gram, mrf
from jaxmrf.core.losses.exemplars import Exemplars, Guides
from jaxmrf.core.run.inputs import make_pictures
from jaxmrf.core.run.loop import run
from jaxmrf.core.run.plan import make_plan
from jaxmrf.core.settings import TermWeights, program_of, resolve
from jaxmrf.errors import ConfigError
from jaxmrf.files import guides
from jaxmrf.networks import vgg
from tests.common import picture, toy_network, vgg_params

CONFIG = Config(
    size=32, levels=1, layers=("deep",), content_layer="deep", gram_layers=("shallow", "deep"),
    iterations=(6,), match_every=1, anchor=0.0, content_share=0.0, style_border=0, history=4,
)  # fmt: skip
PROGRAM = program_of(CONFIG)


PAIR = Guides(np.ones((32, 32, 2), np.float32), (np.ones((40, 40, 2), np.float32),))


def painted(config, content=None, styles=(picture(2, 40, 40),), shape=(32, 32), **more):  # noqa: B008
    network, has_content = toy_network(), content is not None
    settings = resolve(config, network, has_content=has_content)
    plan = make_plan(shape, [style.shape[:2] for style in styles], network, settings)
    *_, last = run(network, content, styles, plan, settings, **more)
    return np.asarray(last.picture()), last


@functools.partial(jax.jit, static_argnames=("loss", "program"))
def target_of(loss, styles, program, **more):
    """Returns the target of a style loss for pictures of 32×32 pixels."""
    maps = tuple(toy_network()(style) for style in styles)
    sizes = {"shallow": (32, 32), "deep": (16, 16)}
    return loss.prepare(Exemplars(maps, tuple(styles), sizes, **more), program)


compiled_prepare = jax.jit(energy.prepare, static_argnames=("shape", "program"))
compiled_total = jax.jit(energy.total, static_argnames="program")
compiled_match = jax.jit(mrf.match, static_argnums=2)
compiled_refresh = jax.jit(mrf.refresh, static_argnums=3)


def matches(target, program, seed=5):
    activations = toy_network()(picture(seed, 32, 32))
    return np.asarray(compiled_match(activations, target, program)["deep"].position)


def test_a_weight_gives_a_style_more_patches():
    styles = [picture(2, 32, 32), picture(3, 32, 32)]
    shares = []
    for blend in ([1.0, 0.1], [1.0, 1.0], [0.1, 1.0]):
        target = target_of(mrf, styles, PROGRAM, blend=np.float32(blend))
        shares.append((matches(target, PROGRAM) // 16 >= 16).mean())  # rows of the second style
    assert shares[0] < shares[1] - 0.1
    assert shares[1] < shares[2] - 0.1


@pytest.mark.parametrize("metric", ["cosine", "distance"])
def test_patches_stay_within_their_label(metric):
    config = dataclasses.replace(CONFIG, metric=metric)
    left = np.zeros((32, 32, 2), np.float32)
    left[:, :16, 0] = left[:, 16:, 1] = 1.0
    right = left[:, ::-1]  # what is on the left in the picture is on the right in the style
    center_of = np.arange(14) + 1  # of the patch that starts there
    for weight, crossing in ((1.0, False), (0.0, True)):
        program = program_of(dataclasses.replace(config, guide_weight=weight))
        target = target_of(mrf, [picture(2, 32, 32)], program, guides=Guides(left, (right,)))
        column = matches(target, program) % 16 + 1
        crossed = (column >= 8) == (center_of >= 8)[None, :]
        assert crossed.any() == crossing


def test_outside_the_mask_not_a_bit_changes():
    content = picture(1, 32, 32)
    mask = np.zeros((32, 32), np.float32)
    mask[8:20, 10:30] = 1.0
    for color in ("match", "keep"):
        config = dataclasses.replace(CONFIG, color=color)
        result, _ = painted(config, content, mask=jnp.asarray(mask))
        outside = mask < 0.5
        np.testing.assert_array_equal(result[outside], np.asarray(content)[outside])
        assert np.abs(result - np.asarray(content))[~outside].mean() > 0.01


def test_a_tileable_picture_has_no_seam():
    def seam(config):
        result, _ = painted(dataclasses.replace(config, init="noise", iterations=(30,)))
        across = np.abs(result[:, 0] - result[:, -1]).mean() + np.abs(result[0] - result[-1]).mean()
        inside = np.abs(np.diff(result, axis=0)).mean() + np.abs(np.diff(result, axis=1)).mean()
        return across / inside

    assert seam(dataclasses.replace(CONFIG, tileable=True)) < 1.2
    assert seam(CONFIG) > 1.5


def test_the_energy_of_a_tileable_picture_does_not_depend_on_where_it_is_cut():
    config = dataclasses.replace(CONFIG, tileable=True, style_loss=("mrf", "gram"))
    network, program = toy_network(), program_of(config)
    weights = TermWeights(0.0, {"mrf": 1.0, "gram": 1.0}, 1.0)
    targets = compiled_prepare(
        network, None, [picture(2, 40, 40)], weights, shape=(32, 32), program=program
    )
    image = picture(5, 32, 32)
    values = [
        compiled_total(network, jnp.roll(image, shift, (0, 1)), targets, program=program)[1]
        for shift in ((0, 0), (8, 14))
    ]
    np.testing.assert_allclose(values[0]["mrf"], values[1]["mrf"], rtol=1e-4)
    np.testing.assert_allclose(values[0]["gram"], values[1]["gram"], rtol=1e-4)
    np.testing.assert_allclose(values[0]["tv"], values[1]["tv"], rtol=1e-4)


def test_sides_of_a_tileable_picture_that_do_not_go_are_named():
    with pytest.raises(ConfigError, match="multiples of 16, 36×48 are not; try 48x48"):
        painted(dataclasses.replace(CONFIG, tileable=True), shape=(48, 36))


def test_variety_takes_patches_less_often():
    style, activations = picture(2, 32, 32), toy_network()(picture(5, 32, 32))
    program = program_of(dataclasses.replace(CONFIG, variety=0.5))
    target = target_of(mrf, [style], program)
    state = mrf.init(toy_network().shapes((32, 32)), target, program)
    for _ in range(4):
        state = compiled_refresh(activations, target, state, program)
    freely = np.bincount(matches(target_of(mrf, [style], PROGRAM), PROGRAM).ravel())
    assert np.max(state["deep"].uses) < 0.7 * np.max(freely)


def test_the_gram_loss_is_the_one_of_its_definition():
    styles = [picture(2, 32, 32), picture(3, 30, 20)]
    config = dataclasses.replace(CONFIG, normalization="sum", style_loss=("gram",))
    program = program_of(config)
    target = target_of(gram, styles, program, blend=np.float32([1.0, 0.5]))
    activations = toy_network()(picture(5, 32, 32))

    def naive(features):
        flat = np.asarray(features, np.float64).reshape(-1, features.shape[-1])
        return np.mean([np.outer(row, row) for row in flat], axis=0)

    expected = 0.0
    for name in config.gram_layers:
        first, second = (naive(toy_network()(style)[name]) for style in styles)
        wanted = (first + 0.5 * second) / 1.5
        channels = len(wanted)
        expected += ((naive(activations[name]) - wanted) ** 2).sum() / (2 * 4 * channels**2)
    value = jax.jit(gram.value, static_argnums=(2, 3))(activations, target, None, program)
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_style_losses_are_mixed_by_their_weights():
    image, terms = picture(5, 32, 32), {}
    for losses in (("mrf", "gram"), ("mrf:2", "gram:0.5")):
        config = dataclasses.replace(CONFIG, style_loss=losses)
        network, program = toy_network(), program_of(config)
        weights = TermWeights(0.0, config.style_losses(), 0.0)
        targets = compiled_prepare(
            network, None, [picture(2, 40, 40)], weights, shape=(32, 32), program=program
        )
        terms[losses] = compiled_total(network, image, targets, program=program)[1]
    alike, mixed = terms.values()
    np.testing.assert_allclose(mixed["mrf"], 2 * alike["mrf"], rtol=1e-5)
    np.testing.assert_allclose(mixed["gram"], 0.5 * alike["gram"], rtol=1e-5)


def test_the_gram_loss_falls_when_it_is_the_only_one():
    config = dataclasses.replace(CONFIG, style_loss=("gram",), init="noise", iterations=(20,))
    network, style = toy_network(), picture(2, 40, 40)
    settings = resolve(config, network, has_content=False)
    plan = make_plan((32, 32), [(40, 40)], network, settings)
    values = [progress.value for progress in run(network, None, [style], plan, settings)][1:]
    assert values[-1] < 0.1 * values[0]


def test_a_shuffled_start_is_made_of_the_style():
    style = picture(2, 40, 40)
    config = dataclasses.replace(CONFIG, init="shuffle", style_scale=1.25, iterations=(0,))
    start, _ = painted(config, styles=(style,))
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(style), (16, 16, 3))
    for corner in ((0, 0), (16, 16)):
        piece = start[corner[0] : corner[0] + 16, corner[1] : corner[1] + 16]
        assert np.abs(windows[:, :, 0] - piece).max(axis=(2, 3, 4)).min() < 1e-6


def test_a_start_from_noise_takes_the_plain_first_guess_of_the_optimizer():
    style, photograph, start = (np.asarray(picture(seed, 32, 32)) for seed in (2, 1, 3))

    def chosen(more, content=None, initial=None):
        config, planned = dataclasses.replace(CONFIG, **more), []
        arguments = {"network": toy_network(), "on_plan": planned.append}
        next(api.iterate(content, style, (32, 32), config, initial=initial, **arguments))
        return planned[0].settings.program.descent.preconditioner

    assert chosen({}) == "none"
    assert chosen({}, content=photograph) == "spectral"
    assert chosen({"init": "shuffle"}) == "spectral"
    assert chosen({"init": "noise"}, content=photograph) == "none"
    assert chosen({"init": "noise"}, initial=start) == "spectral"
    assert chosen({"preconditioner": "spectral"}) == "spectral"


def test_average_pooling_averages():
    x = np.random.default_rng(0).random((1, 5, 7, 3), np.float32)
    expected = x[:, :4, :6].reshape(1, 2, 2, 3, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(jax.jit(vgg.average_pool)(x), expected, rtol=1e-6)
    network = vgg.VGGFeatures("vgg16", "conv2_1")
    params, image = vgg_params(network), picture(1, 32, 32)
    average = dataclasses.replace(network, pooling="average")
    layers = [np.asarray(each(params, image)["relu2_1"]) for each in (network, average)]
    assert np.abs(layers[0] - layers[1]).max() > 1e-3
    strips = dataclasses.replace(average, in_strips=True)
    np.testing.assert_allclose(strips(params, image)["relu2_1"], layers[1], atol=1e-5)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"style_loss": ("mfr",)}, "no style loss 'mfr'; choose from mrf, gram"),
        ({"style_blend": (1.0, 2.0)}, "style_blend has 2 weights for 1 style"),
    ],
)
def test_contradictions_are_named(more, message):
    with pytest.raises(ConfigError, match=message):
        painted(dataclasses.replace(CONFIG, **more))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"style_loss": ("mrf:x",)}, "give NAME or NAME:WEIGHT"),
        ({"style_loss": ("mrf:-1",)}, "must be at least 0"),
        ({"style_loss": ("mrf", "mrf:2")}, "name each loss once"),
        ({"style_loss": ()}, "at least one loss"),
        ({"gram_layers": ("relu1_1", "relu1_1")}, "names a layer twice"),
        ({"style_blend": (1.0, 0.0)}, "style_blend is 0.0"),
    ],
)
def test_settings_out_of_range_are_named(more, message):
    with pytest.raises(ConfigError, match=message):
        Config(**more)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (PAIR._replace(styles=PAIR.styles * 2), r"2 style guide\(s\) for 1 style"),
        (PAIR._replace(picture=np.ones((32, 32), np.float32)), r"must be \[height, width, labels"),
        (PAIR._replace(picture=np.ones((32, 32, 3), np.float32)), "as many labels as the others"),
        (PAIR._replace(picture=np.ones((32, 40, 2), np.float32)), "same proportions"),
        (
            PAIR._replace(styles=(np.ones((40, 30, 2), np.float32),)),
            "style 1 has 30×40",
        ),
    ],
)
def test_guides_that_do_not_go_with_the_pictures_are_refused(found, message):
    network = toy_network()
    style = np.asarray(picture(2, 40, 40))
    with pytest.raises(ConfigError, match=message):
        next(api.iterate(None, style, (32, 32), CONFIG, guides=found, network=network))
    assert next(api.iterate(None, style, (32, 32), CONFIG, guides=PAIR, network=network))


def test_a_mask_of_other_proportions_is_refused():
    network = toy_network()
    content, style = (np.asarray(picture(seed, 32, 32)) for seed in (1, 2))
    mask = np.ones((32, 48), np.float32)
    with pytest.raises(ConfigError, match="the mask has 48×32 pixels"):
        next(api.iterate(content, style, (32, 32), CONFIG, mask=mask, network=network))


@pytest.mark.parametrize(
    ("height", "width", "near", "advice"),
    [
        (67, 100, 100, "size 96 gives 96×64"),
        (300, 451, 256, "size 240 gives 240×160"),
        (101, 140, 44, "crop the photograph to the proportions of 48×32"),
    ],
)
def test_advice_for_tileable_transfers_can_be_taken(height, width, near, advice):
    config = dataclasses.replace(CONFIG, tileable=True, size=near)
    with pytest.raises(ConfigError, match=advice):
        planning.result_shape((height, width), config)
    if advice.startswith("size"):
        taken = dataclasses.replace(config, size=int(advice.split()[1]))
        assert "×".join(map(str, planning.result_shape((height, width), taken)[::-1])) in advice


def test_of_the_default_gram_layers_those_that_are_not_there_are_left_out():
    features = vgg.VGGFeatures("vgg16", "conv3_1")
    network = Network(features, vgg_params(features))

    def gram_layers(config):
        settings = resolve(config, network)
        assert settings.program.gram_layers == settings.config.gram_layers
        return settings.program.gram_layers

    chosen = Config(style_loss=("gram",))
    assert gram_layers(chosen) == ("relu1_1", "relu2_1", "relu3_1")
    named = dataclasses.replace(chosen, gram_layers=("relu1_1", "relu5_1"))
    assert gram_layers(named) == named.gram_layers  # to be refused
    with pytest.raises(ConfigError, match="choose gram_layers from deep, shallow"):
        resolve(chosen, toy_network())


def test_gram_layers_that_are_not_there_are_refused():
    config = dataclasses.replace(CONFIG, style_loss=("gram",), gram_layers=("shallow", "relu5_1"))
    with pytest.raises(ConfigError, match="no layer 'relu5_1'; it has deep, shallow"):
        painted(config)


def test_labels_that_no_style_patch_has_are_found_with_the_level():
    thin = np.zeros((64, 64, guides.MAX_LABELS), np.float32)
    thin[..., 0] = 1.0
    thin[:6, :, 0], thin[:6, :, 1] = 0.0, 1.0  # 6 of 64 rows: at no center of the coarser levels
    half = np.zeros_like(thin)
    half[:32, :, 1] = half[32:, :, 0] = 1.0
    config = dataclasses.replace(CONFIG, size=64, levels=3)
    network = toy_network()
    settings = resolve(config, network, has_content=False)
    plan = make_plan((64, 64), [(64, 64)], network, settings)
    others = plan, network, settings.program.patches
    assert label_coverage.unmatched(Guides(half, (thin,)), *others) == {1: 1}
    assert not label_coverage.unmatched(Guides(thin, (half,)), *others)


def test_histograms_match_channel_by_channel():
    content, style = picture(1, 48, 48), picture(2, 40, 40) ** 2
    matched = np.asarray(match_histogram(content, (style,)))
    shares = np.linspace(0.05, 0.95, 19)

    def apart(found):
        wanted = np.quantile(np.asarray(style), shares, axis=(0, 1))
        return np.abs(np.quantile(np.asarray(found), shares, axis=(0, 1)) - wanted).max()

    assert apart(content) > 0.1
    assert apart(matched) < 0.02


def test_the_histogram_reaches_the_picture():
    content, style = picture(1, 32, 32), picture(2, 40, 40) ** 2
    starts = [
        painted(dataclasses.replace(CONFIG, color=choice, iterations=(0,)), content, (style,))[1]
        for choice in ("none", "match", "histogram")
    ]
    # The start is the content as it is; what it is compared with has the mapped colors.
    assert len({choice.config.color for choice in starts}) == 3
    matched = [np.asarray(make_pictures(content, (style,), one.config).content) for one in starts]
    assert np.abs(matched[2] - matched[0]).mean() > 0.05
    assert np.abs(matched[2] - matched[1]).mean() > 0.005


@pytest.mark.parametrize("metric", ["cosine", "distance"])
def test_the_metric_decides_what_is_nearest(metric):
    config = dataclasses.replace(CONFIG, metric=metric)
    program = program_of(config)
    style = toy_network()(picture(2, 32, 32))["deep"]
    mine = toy_network()(picture(5, 32, 32))["deep"]
    windows = [
        np.lib.stride_tricks.sliding_window_view(np.asarray(found), (3, 3, 8))[:, :, 0].reshape(
            14 * 14, -1
        )
        for found in (mine, style)
    ]
    products = windows[0] @ windows[1].T
    squares = [(each**2).sum(axis=1) for each in windows]
    cosine = products / np.sqrt(squares[0][:, None] * squares[1])
    distance = squares[0][:, None] + squares[1] - 2 * products
    nearest = {"cosine": cosine.argmax(axis=1), "distance": distance.argmin(axis=1)}
    position = matches(target_of(mrf, [picture(2, 32, 32)], program), program).ravel()
    found = position // 16 * 14 + position % 16
    assert (found == nearest[metric]).mean() > 0.99  # but for ties
    assert (nearest["cosine"] != nearest["distance"]).mean() > 0.1


def test_the_scale_of_a_style_is_that_of_its_patches():
    stripes = np.tile(np.repeat(np.float32([0.1, 0.9]), 4), 8)  # 8 pixels a period, of 64
    style = jnp.asarray(np.broadcast_to(stripes[None, :, None], (64, 64, 3)))
    periods = []
    for scale in (1.0, 2.0):
        config = dataclasses.replace(
            CONFIG,
            style_scale=scale,
            init="shuffle",
            iterations=(12,),
            color="none",
            overlap="mean",
            tv_weight=0.3,
        )
        result, _ = painted(config, None, (style,))
        power = np.abs(np.fft.rfft(result.mean(axis=2), axis=1)).mean(axis=0)[1:]
        periods.append(32 / np.average(np.arange(1, 17), weights=power**2))
    assert periods[1] > 1.5 * periods[0]


def test_a_switch_that_is_none_is_named():
    with pytest.raises(ConfigError, match="tileable is 'perhaps'; it must be true or false"):
        check_type("tileable", bool, "perhaps")


def test_more_than_sixteen_styles_are_refused():
    with pytest.raises(ConfigError, match="there are 17 styles; give 1 to 16"):
        painted(CONFIG, styles=(picture(2, 16, 16),) * 17)
