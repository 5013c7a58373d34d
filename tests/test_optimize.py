import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmrf.core.optimize import bands, lbfgs, optimizers
from jaxmrf.core.settings import DescentSettings, Program


def rosenbrock(x):
    flat = x.ravel()
    value = jnp.sum(100 * (flat[1:] - flat[:-1] ** 2) ** 2 + (1 - flat[:-1]) ** 2)
    return value, {"rosenbrock": value}


def polynomial(x, squares, slope, constant):
    """Its coefficients are traced: what is proved with it shares a program."""
    value = jnp.sum(squares * x**2) + slope * jnp.sum(x) + constant
    return value, {"polynomial": value}


def increasing(shape):
    """Returns the coefficients of a quadratic whose curvature grows from number to number."""
    return np.arange(1.0, np.prod(shape) + 1).reshape(shape), 0.0, 0.0


def trigonometric(x):
    """Has regions of negative curvature, which the guard must leave out."""
    value = jnp.sum(jnp.cos(3 * x)) + 0.1 * jnp.sum(x**2)
    return value, {"trigonometric": value}


@functools.partial(jax.jit, static_argnums=0)
def gradient_of(objective, x, *coefficients):
    return jax.grad(lambda x: objective(x, *coefficients)[0])(x)


def authors_lbfgs(objective, x, iterations, history, coefficients=()):
    """mylib/myoptimizer.lua in NumPy, float64, without its stopping rules."""

    def gradient(x):
        return np.asarray(gradient_of(objective, x, *coefficients), np.float64).ravel()

    shape, x = x.shape, np.asarray(x, np.float64).ravel()
    g = gradient(x.reshape(shape))
    steps, differences, scale, path, skipped = [], [], 1.0, [x.copy()], 0
    for k in range(iterations):
        if k == 0:
            direction, length = -g, min(1.0, 1.0 / np.abs(g).sum())
        else:
            y, s = g - g_old, direction * length
            if y @ s > 1e-10:
                steps, differences = [*steps, s][-history:], [*differences, y][-history:]
                scale = (y @ s) / (y @ y)
            else:
                skipped += 1
            q, alphas = -g, []
            for s, y in zip(reversed(steps), reversed(differences), strict=True):
                alphas.append((s @ q) / (y @ s))
                q = q - alphas[-1] * y
            q = q * scale
            for s, y, alpha in zip(steps, differences, reversed(alphas), strict=True):
                q = q + s * (alpha - (y @ q) / (y @ s))
            direction, length = q, 1.0
        g_old = g  # noqa: F841
        x = x + length * direction
        g = gradient(x.reshape(shape))
        path.append(x.copy())
    return np.array(path), skipped


@functools.partial(jax.jit, static_argnames=("objective", "optimizer"))
def step(state, coefficients, *, objective, optimizer):
    def of_picture(x):
        return objective(x, *coefficients)

    return optimizers.step(state, objective=of_picture, optimizer=optimizer)


def run(objective, start, iterations, descent, coefficients=()):
    optimizer = optimizers.make_optimizer(descent)
    state = optimizers.init(jnp.asarray(start), optimizer)
    path, records = [np.asarray(state.image).ravel()], []
    for _ in range(iterations):
        state, record = step(state, coefficients, objective=objective, optimizer=optimizer)
        path.append(np.asarray(state.image).ravel())
        records.append(record)
    return np.array(path), records


SHAPE = (6, 6, 3)
"""Of what is proved with the default optimizer of a polynomial."""


@pytest.mark.parametrize("history", [1, 3, 25])
def test_lbfgs_walks_the_path_of_the_authors_code(history):
    with jax.enable_x64(True):
        start = np.random.default_rng(0).random((2, 3, 3)) + 0.5
        descent = DescentSettings(history=history, taxicab_first_step=True, preconditioner="none")
        coefficients = increasing(start.shape)
        path, _ = run(polynomial, start, 12, descent, coefficients)
        expected, _ = authors_lbfgs(polynomial, start, 12, history, coefficients)
    np.testing.assert_allclose(path, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("iterations", [1, 2, 7, 40])
def test_a_level_gets_the_memory_that_its_iterations_fill(iterations):
    whole = DescentSettings(history=25)
    level = Program(descent=whole).for_level(iterations).descent
    start = np.random.default_rng(1).random((6, 5, 3)) + 0.5

    def path_of(descent):
        with jax.enable_x64(True):
            return run(polynomial, start, iterations, descent, increasing(start.shape))[0]

    expected = path_of(whole)
    np.testing.assert_allclose(path_of(level), expected, rtol=1e-9, atol=1e-12)
    if iterations > 2:  # the oldest correction matters still, so none is too many
        shorter = dataclasses.replace(whole, history=level.history - 1)
        assert np.abs(path_of(shorter) - expected).max() > 1e-6


def test_without_a_memory_any_number_of_iterations_has_one_program():
    program = Program(descent=DescentSettings(optimizer="adam"))
    assert program.for_level(2) == program.for_level(40) == program


def test_lbfgs_leaves_out_pairs_of_negative_curvature_as_the_authors_do():
    with jax.enable_x64(True):
        start = np.random.default_rng(3).uniform(0.6, 1.6, (2, 2, 3))
        descent = DescentSettings(history=4, taxicab_first_step=True, preconditioner="none")
        path, _ = run(trigonometric, start, 15, descent)
        expected, skipped = authors_lbfgs(trigonometric, start, 15, 4)
    assert skipped > 0
    np.testing.assert_allclose(path, expected, rtol=1e-9)


def test_without_any_accepted_pair_steps_stay_bounded():
    """Where the authors' code would step by the whole gradient: all curvature is negative."""
    coefficients = np.full(SHAPE, -50.0, np.float32), 0.0, 0.0
    path, _ = run(polynomial, np.full(SHAPE, 0.1, np.float32), 3, DescentSettings(), coefficients)
    assert (np.linalg.norm(np.diff(path, axis=0), axis=1) <= 1 + 1e-5).all()


def test_lbfgs_with_line_search_solves_rosenbrock():
    start = np.full((1, 2, 3), -1.2, np.float32)
    path, records = run(rosenbrock, start, 80, DescentSettings(line_search="zoom"))
    assert records[-1].value < 1e-6
    np.testing.assert_allclose(path[-1], 1.0, atol=1e-2)


def test_adam_walks_downhill():
    start, descent = np.ones((2, 2, 3), np.float32), DescentSettings("adam", learning_rate=0.05)
    path, records = run(polynomial, start, 60, descent, increasing(start.shape))
    assert records[-1].value < 1e-2 * records[0].value
    np.testing.assert_allclose(np.abs(path[1] - path[0]), 0.05, rtol=1e-3)


def test_a_step_from_a_value_that_is_not_finite_keeps_the_picture():
    start, endless = np.ones(SHAPE, np.float32), (np.zeros(SHAPE, np.float32), np.inf, 0.0)
    path, records = run(polynomial, start, 2, DescentSettings(), endless)
    assert not records[0].finite
    np.testing.assert_array_equal(path[-1], path[0])


def test_records_report_the_picture_they_started_from():
    squares = np.zeros(SHAPE, np.float32)
    squares[0, 0] = 1, 2, 3
    start = np.ones(SHAPE, np.float32)
    _, records = run(polynomial, start, 1, DescentSettings(), (squares, 0.0, 0.0))
    assert records[0].value == 6.0
    np.testing.assert_allclose(records[0].gradient_norm, np.sqrt(4 + 16 + 36), rtol=1e-6)


def test_equal_settings_share_an_optimizer():
    descent = DescentSettings()
    assert optimizers.make_optimizer(descent) is optimizers.make_optimizer(
        dataclasses.replace(descent)
    )


def spectral_lbfgs(gradient_of, x, iterations, history):
    """Algorithm 7.4 of Nocedal & Wright with two loops, in NumPy, float64.

    Its first guess is a number for each band of frequencies and opponent color, from
    whole complex spectra.
    """
    height, width = x.shape[:2]
    colors = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    masks = [frequency >= edge for edge in (0, *bands.BAND_EDGES)]
    masks = [low & ~high for low, high in zip(masks, [*masks[1:], frequency > 9], strict=True)]

    def spectrum(values):
        return np.fft.fft2(values @ colors.T, axes=(0, 1)) / np.sqrt(height * width)

    def per_band(a, b):
        products = np.real(a * b.conj())
        return np.array([products[band].sum(axis=0) for band in masks])

    pairs, path = [], [x.copy()]
    over, under = np.zeros((7, 3)), np.zeros((7, 3))
    g = gradient_of(x)
    for k in range(iterations):
        if k > 0:
            s, y = x - x_old, g - g_old
            if np.vdot(s, y) > 1e-10:
                pairs = [*pairs, (s, y)][-history:]
                over += per_band(spectrum(s), spectrum(s)) / np.vdot(y, y)
                under += per_band(spectrum(s), spectrum(y)) / np.vdot(y, y)
        if pairs:
            q, alphas = g, []
            for s, y in reversed(pairs):
                alphas.append(np.vdot(s, q) / np.vdot(s, y))
                q = q - alphas[-1] * y
            middle = over.sum() / under.sum()
            with np.errstate(divide="ignore", invalid="ignore"):
                guess = np.where(under > 0, over / under, np.inf)
            guess = np.where(over > 0, np.clip(guess, middle / 30, middle * 30), middle)
            spectra = spectrum(q)
            for band, scale in zip(masks, guess, strict=True):
                spectra[band] *= scale
            q = np.real(np.fft.ifft2(spectra * np.sqrt(height * width), axes=(0, 1))) @ colors
            for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
                q = q + s * (alpha - np.vdot(y, q) / np.vdot(s, y))
        else:
            q = 1e-3 * g / np.sqrt(np.mean(g**2))
        x_old, g_old = x, g  # noqa: F841
        x = x - q
        g = gradient_of(x)
        path.append(x.copy())
    return np.array(path).reshape(iterations + 1, -1)


@pytest.mark.parametrize("shape", [(9, 12, 3), (8, 7, 3)])
def test_spectral_lbfgs_walks_the_path_of_the_two_loops(shape, monkeypatch):
    monkeypatch.setattr(lbfgs, "ALLOWED_RISE", 1e9)

    def blurred(x):
        """Feels fine detail more than slow changes, as features do."""
        detail = jnp.diff(x, axis=0)[:, :-1] + 2 * jnp.diff(x, axis=1)[:-1]
        value = jnp.sum(detail**2) + 0.3 * jnp.sum(jnp.sin(x)) + 0.05 * jnp.sum(x**2)
        return value, {"blurred": value}

    with jax.enable_x64(True):
        start = np.random.default_rng(0).random(shape)
        path, _ = run(blurred, start, 9, DescentSettings(history=4))
        expected = spectral_lbfgs(
            lambda x: np.asarray(gradient_of(blurred, x)), start, 9, history=4
        )
    np.testing.assert_allclose(path, expected, rtol=1e-6, atol=1e-7)


def test_a_step_that_makes_it_much_worse_is_taken_back():
    """A stiff energy: the first step is far too long."""
    start, stiff = np.full(SHAPE, 4e-5, np.float32), (np.full(SHAPE, 5e4, np.float32), 1.0, 1.0)
    path, records = run(polynomial, start, 12, DescentSettings(), stiff)
    values = np.array([record.value for record in records])
    assert values[1] > 2 * values[0]
    np.testing.assert_array_less(values[2:], 1.5 * values[0])
    assert values[-1] < values[0]
    np.testing.assert_allclose(path[-1], -1e-5, atol=1e-6)


@pytest.mark.parametrize("side", [6, 60])
def test_the_first_step_is_of_one_size_whatever_the_picture_is(side):
    start = np.random.default_rng(0).random((side, side, 3), np.float32)
    squares = np.float32(increasing(start.shape)[0]), 0.0, 0.0
    path, _ = run(polynomial, start, 1, DescentSettings(), squares)
    np.testing.assert_allclose(np.sqrt(np.mean((path[1] - path[0]) ** 2)), 1e-3, rtol=1e-3)
    still, _ = run(polynomial, np.zeros_like(start), 1, DescentSettings(), squares)
    np.testing.assert_array_equal(still[1], 0.0)


def test_spectral_guess_needs_fewer_iterations_where_bands_differ():
    def stiff(x):
        value = 50 * jnp.sum(jnp.diff(x, axis=0) ** 2) + 0.05 * jnp.sum((x - 0.5) ** 2)
        return value, {"stiff": value}

    start = np.random.default_rng(1).random((32, 32, 3), np.float32)
    energies = {
        name: run(stiff, start, 25, DescentSettings(history=5, preconditioner=name))[1][-1].value
        for name in ("none", "spectral")
    }
    assert energies["spectral"] < 0.9 * energies["none"]
