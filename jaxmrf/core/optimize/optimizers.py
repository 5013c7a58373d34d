"""Optimizers by name, and any of them as one init/step pair over optax.

    optimizer = make_optimizer(descent)
    state = init(image, optimizer)
    state, record = step(state, params, targets, objective=objective, optimizer=optimizer)

`objective(image, *args)` returns (value, anything else). Everything under `step` is pure.
Another optimizer is registered as in docs/research.md:

    OPTIMIZERS["lion"] = lambda descent: optax.lion(descent.learning_rate)
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxmrf.core.optimize import lbfgs
from jaxmrf.core.settings import DescentSettings
from jaxmrf.errors import ConfigError

Objective = Callable[..., tuple[Float[Array, ""], Any]]


class State(NamedTuple):
    """The picture and the state of the optimizer.

    Attributes:
      image: the picture, float32 [H, W, 3].
      optimizer: state of the optax transformation.
      iteration: number of steps taken, int32.
    """

    image: Float[Array, "h w c"]
    optimizer: Any
    iteration: Int[Array, ""]


class Record(NamedTuple):
    """Energy and gradient that one step saw, before it moved.

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


def _lbfgs(descent: DescentSettings) -> optax.GradientTransformation:
    direction = lbfgs.scale_by_lbfgs(
        descent.history,
        descent.preconditioner,
        taxicab_first_step=descent.taxicab_first_step,
    )
    if descent.line_search == "zoom":
        search = optax.scale_by_zoom_linesearch(
            max_linesearch_steps=20, initial_guess_strategy="one"
        )
        return optax.chain(direction, optax.scale(-1.0), search)
    return optax.chain(direction, optax.scale(-1.0))


OPTIMIZERS: dict[str, Callable[[DescentSettings], optax.GradientTransformation]] = {
    "lbfgs": _lbfgs,
    "adam": lambda descent: optax.adam(descent.learning_rate),
}
"""Optimizers by name: (`DescentSettings`) → optax transformation whose updates are added."""


def make_optimizer(descent: DescentSettings) -> optax.GradientTransformationExtraArgs:
    """Returns the optax transformation that `descent` asks for.

    Raises:
      ConfigError: if there is none of that name.
    """
    if descent.optimizer not in OPTIMIZERS:
        raise ConfigError(
            f"there is no optimizer {descent.optimizer!r}; choose from {', '.join(OPTIMIZERS)}",
            "optimizer",
        )
    return _made(OPTIMIZERS[descent.optimizer], descent)


@functools.lru_cache
def _made(
    build: Callable[[DescentSettings], optax.GradientTransformation], descent: DescentSettings
) -> optax.GradientTransformationExtraArgs:
    """Returns one object per setting, so that programs compiled for it are found again."""
    return optax.with_extra_args_support(build(descent))


def init(image: Float[Array, "h w c"], optimizer: optax.GradientTransformation) -> State:
    """Returns the state that starts from `image`."""
    # optax starts several parts of a state from one array; those of a program are apart, so
    # that they can be donated one by one.
    optimizer_state = jax.jit(optimizer.init)(image)
    return State(image, optimizer_state, jnp.zeros((), jnp.int32))


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
      optimizer: from `make_optimizer`, or any optax transformation with extra arguments
        (`optax.with_extra_args_support`).

    Returns:
      The new state; where the energy, its gradient or the step is not finite, the picture in
      it is the old one.
    """
    (value, more), gradient = jax.value_and_grad(objective, has_aux=True)(state.image, *args)
    moves, optimizer_state = optimizer.update(
        gradient,
        state.optimizer,
        state.image,
        value=value,
        grad=gradient,
        value_fn=lambda image: objective(image, *args)[0],
    )
    # To optax these are any trees; of a picture they are one array.
    moved, move = cast(Array, optax.apply_updates(state.image, moves)), cast(Array, moves)
    norm = jnp.linalg.norm(gradient.ravel())
    finite = jnp.isfinite(value) & jnp.isfinite(norm) & jnp.isfinite(move).all()
    image = jnp.where(finite, moved, state.image)
    return State(image, optimizer_state, state.iteration + 1), Record(value, more, norm, finite)
