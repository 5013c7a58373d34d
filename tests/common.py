"""Networks in miniature, pictures and options that many tests share."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxmrf.core.features import Network
from jaxmrf.networks import architectures


@dataclasses.dataclass(frozen=True)
class ToyNetwork:
    """Two rectified convolutions with a subsampling between: a network in miniature.

    Attributes:
      gains: factors of the two layers, for tests of scale.
    """

    gains: tuple[float, float] = (1.0, 1.0)

    def __call__(self, params, image):
        return dict(zip(("shallow", "deep"), _toy_layers(params, image, self.gains), strict=True))


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _toy_layers(params, image, gains):
    """Returns the layers; jit so that outside of programs they are one."""

    def convolve(x, kernel, stride):
        numbers = ("NHWC", "HWIO", "NHWC")
        out = jax.lax.conv_general_dilated(
            x[None], kernel, (stride, stride), "SAME", dimension_numbers=numbers
        )
        return jax.nn.relu(out[0])

    first = convolve(image, params["first"], 1)
    second = convolve(first, params["second"], 2)
    return gains[0] * first, gains[1] * second


def toy_params(dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(7))
    return {
        "first": 0.5 * jax.random.normal(keys[0], (3, 3, 3, 6), dtype),
        "second": 0.3 * jax.random.normal(keys[1], (3, 3, 6, 8), dtype),
    }


def toy_network(gains: tuple[float, float] = (1.0, 1.0), dtype=jnp.float32) -> Network:
    """Returns the network in miniature with its parameters; it has no decoder."""
    return Network(ToyNetwork(gains), toy_params(dtype))


def vgg_params(features, seed=0):
    """Returns random parameters of a VGG network; NumPy makes them without compiling."""
    generator, params = np.random.default_rng(seed), {}
    shapes = architectures.kernel_shapes(features.architecture)
    for name in (layer.replace("relu", "conv") for layer in features.layers):
        kernel = generator.standard_normal(shapes[name], np.float32)
        kernel *= np.float32(np.sqrt(2 / (9 * kernel.shape[2])))
        params[name] = jax.tree.map(
            jnp.asarray, {"kernel": kernel, "bias": np.zeros(kernel.shape[3], np.float32)}
        )
    return params


def write_anew(path, content):
    """Writes a new file in the place of one.

    One that is written over is brought to the disk at once by some file systems, so that a kill
    cannot leave it empty: for thousands of files, seconds.
    """
    path.unlink(missing_ok=True)
    path.write_bytes(content)


SHALLOW = {
    "size": "64",
    "levels": "1",
    "iterations": "2",
    "layers": "relu2_1",
    "content_layer": "relu2_1",
    "optimizer": "adam",
}
"""Options, as words, of little of VGG without decoder and with a plain optimizer: programs that are
compiled in no time. Runs that differ in sizes or kinds of pictures have programs of their own."""

BRIEFLY = {
    "size": 32, "levels": 1, "iterations": 2, "layers": "deep", "content_layer": "deep",
    "optimizer": "adam",
}  # fmt: skip
"""Options of the library's calls with the network in miniature, which compile soon."""


class NamedAsVGG(ToyNetwork):
    """The network in miniature with the names of VGG's layers: what is default finds them."""

    def __call__(self, params, image):
        deep = super().__call__(params, image)["deep"]
        return {"relu3_1": deep, "relu4_1": deep[::2, ::2], "relu4_2": deep[::2, ::2]}


def picture(seed: int, height: int, width: int) -> jax.Array:
    """Returns a smooth random picture with some structure, sRGB in 0 to 1."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((max(2, height // 8), max(2, width // 8), 3), np.float32)
    smooth = [
        Image.fromarray(channel).resize((width, height), Image.Resampling.BICUBIC)
        for channel in np.moveaxis(coarse, -1, 0)
    ]
    noisy = np.stack(smooth, axis=-1) + 0.05 * generator.standard_normal((height, width, 3))
    return jnp.asarray(np.clip(noisy, 0, 1), jnp.float32)
