"""The decoder: from the features put together at the matches straight to a picture.

A small network that inverts two layers of VGG, trained once for each network
(`weights/train_decoder.py`). Where L-BFGS needs many iterations to find a picture that has
the assembled features, the decoder paints one in a single pass; feed-forward inversion of
matched patches goes back to Chen & Schmidt 2016, "Fast Patch-based Style Transfer"
(arXiv 1612.04337).
"""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

LAYERS = ("relu3_1", "relu4_1")
"""The layers that are decoded, finest first: a quarter and an eighth of the picture's sides."""

WIDTH = 128
"""Channels at a quarter of the picture's sides, and, halved twice, at the finer ones."""

BLOCKS = 2
"""Residual blocks at a quarter of the picture's sides."""


class Decoder(NamedTuple):
    """A trained decoder.

    Attributes:
      params: of `Network`.
      scale: root mean square of the features of each layer, which they are divided by.
    """

    params: PyTree
    scale: Mapping[str, Float[Array, ""]]


class Network(nn.Module):
    """3×3 convolutions at 1/4, 1/2 and full size; 1.2 million parameters for VGG."""

    @nn.compact
    def __call__(
        self,
        fine: Float[Array, "h4 w4 _"],
        coarse: Float[Array, "h8 w8 _"],
        slow: Float[Array, "h8 w8 3"],
        shapes: tuple[tuple[int, ...], ...],
    ) -> Float[Array, "h w 3"]:
        """Returns the colors that are added to the slow ones.

        Args:
          fine: features of the finer layer, about one in square mean.
          coarse: features of the coarser layer.
          slow: the slow colors, less one half.
          shapes: (height, width) at half and full size.
        """
        x = nn.relu(nn.Conv(WIDTH, (1, 1), name="coarse")(jnp.concatenate([coarse, slow], -1)))
        x = jnp.concatenate([_doubled(x, fine.shape[:2]), fine], -1)
        x = _continued(x, 1 + 2 * BLOCKS)
        x = nn.relu(nn.Conv(WIDTH, (3, 3), name="quarter")(x))
        for block in range(1, BLOCKS + 1):
            more = nn.relu(nn.Conv(WIDTH, (3, 3), name=f"block{block}_1")(x))
            x = nn.relu(x + nn.Conv(WIDTH, (3, 3), name=f"block{block}_2")(more))
        x = _continued(_doubled(_inner(x, 1 + 2 * BLOCKS), shapes[0]), 2)
        for index in (1, 2):
            x = nn.relu(nn.Conv(WIDTH // 2, (3, 3), name=f"half_{index}")(x))
        x = _continued(_doubled(_inner(x, 2), shapes[1]), 3)
        for index in (1, 2):
            x = nn.relu(nn.Conv(WIDTH // 4, (3, 3), name=f"full_{index}")(x))
        return _inner(nn.Conv(3, (3, 3), name="picture")(x), 3)


def decode(
    decoder: Decoder,
    features: Mapping[str, Float[Array, "_ _ _"]],
    slow: Float[Array, "h8 w8 3"],
    shape: tuple[int, ...],
) -> Float[Array, "height width 3"]:
    """Returns a picture that has the given features and slow colors.

    Args:
      decoder: trained for the network that the features are of.
      features: of the layers in `LAYERS`.
      slow: the picture's colors at the positions of the coarser layer, sRGB in 0 to 1.
      shape: (height, width) of the picture.

    Returns:
      sRGB, values around 0 to 1 (not clipped).
    """
    fine, coarse = (features[name] / decoder.scale[name] for name in LAYERS)
    shapes = ((shape[0] // 2, shape[1] // 2), shape)
    added = Network().apply({"params": decoder.params}, fine, coarse, slow - 0.5, shapes)
    return jax.image.resize(slow, (*shape, 3), "linear") + added


def slow_colors(colors: Mapping[str, Float[Array, "_ _ 3"]]) -> Float[Array, "h8 w8 3"]:
    """Returns the slow colors: those of the finer layer, at the positions of the coarser one.

    The matches of the finer layer are of smaller patches, so that fewer colors are mixed.
    """
    fine, coarse = (colors[name] for name in LAYERS)
    return jax.image.resize(fine, coarse.shape, "linear", antialias=True)


def initial(channels: Mapping[str, int], key: jax.Array) -> PyTree:
    """Returns parameters to start the training from.

    Args:
      channels: of each layer in `LAYERS`.
      key: of the random numbers.
    """
    fine, coarse = (
        jnp.zeros((side, side, channels[name])) for side, name in zip((4, 2), LAYERS, strict=True)
    )
    shapes = ((8, 8), (16, 16))
    return Network().init(key, fine, coarse, jnp.zeros((2, 2, 3)), shapes)["params"]


def _doubled(x: Float[Array, "_ _ c"], shape: tuple[int, ...]) -> Float[Array, "h w c"]:
    """Returns a map at twice its sides, continued by one position where `shape` is odd."""
    x = jnp.repeat(jnp.repeat(x, 2, axis=0), 2, axis=1)
    after = [(0, side - length) for side, length in zip(shape, x.shape, strict=False)]
    return jnp.pad(x, (*after, (0, 0)), mode="edge")


def _continued(x: Float[Array, "_ _ c"], by: int) -> Float[Array, "_ _ c"]:
    """Returns a map continued by its border: so many convolutions see no zeros beside it."""
    return jnp.pad(x, ((by, by), (by, by), (0, 0)), mode="edge")


def _inner(x: Float[Array, "_ _ c"], by: int) -> Float[Array, "_ _ c"]:
    """Returns a map without the border that `_continued` added."""
    return x[by:-by, by:-by]
