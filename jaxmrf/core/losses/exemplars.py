"""Exemplars of a style loss: features of the styles, their weights and labels."""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxmrf.core.config import Shape
from jaxmrf.core.settings import Program

PROPORTIONS = 0.02
"""How far the proportions of a guide or mask may be from those of its picture, relatively."""


class Guides(NamedTuple):
    """Labels of the positions of picture and styles: one channel per label, in 0 to 1.

    Attributes:
      picture: labels of the picture that is made.
      styles: labels of each style picture or copy.
    """

    picture: Float[Array | np.ndarray, "_ _ labels"]
    styles: tuple[Float[Array | np.ndarray, "_ _ labels"], ...]


class Anchor(NamedTuple):
    """The content picture, which holds the matches in their places.

    Attributes:
      features: activations of the content by layer, with their `margin`.
      colors: the content at the size of these layers, sRGB in 0 to 1.
      weight: share of them in what is matched, 0 to 1.
      share: share of them in what is put together from the matches, 0 to 1.
    """

    features: Mapping[str, Float[Array, "_ _ _"]]
    colors: Mapping[str, Float[Array, "_ _ 3"]]
    weight: Float[Array, ""]
    share: Float[Array, ""]


class Exemplars(NamedTuple):
    """The styles as a style loss sees them.

    Attributes:
      maps: activations by layer, of each style copy.
      pictures: the style copies themselves, sRGB in 0 to 1.
      sizes: (height, width) of the picture's activations by layer, see `margin`.
      blend: weight of each copy, the largest one; None: all weigh the same.
      guides: labels of the picture and of each copy; None: anything goes anywhere.
      anchor: the content; None: un-guided synthesis.
    """

    maps: tuple[Mapping[str, Float[Array, "_ _ _"]], ...]
    pictures: tuple[Float[Array, "_ _ 3"], ...]
    sizes: Mapping[str, Shape]
    blend: Float[Array, " copies"] | None = None
    guides: Guides | None = None
    anchor: Anchor | None = None


def same_proportions(shape: Shape, reference: Shape) -> bool:
    """Returns whether two pictures of (height, width) have the same proportions, nearly.

    Example:
      >>> same_proportions((100, 150), (341, 512))
      True
    """
    return abs(shape[0] * reference[1] / (shape[1] * reference[0]) - 1.0) <= PROPORTIONS


def margin(program: Program) -> int:
    """Returns by how much the activations of a picture are continued on each side.

    Those of a tileable picture go on around its borders, so that every position is
    covered by as many patches as any other.
    """
    return program.patches.patch_size - 1 if program.tileable else 0


def within_margin(activations: Float[Array, "_ _ *c"], program: Program) -> Float[Array, "_ _ *c"]:
    """Returns activations of the picture alone, each position once."""
    around = margin(program)
    rows, columns = (slice(around, length - around) for length in activations.shape[:2])
    return activations[rows, columns]


def labels_at(labels: Float[Array | np.ndarray, "_ _ labels"], shape: Shape) -> Int[Array, "h w"]:
    """Returns the label at each position of a feature map of (height, width) `shape`."""
    rows, columns = (
        ((np.arange(count) + 0.5) * length / count).astype(np.int32)
        for count, length in zip(shape, labels.shape, strict=False)
    )
    # Labels on the host are compared there, which compiles nothing.
    return jnp.asarray(labels[rows][:, columns].argmax(axis=-1).astype(np.int32))
