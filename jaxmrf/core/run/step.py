"""What a level is made of: preparing its targets, decoding, a step of the optimizer."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxmrf.core import decoder, energy
from jaxmrf.core.config import Config
from jaxmrf.core.decoder import Decoder
from jaxmrf.core.energy import Targets
from jaxmrf.core.features import Features
from jaxmrf.core.losses import mrf
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.run.inputs import LevelInputs


def prepare_level(
    params: PyTree,
    inputs: LevelInputs,
    *,
    shape: tuple[int, int],
    features: Features,
    config: Config,
) -> Targets:
    """Returns the targets of a pyramid level.

    Args:
      params: parameters of the network.
      inputs: from `level_inputs`.
      shape: (height, width) of the picture at this level.
      features: the network.
      config: settings.

    Raises:
      ValueError: if a patch does not fit into the features of a style copy.
      KeyError: if the network has no such layer.
      ConfigError: if there is no such style loss or matcher.
    """
    content, styles, weights, *more = inputs
    named = dict(zip(("blend", "guides", "region"), more, strict=True))
    return energy.prepare(
        params, content, styles, weights, shape=shape, features=features, config=config, **named
    )


def decoded(
    image: Float[Array, "h w 3"],
    params: PyTree,
    trained: Decoder,
    targets: Targets,
    *,
    features: Features,
    config: Config,
) -> tuple[Float[Array, "h w 3"], Bool[Array, ""]]:
    """Returns the picture that the decoder makes of what is put together at the matches.

    Args:
      image: the picture so far, sRGB.
      params: parameters of the network.
      trained: decoder of the network.
      targets: of this level, from `prepare_level`.
      features: the network.
      config: settings.

    Returns:
      The new picture, sRGB in 0 to 1, or the old one if that is not finite; and whether it is.
    """
    layers = energy.activations(image, params, targets, features=features, config=config)
    found = mrf.painted(layers, targets.style["mrf"], config)
    wanted = {name: found[name].features for name in decoder.LAYERS}
    slow = decoder.slow_colors({name: found[name].colors for name in decoder.LAYERS})
    painted = jnp.clip(decoder.decode(trained, wanted, slow, image.shape[:2]), 0.0, 1.0)
    finite = jnp.isfinite(painted).all()
    return jnp.where(finite, painted, image), finite


jit_decode = jax.jit(decoded, static_argnames=("features", "config"))


def exact_matches(
    image: Array, params: PyTree, targets: Targets, *, features: Features, config: Config
) -> float:
    """Returns the share of matches that are the nearest of all, of the worse layer, 0 to 1."""
    matched = targets.style.get("mrf")
    if matched is None or mrf.compares_all(matched, config):
        return 1.0  # nothing to compile and run
    shares = _agreement(image, params, targets, features=features, config=config)
    return min(float(share) for share in shares.values())


jit_prepare = jax.jit(prepare_level, static_argnames=("shape", "features", "config"))


def advance(
    image: Float[Array, "h w 3"],
    optimizer_state: PyTree,
    iteration: Int[Array, ""],
    memory: dict[str, Any],
    params: PyTree,
    targets: Targets,
    *,
    features: Features,
    config: Config,
) -> tuple[optimizers.State, optimizers.Record, dict[str, Any]]:
    """Takes one step of a pyramid level; pure, compiled by `run`.

    Args:
      image: the picture, sRGB, not clipped.
      optimizer_state: from `optimize.init` or the last step.
      iteration: number of steps taken at this level, int32.
      memory: of the style losses, from `energy.no_memory` or the last step.
      params: parameters of the network.
      targets: of this level, from `prepare_level`.
      features: the network.
      config: settings.

    Returns:
      The state with the new picture, the record of the picture that it started from, and the
      memory for the next step.
    """
    state, record = optimizers.step(
        optimizers.State(image, optimizer_state, iteration),
        params,
        targets,
        memory,
        iteration % config.match_every == 0,
        objective=functools.partial(energy.energy_and_memory, features=features, config=config),
        optimizer=optimizers.make_optimizer(config),
    )
    terms, memory = record.more
    return state, record._replace(more=terms), memory


# The memories are donated; the picture is not, since progress records keep it.
@functools.partial(
    jax.jit,
    static_argnames=("count", "features", "config"),
    donate_argnames=("optimizer_state", "memory"),
)
def jit_steps(
    image: Float[Array, "h w 3"],
    optimizer_state: PyTree,
    iteration: Int[Array, ""],
    memory: dict[str, Any],
    params: PyTree,
    targets: Targets,
    *,
    count: int,
    features: Features,
    config: Config,
) -> tuple[optimizers.State, dict[str, Any], Array | list[Array], optimizers.Record]:
    """Takes `count` steps, see `advance`.

    Returns:
      The last state and memory; the picture and the record of each step.
    """

    def one(carry: tuple[optimizers.State, dict[str, Any]], _: None) -> tuple[Any, Any]:
        state, memory = carry
        state, record, memory = advance(
            *state, memory, params, targets, features=features, config=config
        )
        return (state, memory), (state.image, record)

    carry = optimizers.State(image, optimizer_state, iteration), memory
    if count > 1:
        (state, memory), (images, records) = lax.scan(one, carry, length=count)
        return state, memory, images, records
    (state, memory), (image, record) = one(carry, None)
    return state, memory, [image], jax.tree.map(lambda leaf: leaf[None], record)


@functools.partial(jax.jit, static_argnames=("features", "config"))
def _agreement(
    image: Array, params: PyTree, targets: Targets, *, features: Features, config: Config
) -> dict[str, Array]:
    layers = energy.activations(image, params, targets, features=features, config=config)
    return mrf.agreement(layers, targets.style["mrf"], config)
