"""A style loss of one's own: sliced Wasserstein distance (Heitz et al. 2021, arXiv 2006.07229).

python docs/examples/sliced_wasserstein.py CONTENT STYLE OUTPUT [SIZE]
"""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxmrf
from jaxmrf.core.losses.style_losses import STYLE_LOSSES, StyleLoss
from jaxmrf.files import image

DIRECTIONS = 64


def _projected(features, count):
    """Returns sorted projections of the positions, at `count` quantiles, per direction."""
    flat = features.reshape(-1, features.shape[-1])
    directions = jax.random.normal(jax.random.key(0), (flat.shape[1], DIRECTIONS))
    directions /= jnp.linalg.norm(directions, axis=0)
    sorted_values = jnp.sort(jnp.matmul(flat, directions, precision="highest"), axis=0)
    at = np.linspace(0, len(flat) - 1, count).round().astype(int)
    return sorted_values[at]


def prepare(exemplars, program):
    """Returns the sorted projections of the first style, and what the loss is divided by."""
    target = {}
    for name in program.patches.layers:
        wanted = _projected(exemplars.maps[0][name], np.prod(exemplars.sizes[name]))
        target[name] = wanted, 1.0 / jnp.mean(jnp.square(wanted))
    return target


def value(activations, target, state, program):
    """Returns the mean squared distance of sorted projections, relative to the style."""
    return sum(
        scale * jnp.mean(jnp.square(_projected(activations[name], len(wanted)) - wanted))
        for name, (wanted, scale) in target.items()
    )


STYLE_LOSSES["sliced_wasserstein"] = StyleLoss(
    lambda program: program.patches.layers, prepare, value
)


def main(content, style, output, size=256):
    """Paints with the MRF loss and the new one together."""
    config = dataclasses.replace(
        jaxmrf.Config(), size=int(size), style_loss=("mrf:1", "sliced_wasserstein:0.5")
    )
    result = jaxmrf.transfer(
        image.load(Path(content)).pixels, image.load(Path(style)).pixels, config
    )
    image.save(Path(output), image.Picture(result.image), {})
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
