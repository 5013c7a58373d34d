"""Differentiates a whole short run by the weights of its terms.

python docs/examples/differentiate_hyperparameters.py CONTENT STYLE OUTPUT [SIZE]

`loop.run` loops on the host and hands out numbers, so it cannot be differentiated; the
pure functions underneath can, in a loop of one's own. Which patch is the nearest is piecewise
constant: between the jumps the derivative is exact, and it does not see the jumps.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

import jaxmrf
from jaxmrf.core import pyramid
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.pyramid import enlarged
from jaxmrf.core.run.inputs import initial_picture, level_pictures, make_pictures
from jaxmrf.core.run.plan import make_plan
from jaxmrf.core.run.step import advance, begin, prepare_level
from jaxmrf.core.settings import TermWeights, resolve
from jaxmrf.files import image
from jaxmrf.networks import weights

# Adam's step is nearly the sign of the gradient, which has no slope; `eps_root` smooths it.
optimizers.OPTIMIZERS["smooth_adam"] = lambda descent: optax.adam(
    descent.learning_rate, eps_root=1e-8
)

STEP = jax.jit(advance, static_argnames="program")


def short_run(factors, network, content, style, plan, settings):
    """Returns the picture of a run, a pure function of all arrays.

    Args:
      factors: `TermWeights` that the weights of every level are multiplied by.
      network: the network.
      content: sRGB in 0 to 1, [H, W, 3].
      style: sRGB in 0 to 1, [H, W, 3].
      plan: from `plan.make_plan`.
      settings: from `settings.resolve`.
    """
    pictures = make_pictures(jnp.asarray(content), [jnp.asarray(style)], settings.config)
    picture = initial_picture(pictures, None, plan, settings.config)
    for level, shape in enumerate(plan.shapes):
        program = plan.program(level, settings.program)
        picture = enlarged(picture, shape, tileable=program.tileable)
        prepared = level_pictures(pictures, plan, level, settings)
        scaled = jax.tree.map(jnp.multiply, prepared.weights, factors)
        prepared = prepared._replace(weights=scaled)
        targets = prepare_level(network, prepared, shape=shape, program=program)
        state, loss_state = begin(network, picture, targets, program=program)
        for _ in range(plan.iterations[level]):
            state, loss_state, _ = STEP(network, *state, loss_state, targets, program=program)
        picture = state.image
    return picture


def distance(factors, network, content, *more):
    """Returns how far the painted picture is from the photograph: mean of squares."""
    picture = short_run(factors, network, content, *more)
    return jnp.mean(jnp.square(picture - pyramid.resize(content, picture.shape[:2]))), picture


def main(content, style, output, size=64):
    """Prints how the distance from the photograph changes with each weight."""
    network = weights.load("vgg16").network
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
    settings = resolve(config, network)
    plan = make_plan(shape, [pictures[1].shape[:2]], network, settings)
    factors = TermWeights(1.0, {"mrf": 1.0}, 1.0)
    differentiate = jax.value_and_grad(distance, has_aux=True)
    (value, picture), gradient = differentiate(factors, network, *pictures, plan, settings)
    print(f"distance from the photograph {value:.3g}; derivatives by the logarithm of each weight:")
    print(f"content {gradient.content:.3g}, mrf {gradient.style['mrf']:.3g}, tv {gradient.tv:.3g}")
    finished = jnp.clip(picture, 0, 1)
    image.save(Path(output), image.Picture(jax.device_get(finished)), {})
    return gradient


if __name__ == "__main__":
    main(*sys.argv[1:])
