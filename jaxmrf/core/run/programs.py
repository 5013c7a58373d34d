"""The compiled programs of a level: the functions of `step` over lanes and devices."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, PyTree

from jaxmrf.core.config import Shape
from jaxmrf.core.energy import Targets
from jaxmrf.core.features import Network
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.pyramid import enlarged
from jaxmrf.core.run import step
from jaxmrf.core.run.inputs import LevelPictures
from jaxmrf.core.settings import Program

AXIS = "lane"
LANES, SHARED = PartitionSpec(AXIS), PartitionSpec()


def make_mesh(
    devices: Sequence[jax.Device],  # pyright: ignore[reportInvalidTypeForm]  # no stub
) -> Mesh:
    """Returns the mesh whose one axis the lanes are divided along."""
    return Mesh(np.array(devices), (AXIS,))


def placed(tree: PyTree, mesh: Mesh | None, spec: PartitionSpec) -> PyTree:
    """Returns arrays on the devices of a mesh, divided as `spec` says."""
    return jax.device_put(tree, None if mesh is None else NamedSharding(mesh, spec))


def over_lanes(
    function: Callable[..., Any], shared: tuple[bool, ...], mesh: Mesh | None
) -> Callable[..., Any]:
    """Maps a function over lanes on all devices; `shared` says which arguments all have.

    A device's only lane is not mapped, so that it computes what a single picture does. Without
    a mesh there is one lane, whose arrays have no lane axis: with it XLA copies the memory of
    L-BFGS in every step, instead of writing into it.
    """
    if mesh is None:
        return function
    mapped = jax.vmap(function, in_axes=tuple(None if is_shared else 0 for is_shared in shared))

    def of_device(*arguments: Any) -> Any:
        own = [
            argument for argument, is_shared in zip(arguments, shared, strict=True) if not is_shared
        ]
        if jax.tree.leaves(own)[0].shape[0] > 1:
            return mapped(*arguments)
        alone = (
            argument if is_shared else jax.tree.map(lambda leaf: lax.squeeze(leaf, (0,)), argument)
            for argument, is_shared in zip(arguments, shared, strict=True)
        )
        return jax.tree.map(lambda leaf: leaf[None], function(*alone))

    specs = tuple(SHARED if is_shared else LANES for is_shared in shared)
    return jax.shard_map(of_device, mesh=mesh, in_specs=specs, out_specs=LANES, check_vma=False)


@functools.partial(jax.jit, static_argnames=("shape", "tileable", "mesh"))
def enlarge(
    images: Array, *, shape: Shape, tileable: bool, mesh: Mesh | None
) -> Float[Array, "*lanes h w 3"]:
    """Returns the pictures of all lanes at the size of the next level."""
    enlarge_lane = functools.partial(enlarged, shape=shape, tileable=tileable)
    return over_lanes(enlarge_lane, (False,), mesh)(images)


@functools.partial(jax.jit, static_argnames=("shape", "program", "mesh"))
def prepare(
    network: Network,
    pictures: LevelPictures,
    *,
    shape: Shape,
    program: Program,
    mesh: Mesh | None,
) -> Targets:
    """Returns the targets of a level, see `step.prepare_level`."""
    prepare_lane = functools.partial(step.prepare_level, shape=shape, program=program)
    return over_lanes(prepare_lane, (True, False), mesh)(network, pictures)


@functools.partial(jax.jit, static_argnames=("program", "mesh"))
def decode(
    network: Network, images: Array, targets: Targets, *, program: Program, mesh: Mesh | None
) -> tuple[Float[Array, "*lanes h w 3"], Bool[Array, "*lanes"]]:
    """Takes a round of match and decode in every lane, see `step.decoded`."""
    decode_lane = functools.partial(step.decoded, program=program)
    return over_lanes(decode_lane, (True, False, False), mesh)(network, images, targets)


@functools.partial(jax.jit, static_argnames=("program", "mesh"))
def exact_matches(
    network: Network, images: Array, targets: Targets, *, program: Program, mesh: Mesh | None
) -> Float[Array, "*lanes"]:
    """Returns the share of exact matches of every lane, see `step.exact_matches`."""
    judge_lane = functools.partial(step.exact_matches, program=program)
    return over_lanes(judge_lane, (True, False, False), mesh)(network, images, targets)


@functools.partial(jax.jit, static_argnames=("program", "mesh"))
def begin(
    network: Network, images: Array, targets: Targets, *, program: Program, mesh: Mesh | None
) -> tuple[optimizers.State, PyTree]:
    """Returns the states that the steps of a level start from, see `step.begin`."""

    def begin_lane(network: Network, image: Array, targets: Targets) -> tuple[Any, ...]:
        state, loss_state = step.begin(network, image, targets, program=program)
        return state.image, state.optimizer, loss_state

    over_all = over_lanes(begin_lane, (True, False, False), mesh)
    image, optimizer, loss_state = over_all(network, images, targets)
    return optimizers.State(image, optimizer, jnp.zeros((), jnp.int32)), loss_state


# The states are donated; the pictures are not: who sees a stage may keep them.
@functools.partial(
    jax.jit,
    static_argnames=("count", "program", "mesh"),
    donate_argnames=("optimizer_state", "loss_state"),
)
def steps(
    network: Network,
    images: Array,
    optimizer_state: PyTree,
    iteration: Array,
    loss_state: PyTree,
    targets: Targets,
    *,
    count: int,
    program: Program,
    mesh: Mesh | None,
) -> tuple[optimizers.State, PyTree, Array | list[Array], optimizers.Record]:
    """Takes `count` steps in every lane; all are at the same iteration, which is not mapped.

    So whether matches are found anew stays one condition for all, and is not computed
    both ways.

    Returns:
      The last states, and the pictures and records of each step, [count, lanes, ...].
    """

    def step_lane(*arguments: Any) -> tuple[Any, ...]:
        state, loss_state, record = step.advance(*arguments, program=program)
        return state.image, state.optimizer, loss_state, record

    shared = (True, False, False, True, False, False)
    step_all = over_lanes(step_lane, shared, mesh)

    def advance(carry: tuple[optimizers.State, PyTree], _: None) -> tuple[Any, Any]:
        state, loss_state = carry
        image, optimizer, loss_state, record = step_all(network, *state, loss_state, targets)
        state = optimizers.State(image, optimizer, state.iteration + 1)
        return (state, loss_state), (image, record)

    carry = optimizers.State(images, optimizer_state, iteration), loss_state
    if count > 1:
        (state, loss_state), (images, records) = lax.scan(advance, carry, length=count)
        return state, loss_state, images, records
    (state, loss_state), (images, record) = advance(carry, None)
    return state, loss_state, [images], jax.tree.map(lambda leaf: leaf[None], record)
