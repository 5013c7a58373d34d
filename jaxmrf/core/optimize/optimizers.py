"""Optimizers by name, and any of them as one init/step pair over optax.

    optimizer = make_optimizer(config)
    state = init(image, optimizer)
    state, record = step(state, params, targets, objective=objective, optimizer=optimizer)

`objective(image, *args)` returns (value, anything else). Everything under `step` is pure.
Another optimizer is registered as in docs/research.md:

    OPTIMIZERS["lion"] = lambda config: optax.lion(config.learning_rate)
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxmrf.core.config import Config
from jaxmrf.core.optimize import lbfgs
from jaxmrf.errors import ConfigError

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


def _lbfgs(config: Config) -> optax.GradientTransformation:
    direction = lbfgs.scale_by_lbfgs(
        config.history,
        config.starting(plainly=False).preconditioner,
        taxicab_first_step=config.taxicab_first_step,
    )
    if config.line_search == "zoom":
        search = optax.scale_by_zoom_linesearch(
            max_linesearch_steps=20, initial_guess_strategy="one"
        )
        return optax.chain(direction, optax.scale(-1.0), search)
    return optax.chain(direction, optax.scale(-1.0))


OPTIMIZERS: dict[str, Callable[[Config], optax.GradientTransformation]] = {
    "lbfgs": _lbfgs,
    "adam": lambda config: optax.adam(config.learning_rate),
}
"""Optimizers by name: (config) → optax transformation whose updates are added to the picture."""


def make_optimizer(config: Config) -> optax.GradientTransformationExtraArgs:
    """Returns the optax transformation that `config` asks for.

    Raises:
      ConfigError: if there is none of that name.
    """
    if config.optimizer not in OPTIMIZERS:
        raise ConfigError(
            f"there is no optimizer {config.optimizer!r}; choose from {', '.join(OPTIMIZERS)}"
        )
    return _made(OPTIMIZERS[config.optimizer], config)


@functools.lru_cache
def _made(
    build: Callable[[Config], optax.GradientTransformation], config: Config
) -> optax.GradientTransformationExtraArgs:
    """Returns one object per setting, so that programs compiled for it are found again."""
    return optax.with_extra_args_support(build(config))


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
      optimizer: from `make_optimizer`, or any optax transformation with extra arguments
        (`optax.with_extra_args_support`).

    Returns:
      The new state; where the energy, its gradient or the step is not finite, the picture in
      it is the old one.
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
