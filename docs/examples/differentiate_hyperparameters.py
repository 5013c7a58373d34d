"""Differentiates a whole short run by the weights of its terms.

python docs/examples/differentiate_hyperparameters.py CONTENT STYLE OUTPUT [SIZE]

`transfer.run` loops on the host and hands out numbers, so it cannot be differentiated; the
pure functions underneath can, in a loop of one's own. Which patch is the nearest is piecewise
constant: between the jumps the derivative is exact, and it does not see the jumps.
"""

import functools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

import jaxmrf
from jaxmrf.core import energy, pyramid
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.pyramid import enlarged
from jaxmrf.core.run.inputs import initial_picture, level_inputs, make_inputs
from jaxmrf.core.run.plan import make_plan
from jaxmrf.core.run.step import advance, prepare_level
from jaxmrf.files import image
from jaxmrf.networks import weights

# Adam's step is nearly the sign of the gradient, which has no slope; `eps_root` smooths it.
optimizers.OPTIMIZERS["smooth_adam"] = lambda config: optax.adam(
    config.learning_rate, eps_root=1e-8
)

STEP = jax.jit(advance, static_argnames=("features", "config"))


def short_run(factors, params, content, style, plan, *, features, config):
    """Returns the picture of a run, a pure function of all arrays.

    Args:
      factors: `energy.Weights` that the weights of every level are multiplied by.
      params: parameters of the network.
      content: sRGB in 0 to 1, [H, W, 3].
      style: sRGB in 0 to 1, [H, W, 3].
      plan: from `transfer.make_plan`.
      features: the network.
      config: settings.
    """
    static = {"features": features, "config": config}
    inputs = make_inputs(content, [style], config)
    picture = initial_picture(inputs, None, plan, config)
    for level, shape in enumerate(plan.shapes):
        picture = enlarged(picture, shape, config)
        prepared = level_inputs(inputs, plan, level, config)
        scaled = jax.tree.map(jnp.multiply, prepared.weights, factors)
        targets = prepare_level(params, prepared._replace(weights=scaled), shape=shape, **static)
        state = optimizers.init(picture, optimizers.make_optimizer(config))
        memory = energy.no_memory(picture, params, targets, **static)
        for _ in range(plan.iterations[level]):
            state, _, memory = STEP(*state, memory, params, targets, **static)
        picture = state.image
    return picture


def distance(factors, params, content, *more, **static):
    """Returns how far the painted picture is from the photograph: mean of squares."""
    picture = short_run(factors, params, content, *more, **static)
    return jnp.mean(jnp.square(picture - pyramid.resize(content, picture.shape[:2]))), picture


def main(content, style, output, size=64):
    """Prints how the distance from the photograph changes with each weight."""
    network = weights.load("vgg16")
    config = jaxmrf.Config(
        size=int(size),
        coarsest=32,
        iterations=(3,),
        layers=("relu2_1",),
        content_layer="relu2_2",
        optimizer="smooth_adam",
    )
    pictures = [jnp.asarray(image.load(Path(path)).pixels) for path in (content, style)]
    shape = pyramid.fit(*pictures[0].shape[:2], config.size)
    static = {"features": network.network, "config": config}
    plan = make_plan(shape, [pictures[1].shape[:2]], network.params, **static)
    factors = energy.Weights(1.0, {"mrf": 1.0}, 1.0)
    differentiate = jax.value_and_grad(functools.partial(distance, **static), has_aux=True)
    (value, picture), gradient = differentiate(factors, network.params, *pictures, plan)
    print(f"distance from the photograph {value:.3g}; derivatives by the logarithm of each weight:")
    print(f"content {gradient.content:.3g}, mrf {gradient.style['mrf']:.3g}, tv {gradient.tv:.3g}")
    finished = jnp.clip(picture, 0, 1)
    image.save(Path(output), image.Picture(jax.device_get(finished)), {})
    return gradient


if __name__ == "__main__":
    main(*sys.argv[1:])
