"""Where an iteration's time goes, against the machine's matrix multiplication."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmrf.core import energy
from jaxmrf.core.config import Config
from jaxmrf.core.features import Network
from jaxmrf.core.losses import mrf
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.settings import TermWeights, resolve
from jaxmrf.errors import WeightsError
from jaxmrf.networks import architectures, vgg, weights

CHANNELS = {"conv1_2": 64, "conv2_2": 128, "conv3_2": 256, "conv4_2": 512}
"""Convolutions whose speed is measured, with their channels."""


LONG = 2.0
"""Seconds after which no further call is timed."""


def seconds(function: Callable[..., Any], *args: Any, repeats: int = 5) -> float:
    """Returns the median time of a call, after one that compiles; fewer calls if they are long."""
    jax.block_until_ready(function(*args))
    taken = []
    while len(taken) < repeats and sum(taken) < LONG:
        started = time.perf_counter()
        jax.block_until_ready(function(*args))
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def matmul_peak(size: int = 2048, *, kind: str = "float32", precision: str | None = None) -> float:
    """Returns the GFLOP/s of a matrix product.

    Args:
      size: sides of the square matrices.
      kind: dtype of the matrices.
      precision: as jax names it, such as ``highest``; None: jax's default.
    """
    a = jax.random.normal(jax.random.key(0), (size, size), kind)
    product = jax.jit(functools.partial(jnp.dot, precision=precision))
    return 2 * size**3 / seconds(product, a, a) / 1e9


def bandwidth(size: int) -> float:
    """Returns the GB/s read and written by the negation of an array of so many bytes."""
    a = jnp.ones(size // 4, jnp.float32)
    return 2 * size / seconds(jax.jit(jnp.negative), a) / 1e9


def convolution_peaks(side: int) -> dict[str, float]:
    """Returns the GFLOP/s of one convolution of each block for a square picture."""
    found = {}
    for block, (name, channels) in enumerate(CHANNELS.items()):
        length = side // 2**block
        x = jax.random.normal(jax.random.key(0), (1, length, length, channels))
        kernel = jax.random.normal(jax.random.key(1), (3, 3, channels, channels))
        convolve = jax.jit(
            functools.partial(
                jax.lax.conv_general_dilated,
                window_strides=(1, 1),
                padding="SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        )
        flops = 2 * length**2 * 9 * channels**2
        found[f"{name}, GFLOP/s"] = flops / seconds(convolve, x, kernel) / 1e9
    return found


def vgg_flops(architecture: str, deepest: str, shape: tuple[int, int]) -> float:
    """Returns the FLOPs of forward and input gradient, by direct convolution."""
    total, (height, width) = 0.0, shape
    for name, (k, _, inputs, outputs) in architectures.kernel_shapes(architecture).items():
        if name.endswith("_1") and name != "conv1_1":
            height, width = height // 2, width // 2
        total += 2 * 2 * height * width * k * k * inputs * outputs
        if name == deepest:
            break
    return total


def network_of(architecture: str) -> Network:
    """Returns a network; VGG-19 with random parameters where its weights are not here."""
    try:
        return weights.load(architecture).network
    except WeightsError:
        features = vgg.VGGFeatures(architecture)
        return Network(features, features.random_params(jax.random.key(0)))


def measure(
    architecture: str,
    config: Config,
    pictures: tuple[jax.Array, jax.Array, jax.Array],
    *,
    repeats: int = 5,
) -> dict[str, float]:
    """Returns seconds of the parts of an iteration at one size.

    Args:
      architecture: ``vgg16`` or ``vgg19``.
      config: settings; the decoder has no part in this, and L-BFGS is that of the finest level.
      pictures: content, style and picture; content and picture of one shape.
      repeats: calls that are timed.
    """
    network = network_of(architecture)
    settings = resolve(dataclasses.replace(config, decoder_rounds=0), network)
    program = settings.program.for_level(settings.config.iterations[-1])
    content, style, image = pictures
    prepare = functools.partial(energy.prepare, shape=content.shape[:2], program=program)
    targets = jax.jit(prepare)(network, content, [style], TermWeights(0.25, {"mrf": 1.0}, 0.3))
    optimizer = optimizers.make_optimizer(program.descent)
    state = optimizers.init(image, optimizer)
    loss_state = energy.init_state(network, image, targets, program=program)

    def objective(image: jax.Array, network: Network, *arrays: Any) -> Any:
        return energy.total_and_state(network, image, *arrays, program=program)

    @jax.jit
    def step(state: Any, network: Network, targets: Any, loss_state: Any, refresh: Any) -> Any:
        return optimizers.step(
            state, network, targets, loss_state, refresh, objective=objective, optimizer=optimizer
        )

    @jax.jit
    def network_alone(image: jax.Array, network: Network) -> Any:
        def value(x: jax.Array) -> jax.Array:
            found = network(x)
            used = (*program.patches.layers, program.content_layer)
            return sum(jnp.sum(found[name] ** 2) for name in used)

        return jax.value_and_grad(value)(image)

    started = time.perf_counter()
    jax.block_until_ready(step(state, network, targets, loss_state, jnp.asarray(True)))
    first = time.perf_counter() - started
    matching_step, plain_step = (
        seconds(step, state, network, targets, loss_state, jnp.asarray(refresh), repeats=repeats)
        for refresh in (True, False)
    )
    every = program.match_every
    iteration = (matching_step + (every - 1) * plain_step) / every
    update_alone = jax.jit(optimizer.update)
    update = seconds(
        lambda gradient, memory: update_alone(gradient, memory, image, value=jnp.ones(())),
        jnp.ones_like(image),
        state.optimizer,
        repeats=repeats,
    )
    agreement = mrf.agreement(network(image), targets.style["mrf"], program)
    return {
        "first call, seconds": first,
        "iteration that finds matches": matching_step,
        "iteration that keeps them": plain_step,
        "iteration, mean": iteration,
        "share of matching": (matching_step - plain_step) / every / iteration,
        "network alone": seconds(network_alone, image, network, repeats=repeats),
        "L-BFGS update": update,
        "network FLOPs": vgg_flops(architecture, "conv4_2", content.shape[:2]),
        "exact matches": float(min(agreement.values())),
    }


def scaling(
    config: Config, sides: list[int], pictures: Callable[[int], tuple[Any, Any, Any]]
) -> dict[str, dict[str, float]]:
    """Returns seconds per iteration and megapixel for square pictures of these sides."""
    found = {}
    for side in sides:
        measured = measure("vgg16", config, pictures(side), repeats=1 if side > 800 else 3)
        megapixels = side * side / 1e6
        found[f"{megapixels:.2f} megapixels"] = {
            "iteration per megapixel": measured["iteration, mean"] / megapixels,
            "network per megapixel": measured["network alone"] / megapixels,
            "share of matching": measured["share of matching"],
            "exact matches": measured["exact matches"],
        }
    return found
