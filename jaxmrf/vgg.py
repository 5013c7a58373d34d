"""VGG-16 and VGG-19 (Simonyan & Zisserman 2015, configurations D and E) in Flax.

Layers carry the field's names: relu3_1 is the rectified output of the first
convolution of the third block.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions of each block (the paper's table 1, columns D and E)."""

CHANNELS = (64, 128, 256, 512, 512)
"""Output channels of the convolutions of each block."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def convolution_names(architecture: str) -> list[str]:
    """Returns the names of all convolutions, shallowest first: conv1_1, conv1_2, ..."""
    return [
        f"conv{block}_{index}"
        for block, count in enumerate(CONVOLUTIONS[architecture], start=1)
        for index in range(1, count + 1)
    ]


def kernel_shapes(architecture: str) -> dict[str, tuple[int, int, int, int]]:
    """Returns the kernel shape (3, 3, in, out) of each convolution by name."""
    shapes, channels = {}, 3
    for name in convolution_names(architecture):
        out = CHANNELS[int(name[4]) - 1]
        shapes[name] = (3, 3, channels, out)
        channels = out
    return shapes


class VGG(nn.Module):
    """The convolutions and poolings of a VGG network, up to a deepest one.

    Attributes:
      architecture: ``vgg16`` or ``vgg19``.
      deepest: name of the last convolution, such as ``conv4_2``.
    """

    architecture: str
    deepest: str

    @nn.compact
    def __call__(self, image: Float[Array, "h w 3"]) -> dict[str, Float[Array, "_ _ _"]]:
        """Returns the rectified activations by layer name, of a normalized picture."""
        layers, x = {}, image[None]
        for name in convolution_names(self.architecture):
            block, index = name.removeprefix("conv").split("_")
            if index == "1" and block != "1":
                x = max_pool(x)
            x = nn.relu(nn.Conv(CHANNELS[int(block) - 1], (3, 3), padding="SAME", name=name)(x))
            layers[f"relu{block}_{index}"] = x[0]
            if name == self.deepest:
                break
        return layers


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n _ _ c"]:
    """2×2 max pooling, odd borders dropped.

    As the maximum of four strided slices: the gradient of `reduce_window` is much
    slower on CPUs (docs/design.md).
    """
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    corners = [x[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
    return jnp.maximum(jnp.maximum(corners[0], corners[1]), jnp.maximum(corners[2], corners[3]))


@dataclasses.dataclass(frozen=True)
class Network:
    """A VGG network with its input normalization: the `features` of the energy.

    Hashable by value, so it can be a static argument of jit.

    Attributes:
      architecture: ``vgg16`` or ``vgg19``.
      deepest: name of the last convolution that there are parameters for.
      mean: mean color that the network subtracts, RGB, in pixel values 0 to 1.
      std: what the network divides by, RGB, in pixel values 0 to 1.

    Example:
      >>> network = Network("vgg19", "conv2_1")
      >>> params = network.random_params(jax.random.key(0))
      >>> network(params, jnp.zeros((32, 48, 3)))["relu2_1"].shape
      (16, 24, 128)
    """

    architecture: str
    deepest: str = "conv4_2"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __call__(
        self, params: PyTree, image: Float[Array, "h w 3"]
    ) -> dict[str, Float[Array, "_ _ _"]]:
        """Returns activations by layer name of an sRGB picture in 0 to 1."""
        normalized = (image - jnp.asarray(self.mean)) / jnp.asarray(self.std)
        return VGG(self.architecture, self.deepest).apply({"params": params}, normalized)

    @property
    def layers(self) -> list[str]:
        """Names of the layers that it returns, shallowest first."""
        names = convolution_names(self.architecture)
        return [name.replace("conv", "relu") for name in names[: names.index(self.deepest) + 1]]

    @property
    def input_scale(self) -> float:
        """Range of the network's input over the range of a pixel value."""
        return 3.0 / sum(self.std)

    def random_params(self, key: jax.Array) -> PyTree:
        """Returns He-initialized parameters, for tests."""
        image = jnp.zeros((32, 32, 3))
        return VGG(self.architecture, self.deepest).init(key, image)["params"]
