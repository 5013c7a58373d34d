"""Each control does what its name says: tests that fail when it does nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmrf import energy, gram, mrf, vgg
from jaxmrf.config import Config, ConfigError
from jaxmrf.energy import Weights
from jaxmrf.exemplars import Exemplars, Guides
from jaxmrf.transfer import make_plan, run
from tests.conftest import ToyNetwork, picture, toy_params

CONFIG = Config(
    size=32, levels=1, layers=("deep",), content_layer="deep", gram_layers=("shallow", "deep"),
    iterations=(6,), match_every=1,
)  # fmt: skip


def painted(config, content=None, styles=(picture(2, 40, 40),), shape=(32, 32), **more):  # noqa: B008
    params = toy_params()
    shapes = [style.shape[:2] for style in styles]
    arguments = {"features": ToyNetwork(), "config": config}
    plan = make_plan(shape, shapes, params, guided=content is not None, **arguments)
    *_, last = run(params, content, styles, plan, **arguments, **more)
    return np.asarray(last.picture()), last


def exemplars(styles, shape=(16, 16), **more):
    maps = tuple(ToyNetwork()(toy_params(), style) for style in styles)
    return Exemplars(maps, {"shallow": (2 * shape[0], 2 * shape[1]), "deep": shape}, **more)


def matches(target, config, seed=5):
    activations = ToyNetwork()(toy_params(), picture(seed, 32, 32))
    return np.asarray(mrf.match(activations, target, config)["deep"].position)


def test_a_weight_gives_a_style_more_patches():
    styles = [picture(2, 32, 32), picture(3, 32, 32)]
    shares = []
    for blend in ([1.0, 0.1], None, [0.1, 1.0]):
        blend = None if blend is None else jnp.asarray(blend)
        target = mrf.prepare(exemplars(styles, blend=blend), CONFIG)
        shares.append((matches(target, CONFIG) // 16 >= 16).mean())  # rows of the second style
    assert shares[0] < shares[1] - 0.1
    assert shares[1] < shares[2] - 0.1


@pytest.mark.parametrize("metric", ["cosine", "distance"])
def test_patches_stay_within_their_label(metric):
    config = dataclasses.replace(CONFIG, metric=metric)
    left = jnp.zeros((32, 32, 2)).at[:, :16, 0].set(1.0).at[:, 16:, 1].set(1.0)
    right = left[:, ::-1]  # what is on the left in the picture is on the right in the style
    found = exemplars([picture(2, 32, 32)], guides=Guides(left, (right,)))
    center_of = np.arange(14) + 1  # of the patch that starts there
    for weight, crossing in ((1.0, False), (0.0, True)):
        config = dataclasses.replace(config, guide_weight=weight)
        column = matches(mrf.prepare(found, config), config) % 16 + 1
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
    arguments = {"features": ToyNetwork(), "config": config}
    weights = Weights(0.0, {"mrf": 1.0, "gram": 1.0}, 1.0)
    targets = energy.prepare(
        toy_params(), None, [picture(2, 40, 40)], weights, shape=(32, 32), **arguments
    )
    image = picture(5, 32, 32)
    values = [
        energy.energy(jnp.roll(image, shift, (0, 1)), toy_params(), targets, **arguments)[1]
        for shift in ((0, 0), (8, 14))
    ]
    np.testing.assert_allclose(values[0]["mrf"], values[1]["mrf"], rtol=1e-4)
    np.testing.assert_allclose(values[0]["gram"], values[1]["gram"], rtol=1e-4)
    np.testing.assert_allclose(values[0]["tv"], values[1]["tv"], rtol=1e-4)


def test_sides_of_a_tileable_picture_that_do_not_go_are_named():
    with pytest.raises(ConfigError, match="multiples of 16, 36×48 are not; try 48x48"):
        painted(dataclasses.replace(CONFIG, tileable=True), shape=(48, 36))


def test_variety_takes_patches_less_often():
    activations = ToyNetwork()(toy_params(), picture(5, 32, 32))
    most = []
    for variety in (0.0, 0.5):
        config = dataclasses.replace(CONFIG, variety=variety)
        target, memory = mrf.prepare(exemplars([picture(2, 32, 32)]), config), None
        for _ in range(4):
            memory = mrf.remember(activations, target, memory, config)
        uses = None if memory is None else memory["deep"].uses
        if uses is None:
            uses = np.bincount(matches(target, config).ravel())
        most.append(float(np.max(uses)))
    assert most[1] < 0.7 * most[0]


def test_the_gram_loss_is_the_one_of_its_definition():
    styles = [picture(2, 32, 32), picture(3, 30, 20)]
    config = dataclasses.replace(CONFIG, normalization="sum", style_loss=("gram",))
    target = gram.prepare(exemplars(styles, blend=jnp.asarray([1.0, 0.5])), config)
    activations = ToyNetwork()(toy_params(), picture(5, 32, 32))

    def naive(features):
        flat = np.asarray(features, np.float64).reshape(-1, features.shape[-1])
        return np.mean([np.outer(row, row) for row in flat], axis=0)

    expected = 0.0
    for name in config.gram_layers:
        first, second = (naive(ToyNetwork()(toy_params(), style)[name]) for style in styles)
        wanted = (first + 0.5 * second) / 1.5
        channels = len(wanted)
        expected += ((naive(activations[name]) - wanted) ** 2).sum() / (2 * 4 * channels**2)
    value = gram.value(activations, target, None, config)
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_style_losses_are_mixed_by_their_weights():
    image, terms = picture(5, 32, 32), {}
    for losses in (("mrf",), ("gram",), ("mrf:2", "gram:0.5")):
        config = dataclasses.replace(CONFIG, style_loss=losses)
        arguments = {"features": ToyNetwork(), "config": config}
        weights = Weights(0.0, config.style_losses(), 0.0)
        targets = energy.prepare(
            toy_params(), None, [picture(2, 40, 40)], weights, shape=(32, 32), **arguments
        )
        terms[losses] = energy.energy(image, toy_params(), targets, **arguments)[1]
    mixed = terms["mrf:2", "gram:0.5"]
    np.testing.assert_allclose(mixed["mrf"], 2 * terms[("mrf",)]["mrf"], rtol=1e-5)
    np.testing.assert_allclose(mixed["gram"], 0.5 * terms[("gram",)]["gram"], rtol=1e-5)


def test_the_gram_loss_falls_when_it_is_the_only_one():
    config = dataclasses.replace(CONFIG, style_loss=("gram",), init="noise", iterations=(20,))
    values = []
    params, style = toy_params(), picture(2, 40, 40)
    arguments = {"features": ToyNetwork(), "config": config}
    plan = make_plan((32, 32), [(40, 40)], params, guided=False, **arguments)
    values = [progress.value for progress in run(params, None, [style], plan, **arguments)][1:]
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
    def config_of(more, **start):
        return painted(dataclasses.replace(CONFIG, iterations=(0,), **more), **start)[1].config

    content, initial = picture(1, 32, 32), picture(3, 32, 32)
    assert config_of({}).preconditioner == "none"
    assert config_of({}, content=content).preconditioner == "spectral"
    assert config_of({"init": "shuffle"}).preconditioner == "spectral"
    assert config_of({"init": "noise"}, content=content).preconditioner == "none"
    assert config_of({"init": "noise"}, initial=initial).preconditioner == "spectral"
    assert config_of({"preconditioner": "spectral"}).preconditioner == "spectral"


def test_average_pooling_averages():
    x = jax.random.uniform(jax.random.key(0), (1, 5, 7, 3))
    expected = np.asarray(x)[:, :4, :6].reshape(1, 2, 2, 3, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(vgg.average_pool(x), expected, rtol=1e-6)
    network = vgg.Network("vgg16", "conv2_1")
    params, image = network.random_params(jax.random.key(0)), picture(1, 32, 32)
    average = dataclasses.replace(network, pooling="average")
    layers = [each(params, image)["relu2_1"] for each in (network, average)]
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
        ({"style_blend": (1.0, 0.0)}, "style_blend is 0.0"),
    ],
)
def test_settings_out_of_range_are_named(more, message):
    with pytest.raises(ConfigError, match=message):
        Config(**more)


def test_more_than_sixteen_styles_are_refused():
    with pytest.raises(ConfigError, match="there are 17 styles; give 1 to 16"):
        painted(CONFIG, styles=(picture(2, 16, 16),) * 17)
