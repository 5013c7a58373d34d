"""A network of one's own: shallow, of random filters (Ustyuzhaninov et al. 2016, arXiv 1606.00021).

python docs/examples/own_network.py CONTENT STYLE OUTPUT [SIZE]
"""

import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp

import jaxmrf
from jaxmrf.files import image


class RandomFilters(nn.Module):
    """Two rectified convolutions, the second at half the size."""

    @nn.compact
    def __call__(self, picture):
        """Returns the activations by layer name of an sRGB picture in 0 to 1, [H, W, 3]."""
        fine = nn.relu(nn.Conv(48, (5, 5), use_bias=False)(picture - 0.5))
        coarse = nn.relu(nn.Conv(96, (5, 5), use_bias=False)(nn.avg_pool(fine, (2, 2), (2, 2))))
        return {"fine": fine, "coarse": coarse}


def features(params, picture):
    """Returns the activations by layer name; jit knows the function by its identity."""
    return RandomFilters().apply(params, picture)


def main(content, style, output, size=256):
    """Paints with the new network: its layers are named in the settings."""
    params = RandomFilters().init(jax.random.key(0), jnp.zeros((32, 32, 3)))
    config = jaxmrf.Config(
        size=int(size), layers=("fine", "coarse"), content_layer="coarse", content_weight=0.1
    )
    result = jaxmrf.transfer(
        image.load(Path(content)).pixels,
        image.load(Path(style)).pixels,
        config,
        network=jaxmrf.Network(features, params),
    )
    image.save(Path(output), image.Picture(result.image), {})
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
