"""L-BFGS and Adam as one init/step pair over optax.

    optimizer = make_optimizer(config)
    state = init(image, optimizer)
    state, record = step(state, params, targets, objective=objective, optimizer=optimizer)

`objective(image, *args)` returns (value, terms). Everything under `step` is pure.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxmrf.config import Config

CURVATURE_FLOOR = 1e-10
"""L-BFGS skips pairs with y·s at most this (mylib/myoptimizer.lua, ``ys > 1e-10``)."""

Objective = Callable[..., tuple[Float[Array, ""], dict[str, Float[Array, ""]]]]


class State(NamedTuple):
    """The picture and what the optimizer remembers.

    Attributes:
      image: the picture, float32 [H, W, 3].
      optimizer: state of the optax transformation.
      iteration: number of steps taken, int32.
    """

    image: Float[Array, "h w c"]
    optimizer: Any
    iteration: Int[Array, ""]


class Record(NamedTuple):
    """What one step saw, before it moved.

    Attributes:
      value: the energy.
      terms: its weighted terms by name.
      gradient_norm: Euclidean norm of the gradient.
      finite: whether the energy, the gradient and the step are finite; if not, the
        picture stays as it was.
    """

    value: Float[Array, ""]
    terms: dict[str, Float[Array, ""]]
    gradient_norm: Float[Array, ""]
    finite: jax.Array


@functools.lru_cache
def make_optimizer(config: Config) -> optax.GradientTransformationExtraArgs:
    """Returns the optax transformation that `config` asks for.

    One object per setting, so that programs compiled for it are found again.
    """
    if config.optimizer == "adam":
        return optax.with_extra_args_support(optax.adam(config.learning_rate))
    direction = guarded_lbfgs(config.history, taxicab_first_step=config.taxicab_first_step)
    if config.line_search == "zoom":
        search = optax.scale_by_zoom_linesearch(
            max_linesearch_steps=20, initial_guess_strategy="one"
        )
        return optax.chain(direction, optax.scale(-1.0), search)
    return optax.with_extra_args_support(optax.chain(direction, optax.scale(-1.0)))


def guarded_lbfgs(
    history: int, *, taxicab_first_step: bool = False
) -> optax.GradientTransformation:
    """`optax.scale_by_lbfgs` that leaves out pairs of too little curvature.

    A pair with y·s ≤ 1e-10 would make the inverse Hessian approximation indefinite;
    optax drops it only if y·s is exactly 0. Here the last accepted pair stands in for
    it, which leaves the memory as it was, up to rounding.

    Args:
      history: number of pairs that are remembered.
      taxicab_first_step: bound the first step by min(1, 1/‖g‖₁) as the authors do
        (mylib/myoptimizer.lua) instead of min(1, 1/‖g‖₂).
    """
    inner = optax.scale_by_lbfgs(memory_size=history)

    def update(gradient: Array, state: Any, params: Array) -> tuple[Array, Any]:
        curvature = jnp.vdot(gradient - state.updates, params - state.params)
        skip = (state.count > 0) & (curvature <= CURVATURE_FLOOR)
        # With the count of one step ago, and the differences of that step, optax
        # writes the last accepted pair over itself. Before any pair was accepted
        # the count falls back to 0 and the step is a bounded gradient step.
        last = (state.count - 2) % history
        count = state.count - skip.astype(state.count.dtype)
        state = state._replace(
            count=count,
            params=jnp.where(skip, params - state.diff_params_memory[last], state.params),
            updates=jnp.where(skip, gradient - state.diff_updates_memory[last], state.updates),
        )
        direction, new_state = inner.update(gradient, state, params)
        if taxicab_first_step:
            euclidean = jnp.minimum(1.0, 1.0 / jnp.linalg.norm(gradient.ravel()))
            taxicab = jnp.minimum(1.0, 1.0 / jnp.sum(jnp.abs(gradient)))
            direction = direction * jnp.where(count == 0, taxicab / euclidean, 1.0)
        return direction, new_state

    return optax.GradientTransformation(inner.init, update)


def init(image: Float[Array, "h w c"], optimizer: optax.GradientTransformation) -> State:
    """Returns the state that starts from `image`."""
    # optax starts several memories from one array; copies can be donated one by one.
    memory = jax.tree.map(jnp.copy, optimizer.init(image))
    return State(image, memory, jnp.zeros((), jnp.int32))


def step(
    state: State,
    *args: Any,
    objective: Objective,
    optimizer: optax.GradientTransformationExtraArgs,
) -> tuple[State, Record]:
    """Takes one step and reports the energy that it started from.

    Args:
      state: from `init` or the last step.
      *args: passed to the objective behind the picture, traced.
      objective: returns (value, terms) of a picture.
      optimizer: from `make_optimizer`, or any optax transformation.
    """
    (value, terms), gradient = jax.value_and_grad(objective, has_aux=True)(state.image, *args)
    updates, optimizer_state = optimizer.update(
        gradient,
        state.optimizer,
        state.image,
        value=value,
        grad=gradient,
        value_fn=lambda image: objective(image, *args)[0],
    )
    norm = jnp.linalg.norm(gradient.ravel())
    finite = jnp.isfinite(value) & jnp.isfinite(norm) & jnp.isfinite(updates).all()
    image = jnp.where(finite, optax.apply_updates(state.image, updates), state.image)
    return State(image, optimizer_state, state.iteration + 1), Record(value, terms, norm, finite)
