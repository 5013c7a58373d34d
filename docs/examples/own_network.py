"""A network of one's own: shallow, of random filters (Ustyuzhaninov et al. 2016, arXiv 1606.00021).

python docs/examples/own_network.py CONTENT STYLE OUTPUT [SIZE]
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax

import jaxmrf
from jaxmrf.files import image


def random_filters(key):
    """Returns the kernels of two layers, [5, 5, in, out], of about the variance that they keep."""
    sizes = {"fine": (5, 5, 3, 48), "coarse": (5, 5, 48, 96)}
    initialize = jax.nn.initializers.lecun_normal()
    keys = jax.random.split(key, len(sizes))
    return {
        name: initialize(key, size) for key, (name, size) in zip(keys, sizes.items(), strict=True)
    }


def features(params, picture):
    """Returns the activations by layer name of an sRGB picture in 0 to 1, [H, W, 3].

    Two rectified convolutions, the second at half the size. jit knows the function by its identity.
    """
    fine = _rectified(picture - 0.5, params["fine"])
    halves = (fine.shape[0] // 2, fine.shape[1] // 2, fine.shape[2])
    return {
        "fine": fine,
        "coarse": _rectified(jax.image.resize(fine, halves, "linear"), params["coarse"]),
    }


def _rectified(x, kernel):
    numbers = ("NHWC", "HWIO", "NHWC")
    out = lax.conv_general_dilated(x[None], kernel, (1, 1), "SAME", dimension_numbers=numbers)
    return jnp.maximum(out[0], 0)


def main(content, style, output, size=256):
    """Paints with the new network: its layers are named in the settings."""
    params = random_filters(jax.random.key(0))
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
