"""VGG-16 and VGG-19 (Simonyan & Zisserman 2015, configurations D and E) in Flax.

Layers carry the field's names: relu3_1 is the rectified output of the first
convolution of the third block.
"""

import dataclasses
import functools
import math
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxmrf.core.config import Shape
from jaxmrf.networks import architectures, winograd

WINOGRAD_POSITIONS = {128: 2500, 256: 1600, 512: 1600}
"""Convolutions with these output channels and at least this many positions go by Winograd's
algorithm."""


def _convolve_same(x: Array, kernel: Array, *_: Any, **__: Any) -> Array:
    """Stands in for `lax.conv_general_dilated`, whose other arguments are those of VGG."""
    fewest = WINOGRAD_POSITIONS.get(kernel.shape[3], math.inf)
    if x.shape[1] * x.shape[2] >= fewest:
        return winograd.convolve(x, kernel)
    return winograd.direct(x, kernel)


class VGG(nn.Module):
    """The convolutions and poolings of a VGG network, up to a deepest one.

    Attributes:
      architecture: ``vgg16`` or ``vgg19``.
      deepest: name of the last convolution, such as ``conv4_2``.
      first_block: number of the block that the input goes into.
      pooling: ``max`` or ``average``.
      initializer: of kernels. Flax traces it whenever parameters are applied, to compare shapes.
    """

    architecture: str
    deepest: str
    first_block: int = 1
    pooling: str = "max"
    initializer: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, "h w _"]) -> dict[str, Float[Array, "_ _ _"]]:
        """Returns the rectified activations by layer name.

        Args:
          x: a normalized picture, or the pooled activations of the block before.
        """
        layers, x = {}, x[None]
        for name in architectures.convolution_names(self.architecture):
            block, index = name.removeprefix("conv").split("_")
            if int(block) < self.first_block:
                continue
            if index == "1" and int(block) > self.first_block:
                x = POOLINGS[self.pooling](x)
            channels = architectures.CHANNELS[int(block) - 1]
            convolution = nn.Conv(
                channels,
                (3, 3),
                kernel_init=self.initializer,
                conv_general_dilated=_convolve_same,
                name=name,
            )
            x = nn.relu(convolution(x))
            layers[f"relu{block}_{index}"] = x[0]
            if name == self.deepest:
                break
        return layers


@jax.custom_vjp
def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n _ _ c"]:
    """2×2 max pooling, odd borders dropped; equal maxima share the gradient.

    As the maximum of four strided slices, with a gradient by comparison: the gradients
    of `reduce_window` and of the slices take more time and memory (docs/experiments.md).
    """
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    corners = [x[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
    return jnp.maximum(jnp.maximum(corners[0], corners[1]), jnp.maximum(corners[2], corners[3]))


def _max_pool_forward(x: Array) -> tuple[Array, tuple[Array, Array]]:
    pooled = max_pool(x)
    return pooled, (x, pooled)


def _max_pool_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array]:
    x, pooled = saved
    count, height, width, channels = x.shape
    rows, columns = pooled.shape[1:3]
    even = x[:, : 2 * rows, : 2 * columns].reshape(count, rows, 2, columns, 2, channels)
    largest = even == pooled[:, :, None, :, None]
    share = gradient / largest.sum(axis=(2, 4))
    spread = jnp.where(largest, share[:, :, None, :, None], 0.0)
    spread = spread.reshape(count, 2 * rows, 2 * columns, channels)
    dropped = ((0, 0), (0, height - 2 * rows), (0, width - 2 * columns), (0, 0))
    return (jnp.pad(spread, dropped),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def average_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n _ _ c"]:
    """2×2 average pooling, odd borders dropped (Gatys et al. 2015, section 2)."""
    return nn.avg_pool(x, (2, 2), (2, 2))


POOLINGS = {"max": max_pool, "average": average_pool}


STRIP_ROWS = 128
"""Rows of a strip of the first block; even, so that pooling does not cross strips."""


def first_block_in_strips(
    params: PyTree, image: Float[Array, "h w 3"], pooling: str = "max"
) -> Float[Array, "_ _ c"]:
    """Returns the pooled activations of the first block, with little memory.

    The block's activations are the largest of the network. Strips of rows are computed
    one after the other and, for the gradient, once more; each with the two rows around
    it that its convolutions see, so that the result is the same.

    Args:
      params: parameters of `VGG`.
      image: normalized picture.
      pooling: ``max`` or ``average``.
    """
    height, width = image.shape[0] // 2 * 2, image.shape[1]
    count = -(-height // STRIP_ROWS)
    below = count * STRIP_ROWS + 2 - image.shape[0]
    padded = jnp.pad(image, ((2, below), (1, 1), (0, 0)))

    @jax.checkpoint
    def one_strip(start: Array) -> Array:
        rows = lax.dynamic_slice_in_dim(padded, start, STRIP_ROWS + 4)
        x = _convolve_valid(rows, params["conv1_1"])
        row = start - 1 + jnp.arange(STRIP_ROWS + 2)
        # Beyond the picture the second convolution sees zeros, not what the first makes
        # of zeros.
        inside = (row >= 0) & (row < image.shape[0])
        x = jnp.where(inside[:, None, None], x, 0.0)
        x = _convolve_valid(jnp.pad(x, ((0, 0), (1, 1), (0, 0))), params["conv1_2"])
        return POOLINGS[pooling](x[None])[0]

    strips = lax.map(one_strip, STRIP_ROWS * jnp.arange(count))
    return strips.reshape(-1, width // 2, strips.shape[-1])[: height // 2]


def _convolve_valid(x: Float[Array, "h w c"], layer: PyTree) -> Float[Array, "_ _ _"]:
    return nn.relu(winograd.direct(x[None], layer["kernel"], "VALID")[0] + layer["bias"])


@dataclasses.dataclass(frozen=True)
class VGGFeatures:
    """A VGG network with its input normalization: the `features` of the energy.

    Hashable by value, so it can be a static argument of jit.

    Attributes:
      architecture: ``vgg16`` or ``vgg19``.
      deepest: name of the last convolution that there are parameters for.
      mean: mean color that the network subtracts, RGB, in pixel values 0 to 1.
      std: what the network divides by, RGB, in pixel values 0 to 1.
      in_strips: compute the first block in strips, see `first_block_in_strips`; its
        layers are not returned then.
      pooling: ``max`` or ``average``.

    Example:
      >>> features = VGGFeatures("vgg19", "conv2_1")
      >>> params = features.random_params(jax.random.key(0))
      >>> features(params, jnp.zeros((32, 48, 3)))["relu2_1"].shape
      (16, 24, 128)
    """

    architecture: str
    deepest: str = "conv4_2"
    mean: tuple[float, float, float] = architectures.IMAGENET_MEAN
    std: tuple[float, float, float] = architectures.IMAGENET_STD
    in_strips: bool = False
    pooling: str = "max"

    def __call__(
        self, params: PyTree, image: Float[Array, "h w 3"]
    ) -> dict[str, Float[Array, "_ _ _"]]:
        """Returns activations by layer name of an sRGB picture in 0 to 1."""
        return _activations(params, image, network=self)

    @property
    def layers(self) -> list[str]:
        """Names of the layers that it returns, shallowest first."""
        names = architectures.convolution_names(self.architecture)
        return [name.replace("conv", "relu") for name in names[: names.index(self.deepest) + 1]]

    def shapes(self, shape: Shape) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the shapes of the activations of a picture of (height, width) `shape`.

        A plan asks for those of many sizes, of which each takes a tenth of a second to trace.
        """
        (height, width), shapes = shape, {}
        for name in self.layers:
            block, index = name.removeprefix("relu").split("_")
            if index == "1" and block != "1":
                height, width = height // 2, width // 2
            if block != "1" or not self.in_strips:
                channels = architectures.CHANNELS[int(block) - 1]
                shapes[name] = jax.ShapeDtypeStruct((height, width, channels), "float32")
        return shapes

    @property
    def input_scale(self) -> float:
        """Range of the network's input over the range of a pixel value."""
        return 3.0 / sum(self.std)

    def random_params(self, key: jax.Array) -> PyTree:
        """Returns He-initialized parameters, for tests."""
        module = VGG(self.architecture, self.deepest, initializer=nn.initializers.he_normal())
        return jax.jit(module.init)(key, jnp.zeros((32, 32, 3)))["params"]


@functools.partial(jax.jit, static_argnames="network", inline=True)
def _activations(
    params: PyTree, image: Float[Array, "h w 3"], *, network: VGGFeatures
) -> dict[str, Float[Array, "_ _ _"]]:
    """Returns activations by layer; jit so that a network is traced once for each size."""
    normalized = (image - jnp.asarray(network.mean)) / jnp.asarray(network.std)
    first_block = 1
    if network.in_strips:
        normalized = first_block_in_strips(params, normalized, network.pooling)
        first_block = 2
    module = VGG(
        network.architecture, network.deepest, pooling=network.pooling, first_block=first_block
    )
    return cast(dict[str, Array], module.apply({"params": params}, normalized))
