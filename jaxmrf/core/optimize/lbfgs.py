"""L-BFGS as an optax transformation, its first guess learned for each band of frequencies.

L-BFGS multiplies the gradient by an approximation of the inverse Hessian that grows from
a first guess. The usual guess is one number. A network's features hardly feel slow changes
of brightness and feel fine ones strongly, so here the guess may be a number for each band
of spatial frequencies and each opponent color, learned from the steps of the run:
docs/experiments.md has what that saves.
"""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from jaxmrf.core.config import Preconditioner
from jaxmrf.core.numerics import dot
from jaxmrf.core.optimize.bands import (
    BAND_EDGES,
    band_products,
    bands_of,
    opponent_colors,
    spectrum,
)

CURVATURE_FLOOR = 1e-10
"""Pairs with y·s at most this are left out (mylib/myoptimizer.lua, ``ys > 1e-10``)."""

ALLOWED_RISE = 0.5
"""A step that raises the energy by more than this share of it is taken back. Smaller rises
are part of a walk without line search, and new matches raise it a little."""

MOST_TAKEN_BACK = 4
"""So many steps in a row are taken back, each half as long as the one before."""

FIRST_STEP = 1e-3
"""What the first step changes a value by, as the root of the mean square. One that shrinks with
the number of pixels tells little of the curvature that the next ones meet: at 3840 pixels the
second step doubled the energy (docs/experiments.md)."""

BAND_RANGE = 30.0
"""A band's guess stays within this factor of the guess for all bands together."""


class LbfgsState(NamedTuple):
    """The state of L-BFGS; s are differences of pictures, y those of gradients.

    Attributes:
      pairs: number of accepted pairs.
      picture: the picture that the next pair starts from, flattened: that of the last call
        or, if its step was taken back, the one before.
      gradient: its gradient, flattened.
      value: its energy; infinite before the first call.
      taken_back: number of steps from this picture that were taken back.
      steps: the last accepted s, one per row, in the rows `pairs` modulo history.
      differences: the y that belong to them.
      products: products[i, j] = s_i · y_j.
      scale: s·y / y·y of the last accepted pair.
      band_steps: sum over all pairs of ‖s‖² / ‖y‖² by band and color.
      band_products: sum over all pairs of s·y / ‖y‖² by band and color.
    """

    pairs: Int[Array, ""]
    picture: Float[Array, " n"]
    gradient: Float[Array, " n"]
    value: Float[Array, ""]
    taken_back: Int[Array, ""]
    steps: Float[Array, "history n"]
    differences: Float[Array, "history n"]
    products: Float[Array, "history history"]
    scale: Float[Array, ""]
    band_steps: Float[Array, "bands c"]
    band_products: Float[Array, "bands c"]


def scale_by_lbfgs(
    history: int, preconditioner: Preconditioner = "none", *, taxicab_first_step: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Multiplies gradients by the L-BFGS approximation of the inverse Hessian.

    Nocedal & Wright 2006, algorithm 7.4, its two loops solved as triangular systems of the
    inner products, so that the kept pairs are read four times by matrix products.

    Args:
      history: number of pairs that are kept.
      preconditioner: ``none``: the first guess is s·y / y·y of the last pair (Nocedal &
        Wright 2006, equation 7.20). ``spectral``: one number per band and color.
      taxicab_first_step: the first step is min(1, 1/‖g‖₁) times the gradient as the authors'
        (mylib/myoptimizer.lua), not of the size `FIRST_STEP`.
    """

    def init(image: Float[Array, "h w c"]) -> LbfgsState:
        flat = jnp.zeros(image.size, image.dtype)
        rows = jnp.zeros((history, image.size), image.dtype)
        bands = jnp.zeros((len(BAND_EDGES) + 1, image.shape[2]), image.dtype)
        return LbfgsState(
            pairs=jnp.zeros((), jnp.int32),
            picture=flat,
            gradient=flat,
            value=jnp.full((), jnp.inf, image.dtype),
            taken_back=jnp.zeros((), jnp.int32),
            steps=rows,
            differences=rows,
            products=jnp.zeros((history, history), image.dtype),
            scale=jnp.ones((), image.dtype),
            band_steps=bands,
            band_products=bands,
        )

    def update(
        gradient: Float[Array, "h w c"],
        state: LbfgsState,
        image: Float[Array, "h w c"],
        *,
        value: Float[Array, ""],
        **_: Any,
    ) -> tuple[Float[Array, "h w c"], LbfgsState]:
        state = _with_last_step(state, image, gradient, preconditioner)
        state = _move_on(state, image, gradient, value, careful=preconditioner != "none")
        first = _first_step(gradient, taxicab=taxicab_first_step)

        def guess(flat: Array) -> Array:
            if preconditioner == "none":
                return state.scale * flat
            return _scale_bands(flat.reshape(image.shape), state).ravel()

        direction = _direction(state.gradient, state, guess).reshape(image.shape)
        direction = jnp.where(state.pairs > 0, direction, first)
        # The way back to where the step started, and a shorter step from there.
        back = image - state.picture.reshape(image.shape)
        return back + 0.5**state.taken_back * direction, state

    # To optax a transformation is one of any tree; this one is of a picture.
    return optax.GradientTransformationExtraArgs(
        cast(optax.TransformInitFn, init), cast(optax.TransformUpdateExtraArgsFn, update)
    )


def _first_step(gradient: Array, *, taxicab: bool) -> Array:
    """Returns the gradient, scaled for a step before there is any pair."""
    if taxicab:
        return jnp.minimum(1.0, 1.0 / jnp.sum(jnp.abs(gradient))) * gradient
    size = jnp.sqrt(jnp.mean(jnp.square(gradient)))
    return jnp.where(size > 0, FIRST_STEP / size, 0.0) * gradient


def _with_last_step(
    state: LbfgsState, image: Array, gradient: Array, preconditioner: Preconditioner
) -> LbfgsState:
    """Returns the state with the pair of the last step, if that saw enough curvature."""
    s, y = image.ravel() - state.picture, gradient.ravel() - state.gradient
    curvature, square = dot(s, y), dot(y, y)
    accepted = jnp.isfinite(state.value) & (curvature > CURVATURE_FLOOR)
    slot = state.pairs % state.steps.shape[0]

    def put(rows: Array, row: Array) -> Array:
        kept = lax.dynamic_index_in_dim(rows, slot, keepdims=False)
        return lax.dynamic_update_index_in_dim(rows, jnp.where(accepted, row, kept), slot, 0)

    steps, differences = put(state.steps, s), put(state.differences, y)
    products = put(put(state.products, dot(differences, s)).T, dot(steps, y)).T
    state = state._replace(
        pairs=state.pairs + accepted.astype(jnp.int32),
        steps=steps,
        differences=differences,
        products=products,
        scale=jnp.where(accepted, curvature / square, state.scale),
    )
    if preconditioner == "none":
        return state
    slow, fast = spectrum(s.reshape(image.shape)), spectrum(y.reshape(image.shape))

    def add(total: Array, other: Array) -> Array:
        seen = band_products(slow, other, image.shape[1]) / square
        return total + jnp.where(accepted, seen, 0.0)

    return state._replace(
        band_steps=add(state.band_steps, slow), band_products=add(state.band_products, fast)
    )


def _move_on(
    state: LbfgsState, image: Array, gradient: Array, value: Array, *, careful: bool
) -> LbfgsState:
    """Goes on from the new picture, or, if it is much worse, again from the last one."""
    worse = value > state.value + ALLOWED_RISE * jnp.abs(state.value)
    # With other matches the last picture may be as bad by now, so there is an end to it.
    worse &= careful & (state.taken_back < MOST_TAKEN_BACK)
    return state._replace(
        picture=jnp.where(worse, state.picture, image.ravel()),
        gradient=jnp.where(worse, state.gradient, gradient.ravel()),
        value=jnp.where(worse, state.value, value).astype(state.value.dtype),
        taken_back=jnp.where(worse, state.taken_back + 1, 0),
    )


def _direction(gradient: Array, state: LbfgsState, guess: Any) -> Array:
    """Returns the inverse Hessian approximation times the gradient.

    The first loop of algorithm 7.4 solves R α = S g, R being the upper triangle of the
    s_i · y_j in order of age; the second solves Rᵀ (α − β) = D α − Y r, D the diagonal.
    """
    history = state.steps.shape[0]
    age = jnp.argsort((jnp.arange(history) - state.pairs) % history)  # oldest slot first
    used = age < state.pairs
    triangle = jnp.triu(state.products[age][:, age]) * jnp.outer(used, used)
    triangle += jnp.diag(jnp.where(used, 0.0, 1.0).astype(triangle.dtype))
    solve = jax.scipy.linalg.solve_triangular

    alpha = solve(triangle, dot(state.steps, gradient)[age])
    start = guess(gradient - dot(_by_slot(alpha, age), state.differences))
    right = jnp.diag(triangle) * alpha - dot(state.differences, start)[age]
    return start + dot(_by_slot(solve(triangle, right, trans=1), age), state.steps)


def _by_slot(values: Array, age: Array) -> Array:
    """Returns values that are in order of age in the order of the slots of `LbfgsState.steps`."""
    return jnp.zeros_like(values).at[age].set(values)


def _scale_bands(image: Array, state: LbfgsState) -> Array:
    """Multiplies each band by s·s / s·y, the inverse curvature that the pairs saw in it.

    Bands whose pairs saw little or negative curvature get the largest guess.
    """
    overall = state.band_steps.sum() / state.band_products.sum()
    least = state.band_steps / (BAND_RANGE * overall)
    guess = state.band_steps / jnp.maximum(state.band_products, least)
    guess = jnp.where(state.band_steps > 0, jnp.maximum(guess, overall / BAND_RANGE), overall)
    scaled = spectrum(image) * guess[bands_of(*image.shape[:2])]
    plain = jnp.fft.irfft2(scaled, s=image.shape[:2], axes=(0, 1), norm="ortho")
    return dot(plain, opponent_colors(image.shape[2], image.dtype))
