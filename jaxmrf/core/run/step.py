"""The parts of a level: its targets, a round of match and decode, a step of the optimizer."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxmrf.core import decoder, energy
from jaxmrf.core.config import Shape
from jaxmrf.core.energy import Targets
from jaxmrf.core.features import Network
from jaxmrf.core.losses import mrf
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.run.inputs import LevelPictures
from jaxmrf.core.settings import Program


def prepare_level(
    network: Network, pictures: LevelPictures, *, shape: Shape, program: Program
) -> Targets:
    """Returns the targets of a pyramid level.

    Args:
      network: the network.
      pictures: from `inputs.level_pictures`.
      shape: (height, width) of the picture at this level.
      program: settings of the compiled program.

    Raises:
      ValueError: if a patch does not fit into the features of a style copy.
      KeyError: if the network has no such layer.
      ConfigError: if there is no such style loss or matcher.
    """
    content, styles, weights, blend, guides, region = pictures
    return energy.prepare(
        network,
        content,
        styles,
        weights,
        shape=shape,
        program=program,
        blend=blend,
        guides=guides,
        region=region,
    )


def decoded(
    network: Network, image: Float[Array, "h w 3"], targets: Targets, *, program: Program
) -> tuple[Float[Array, "h w 3"], Bool[Array, ""]]:
    """Returns the picture that the decoder makes of the features at the matches.

    Args:
      network: the network, with a decoder.
      image: the picture so far, sRGB.
      targets: of this level, from `prepare_level`.
      program: settings of the compiled program.

    Returns:
      The new picture, sRGB in 0 to 1, or the old one if that is not finite; and whether it is.

    Raises:
      ValueError: if the network has no decoder.
    """
    if network.decoder is None:
        raise ValueError("the network has no decoder")
    layers = energy.activations(network, image, targets, program=program)
    assembled = mrf.painted(layers, targets.style["mrf"], program)
    features = {name: assembled[name].features for name in decoder.LAYERS}
    slow = decoder.slow_colors({name: assembled[name].colors for name in decoder.LAYERS})
    painted = decoder.decode(network.decoder, features, slow, image.shape[:2])
    painted = jnp.clip(painted, 0.0, 1.0)
    finite = jnp.isfinite(painted).all()
    return jnp.where(finite, painted, image), finite


def begin(
    network: Network, image: Float[Array, "h w 3"], targets: Targets, *, program: Program
) -> tuple[optimizers.State, PyTree]:
    """Returns the states of optimizer and losses that the first step of a level starts from.

    Args:
      network: the network.
      image: the picture, sRGB.
      targets: of this level, from `prepare_level`.
      program: settings of the compiled program.

    Returns:
      The state of the optimizer with the picture, and that of the style losses.
    """
    state = optimizers.init(image, optimizers.make_optimizer(program.descent))
    return state, energy.init_state(network, image, targets, program=program)


def advance(
    network: Network,
    image: Float[Array, "h w 3"],
    optimizer_state: PyTree,
    iteration: Int[Array, ""],
    loss_state: PyTree,
    targets: Targets,
    *,
    program: Program,
) -> tuple[optimizers.State, PyTree, optimizers.Record]:
    """Takes one step of a pyramid level; pure.

    Args:
      network: the network.
      image: the picture, sRGB, not clipped.
      optimizer_state: from `begin` or the last step.
      iteration: number of steps taken at this level, int32.
      loss_state: of the style losses, from `begin` or the last step.
      targets: of this level, from `prepare_level`.
      program: settings of the compiled program.

    Returns:
      The state with the new picture, the state of the style losses for the next step, and the
      record of the picture that it started from.
    """

    def objective(image: Array, network: Network, *arrays: PyTree) -> tuple[Array, PyTree]:
        return energy.total_and_state(network, image, *arrays, program=program)

    state, record = optimizers.step(
        optimizers.State(image, optimizer_state, iteration),
        network,
        targets,
        loss_state,
        iteration % program.match_every == 0,
        objective=objective,
        optimizer=optimizers.make_optimizer(program.descent),
    )
    terms, loss_state = record.more
    return state, loss_state, record._replace(more=terms)


def exact_matches(
    network: Network, image: Float[Array, "h w 3"], targets: Targets, *, program: Program
) -> Float[Array, ""]:
    """Returns the share of matches that are the nearest of all, of the worse layer, 0 to 1."""
    matched = targets.style.get("mrf")
    if matched is None or mrf.compares_all(matched, program):
        return jnp.ones(())
    layers = energy.activations(network, image, targets, program=program)
    shares = mrf.agreement(layers, matched, program)
    return jnp.min(jnp.stack(list(shares.values())))
