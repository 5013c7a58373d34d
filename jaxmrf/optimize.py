"""L-BFGS and Adam as one init/step pair over optax.

    optimizer = make_optimizer(config)
    state = init(image, optimizer)
    state, record = step(state, params, targets, objective=objective, optimizer=optimizer)

`objective(image, *args)` returns (value, anything else). Everything under `step` is pure.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxmrf import lbfgs
from jaxmrf.config import Config

Objective = Callable[..., tuple[Float[Array, ""], Any]]


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
      more: what the objective returned beside it.
      gradient_norm: Euclidean norm of the gradient.
      finite: whether the energy, the gradient and the step are finite; if not, the
        picture stays as it was.
    """

    value: Float[Array, ""]
    more: Any
    gradient_norm: Float[Array, ""]
    finite: jax.Array


@functools.lru_cache
def make_optimizer(config: Config) -> optax.GradientTransformationExtraArgs:
    """Returns the optax transformation that `config` asks for.

    One object per setting, so that programs compiled for it are found again.
    """
    if config.optimizer == "adam":
        return optax.with_extra_args_support(optax.adam(config.learning_rate))
    direction = lbfgs.scale_by_lbfgs(
        config.history,
        config.starting(from_noise=False).preconditioner,
        taxicab_first_step=config.taxicab_first_step,
    )
    if config.line_search == "zoom":
        search = optax.scale_by_zoom_linesearch(
            max_linesearch_steps=20, initial_guess_strategy="one"
        )
        return optax.chain(direction, optax.scale(-1.0), search)
    return optax.chain(direction, optax.scale(-1.0))


def init(image: Float[Array, "h w c"], optimizer: optax.GradientTransformation) -> State:
    """Returns the state that starts from `image`."""
    # optax starts several memories from one array; those of a program are apart, so that
    # they can be donated one by one.
    memory = jax.jit(optimizer.init)(image)
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
      objective: returns (value, anything else) of a picture.
      optimizer: from `make_optimizer`, or any optax transformation.
    """
    (value, more), gradient = jax.value_and_grad(objective, has_aux=True)(state.image, *args)
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
    return State(image, optimizer_state, state.iteration + 1), Record(value, more, norm, finite)
