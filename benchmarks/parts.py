"""Where an iteration's time goes, against the machine's matrix multiplication."""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmrf import energy, matching, optimize, vgg, weights
from jaxmrf.config import Config
from jaxmrf.energy import Weights


def seconds(function: Callable[..., Any], *args: Any, repeats: int = 5) -> float:
    """Returns the median time of a call, after one that compiles."""
    jax.block_until_ready(function(*args))
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(function(*args))
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def matmul_peak(size: int = 2048) -> float:
    """Returns the GFLOP/s of a float32 matrix product."""
    a = jax.random.normal(jax.random.key(0), (size, size))
    return 2 * size**3 / seconds(jax.jit(jnp.dot), a, a) / 1e9


def vgg_flops(architecture: str, deepest: str, shape: tuple[int, int]) -> float:
    """Returns the FLOPs of forward and input gradient, by direct convolution."""
    total, (height, width) = 0.0, shape
    for name, (k, _, inputs, outputs) in vgg.kernel_shapes(architecture).items():
        if name.endswith("_1") and name != "conv1_1":
            height, width = height // 2, width // 2
        total += 2 * 2 * height * width * k * k * inputs * outputs
        if name == deepest:
            break
    return total


def network_of(architecture: str) -> tuple[vgg.Network, Any]:
    """Returns a network; VGG-19 with random parameters where its weights are not here."""
    try:
        loaded = weights.load(architecture)
    except weights.WeightsError:
        network = vgg.Network(architecture)
        return network, network.random_params(jax.random.key(0))
    return loaded.network, loaded.params


def measure(
    architecture: str, shape: tuple[int, int], config: Config, pictures: tuple[Any, Any, Any]
) -> dict[str, float]:
    """Returns seconds of the parts of an iteration at one size.

    Args:
      architecture: ``vgg16`` or ``vgg19``.
      shape: (height, width) of content, style and picture.
      config: settings.
      pictures: content, style and picture of that shape.
    """
    network, params = network_of(architecture)
    content, style, image = pictures
    arguments = {"features": network, "config": config}
    targets = jax.jit(functools.partial(energy.prepare, shape=shape, **arguments))(
        params, content, [style], Weights(0.25, 1.0, 0.3)
    )
    optimizer = optimize.make_optimizer(config)
    state = optimize.init(image, optimizer)
    step = jax.jit(
        functools.partial(
            optimize.step,
            objective=functools.partial(energy.energy, **arguments),
            optimizer=optimizer,
        )
    )
    layers = jax.jit(network)(params, image)

    @jax.jit
    def network_alone(image: jax.Array, params: Any) -> Any:
        def value(x: jax.Array) -> jax.Array:
            found = network(params, x)
            return sum(jnp.sum(found[name] ** 2) for name in (*config.layers, config.content_layer))

        return jax.value_and_grad(value)(image)

    @functools.partial(jax.jit, static_argnames="method")
    def match_alone(layers: Any, style: Any, method: str) -> Any:
        return [
            matching.nearest(layers[name], style[name], config.stride, method)
            for name in config.layers
        ]

    update = jax.jit(optimizer.update)
    gradient = jnp.ones_like(image)
    exact, fast = (match_alone(layers, targets.style, method) for method in ("exact", "fast"))
    agreement = [
        np.mean(np.asarray(e.index) == np.asarray(f.index))
        for e, f in zip(exact, fast, strict=True)
    ]
    return {
        "iteration": seconds(step, state, params, targets),
        "network": seconds(network_alone, image, params),
        "matching fast": seconds(lambda: match_alone(layers, targets.style, "fast")),
        "matching exact": seconds(lambda: match_alone(layers, targets.style, "exact"), repeats=2),
        "lbfgs update": seconds(update, gradient, state.optimizer, image),
        "flops": vgg_flops(architecture, "conv4_2", shape),
        "agreement": float(min(agreement)),
    }
