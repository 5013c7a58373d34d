import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmrf.core import energy
from jaxmrf.core.config import Config
from jaxmrf.core.features import Network
from jaxmrf.core.losses import mrf
from jaxmrf.core.matching import patches
from jaxmrf.core.settings import TermWeights, program_of
from tests.common import picture, toy_network

CONFIG = Config(
    layers=("shallow", "deep"), content_layer="deep", matching="exact", style_border=0,
    pixel_scale=4.0,
)  # fmt: skip
PROGRAM = program_of(CONFIG)
# Where two layers are not the point; it compiles in half the time.
DEEP = dataclasses.replace(CONFIG, layers=("deep",))
PROGRAM_DEEP = program_of(DEEP)
WEIGHTS = TermWeights(0.7, {"mrf": 1.3}, 0.2)
ANCHORED = WEIGHTS._replace(anchor=0.6, content_share=0.3)


def prepare(
    program,
    network=None,
    content=picture(1, 17, 14),  # noqa: B008
    weights=WEIGHTS,
):
    styles = [picture(2, 15, 18), picture(3, 14, 13)]
    network = network or toy_network()
    return compiled_prepare(network, content, styles, weights, shape=(17, 14), program=program)


compiled_match = jax.jit(mrf.match, static_argnums=2)
compiled_prepare = jax.jit(energy.prepare, static_argnames=("shape", "program"))
compiled_energy = jax.jit(energy.total, static_argnames="program")
compiled_energy_and_state = jax.jit(energy.total_and_state, static_argnames="program")
compiled_reassemble = jax.jit(patches.reassemble, static_argnums=(2, 3, 4))


@functools.partial(jax.jit, static_argnums=3)
def found_state(network, image, targets, program):
    return {"mrf": mrf.refresh(network(image), targets.style["mrf"], None, program)}


def naive_starts(length, settings):
    found = patches.positions(length, settings.patch_size, settings.style_stride)
    return found[1:-1] if settings.style_border and len(found) >= 4 else found


def naive_energy(image, config, network, weights=WEIGHTS):
    """The whole energy in NumPy, patch by patch, from the text of the paper."""
    content, styles = picture(1, 17, 14), [picture(2, 15, 18), picture(3, 14, 13)]
    maps = {k: np.asarray(v, np.float64) for k, v in network(image).items()}
    size = config.patch_size
    total = 0.0
    for name in config.layers:
        style_maps = [np.asarray(network(style)[name], np.float64) for style in styles]
        candidates = np.array(
            [
                m[y : y + size, x : x + size]
                for m in style_maps
                for y in naive_starts(m.shape[0], config)
                for x in naive_starts(m.shape[1], config)
            ]
        )
        units = candidates.reshape(len(candidates), -1)
        units = units / np.linalg.norm(units, axis=1, keepdims=True)
        f, kept = maps[name], np.asarray(network(content)[name], np.float64)
        matched = (1 - weights.anchor) * f + weights.anchor * kept
        taken = [[[] for _ in range(f.shape[1])] for _ in range(f.shape[0])]
        for y in patches.positions(f.shape[0], size, config.stride):
            for x in patches.positions(f.shape[1], size, config.stride):
                patch = matched[y : y + size, x : x + size]
                best = candidates[np.argmax(units @ patch.ravel())]
                for i, j in np.ndindex(size, size):
                    taken[y + i][x + j].append(best[i, j])
        loss = 0.0
        for y, x in np.ndindex(f.shape[:2]):
            found = np.array(taken[y][x])
            if not len(found):  # a stride above the patch size leaves some out
                continue
            if config.overlap == "rms":
                length = np.linalg.norm(found.mean(axis=0))
                found = found * min(2.0, np.sqrt((found**2).sum(axis=1).mean()) / length)
            wanted = (1 - weights.content_share) * found + weights.content_share * kept[y, x]
            squares = ((f[y, x] - wanted) ** 2).sum(axis=1)
            loss += squares.sum() if config.overlap == "sum" else squares.mean()
        pixels = np.concatenate([m.reshape(-1, m.shape[-1]) for m in style_maps])
        factor = {
            "relative": 1 / ((pixels**2).sum(axis=1).mean() * f.shape[0] * f.shape[1]),
            "authors": 0.5,
            "sum": 1.0,
        }[config.normalization]
        total += weights.style["mrf"] * factor * loss
    target = np.asarray(network(content)[config.content_layer], np.float64)
    factor = {
        "relative": 1 / (target**2).sum(),
        "authors": 1 / target.size,
        "sum": 1.0,
    }[config.normalization]
    total += weights.content * factor * ((maps[config.content_layer] - target) ** 2).sum()
    variation = (np.diff(image, axis=0) ** 2).sum() + (np.diff(image, axis=1) ** 2).sum()
    factor = {"relative": 1 / image[..., 0].size, "authors": 0.5, "sum": 1.0}
    return total + weights.tv * factor[config.normalization] * config.pixel_scale**2 * variation


def combinations():
    """Yields all combinations; those that have no pair which others lack are slow."""
    strides, overlaps = [(1, 1), (2, 2), (3, 1)], ["mean", "rms", "sum"]
    for stride, overlap, normalization in itertools.product(range(3), range(3), range(3)):
        of_a_latin_square = (stride + overlap + normalization) % 3 == 1  # has the default
        yield pytest.param(
            *strides[stride],
            overlaps[overlap],
            ("relative", "authors", "sum")[normalization],
            marks=() if of_a_latin_square else pytest.mark.slow,
        )


@pytest.mark.parametrize(("stride", "style_stride", "overlap", "normalization"), [*combinations()])
def test_energy_equals_the_naive_one(normalization, overlap, stride, style_stride, toy):
    config = dataclasses.replace(
        CONFIG,
        normalization=normalization,
        overlap=overlap,
        stride=stride,
        style_stride=style_stride,
    )
    if config != CONFIG:
        config = dataclasses.replace(config, layers=DEEP.layers)
    image = picture(5, 17, 14)
    program = program_of(config)
    value, terms = compiled_energy(toy, image, prepare(program), program=program)
    np.testing.assert_allclose(value, naive_energy(image, config, toy), rtol=1e-4)
    assert set(terms) == {"content", "mrf", "tv"}
    np.testing.assert_allclose(sum(terms.values()), value, rtol=1e-6)


@pytest.mark.parametrize("overlap", ["mean", "rms", "sum"])
@pytest.mark.parametrize("border", [0, 1])
def test_anchored_energy_equals_the_naive_one(overlap, border, toy):
    config = dataclasses.replace(DEEP, overlap=overlap, style_border=border)
    image = picture(5, 17, 14)
    program = program_of(config)
    targets = prepare(program, weights=ANCHORED)
    value, _ = compiled_energy(toy, image, targets, program=program)
    expected = naive_energy(image, config, toy, ANCHORED)
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_with_anchor_one_the_matches_do_not_depend_on_the_picture(toy):
    def positions(targets):
        layers = (toy(picture(seed, 17, 14)) for seed in (5, 6))
        matches = [compiled_match(each, targets.style["mrf"], PROGRAM) for each in layers]
        return [{name: np.asarray(m.position) for name, m in match.items()} for match in matches]

    one, other = positions(prepare(PROGRAM, weights=ANCHORED._replace(anchor=1.0)))
    for name in CONFIG.layers:
        np.testing.assert_array_equal(one[name], other[name])
    one, other = positions(prepare(PROGRAM))
    assert (one["deep"] != other["deep"]).any()


def test_colors_are_put_together_at_the_matches_and_keep_the_styles_distribution(toy):
    targets = prepare(PROGRAM_DEEP, weights=ANCHORED._replace(content_share=0.0)).style["mrf"]
    layers = toy(picture(5, 17, 14))
    painted = jax.jit(mrf.painted, static_argnums=2)(layers, targets, PROGRAM_DEEP)
    sheet = np.asarray(targets.colors["deep"]).reshape(-1, 3)
    columns = targets.colors["deep"].shape[1]
    match = np.asarray(compiled_match(layers, targets, PROGRAM_DEEP)["deep"].position)
    middle = [sheet[match[3 - i, 3 - j] + i * columns + j] for i, j in np.ndindex(3, 3)]
    mean = np.asarray(
        compiled_reassemble(targets.colors["deep"], match, layers["deep"].shape[:2], 3, 1)
    )
    np.testing.assert_allclose(mean[3, 3], np.mean(middle, axis=0), rtol=1e-5)
    assert np.std(painted["deep"].colors) > mean.std()


@pytest.mark.parametrize("stride", [1, 2])
def test_gradient_is_the_one_the_authors_write_by_hand(stride):
    """The identity of docs/design.md: mylib/mrf.lua averages match − patch over overlaps."""
    config = dataclasses.replace(
        CONFIG, normalization="authors", overlap="mean", stride=stride, layers=("deep",)
    )

    program = program_of(config)
    network = Network(lambda params, image: {"deep": image}, {})
    generator = np.random.default_rng(4)
    image = jnp.asarray(generator.random((11, 12, 3), np.float32))
    style = jnp.asarray(generator.random((9, 9, 3), np.float32))
    targets = compiled_prepare(
        network,
        None,
        [style],
        TermWeights(0.0, {"mrf": 1.0}, 0.0),
        shape=(11, 12),
        program=program,
    )
    gradient = jax.jit(
        jax.grad(lambda image: energy.total(network, image, targets, program=program)[0])
    )(image)

    match = compiled_match({"deep": image}, targets.style["mrf"], program)["deep"]
    origin = np.asarray(match.position)
    by_hand, count = np.zeros_like(image), np.zeros((11, 12, 1))
    for i, y in enumerate(patches.positions(11, 3, stride)):
        for j, x in enumerate(patches.positions(12, 3, stride)):
            v, u = divmod(int(origin[i, j]), 9)
            difference = style[v : v + 3, u : u + 3] - image[y : y + 3, x : x + 3]
            by_hand[y : y + 3, x : x + 3] += difference
            count[y : y + 3, x : x + 3] += 1
    np.testing.assert_allclose(gradient, -by_hand / count, atol=1e-5)


def test_gradient_equals_finite_differences_in_float64():
    with jax.enable_x64(True):
        network = toy_network(dtype=jnp.float64)
        image = np.asarray(picture(5, 17, 14), np.float64)
        targets = compiled_prepare(
            network,
            jnp.asarray(picture(1, 17, 14), jnp.float64),
            [jnp.asarray(picture(2, 15, 18), jnp.float64)],
            WEIGHTS,
            shape=(17, 14),
            program=PROGRAM_DEEP,
        )
        state = found_state(network, image, targets, PROGRAM_DEEP)

        @jax.jit
        def value(image):
            return energy.total(network, image, targets, state, program=PROGRAM_DEEP)[0]

        gradient = jax.jit(jax.grad(value))(image)
        for seed in range(3):
            direction, step = np.random.default_rng(seed).standard_normal(image.shape), 1e-6
            values = [float(value(image + side * step * direction)) for side in (1, -1)]
            slope = (values[0] - values[1]) / (2 * step)
            np.testing.assert_allclose(np.vdot(gradient, direction), slope, rtol=1e-5)


def test_given_matches_and_matches_found_inside_agree(toy):
    image, targets = picture(5, 17, 14), prepare(PROGRAM_DEEP)
    state = found_state(toy, image, targets, PROGRAM_DEEP)
    inside = compiled_energy(toy, image, targets, program=PROGRAM_DEEP)[0]
    given = compiled_energy(toy, image, targets, state, program=PROGRAM_DEEP)[0]
    np.testing.assert_allclose(inside, given, rtol=1e-6)


def test_the_state_keeps_the_matches_until_they_are_refreshed(toy):
    targets = prepare(PROGRAM_DEEP)
    first, second = picture(5, 17, 14), picture(6, 17, 14)
    state = energy.init_state(toy, first, targets, program=PROGRAM_DEEP)
    for image, refresh, matched in ((first, True, first), (second, False, first)):
        value, (_, state) = compiled_energy_and_state(
            toy, image, targets, state, np.asarray(refresh), program=PROGRAM_DEEP
        )
        kept = found_state(toy, matched, targets, PROGRAM_DEEP)
        expected = compiled_energy(toy, image, targets, kept, program=PROGRAM_DEEP)[0]
        np.testing.assert_allclose(value, expected, rtol=1e-5)
    fresh = compiled_energy(toy, second, targets, program=PROGRAM_DEEP)[0]
    assert abs(value - fresh) > 1e-3 * fresh


def test_unguided_synthesis_has_no_content_term(toy):
    targets = prepare(PROGRAM_DEEP, content=None)
    _, terms = compiled_energy(toy, picture(5, 17, 14), targets, program=PROGRAM_DEEP)
    assert set(terms) == {"mrf", "tv"}


def test_default_weights_do_not_depend_on_the_scale_of_the_network():
    image = picture(5, 17, 14)
    plain, scaled = toy_network(), toy_network((10.0, 0.02))
    values = [
        compiled_energy(network, image, prepare(PROGRAM_DEEP, network), program=PROGRAM_DEEP)[1]
        for network in (plain, scaled)
    ]
    for name in values[0]:
        np.testing.assert_allclose(values[0][name], values[1][name], rtol=1e-4)


def test_energy_is_one_compiled_program_without_constants_of_the_targets(toy):
    """Targets are arguments: other targets of the same shapes do not compile again."""
    compiled = jax.jit(functools.partial(energy.total, program=PROGRAM_DEEP))
    image = picture(5, 17, 14)
    for content in (picture(1, 17, 14), picture(9, 17, 14)):
        compiled(toy, image, prepare(PROGRAM_DEEP, content=content))
    assert compiled._cache_size() == 1
