"""How well style patches can explain a content picture, measured before the first iteration.

The paper (section 5) names where the method fails: no patches in the style that are like
those of the content, other parts of objects, strong perspective. It shows in low scores of
the matches at the coarsest pyramid level.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxmrf.core import color
from jaxmrf.core.features import Network
from jaxmrf.core.matching import nearest, style_patches
from jaxmrf.core.pyramid import at_size

SIDE = 96
"""Pixels of both sides of the pictures that are compared, whatever size and proportions they
have: the numbers of all runs compare with each other, and all share one compiled program."""

LAYER = "relu4_1"
"""Where patches are compared; in networks without it, in the deepest of the style's layers."""

PATCH_SIZE = 3

FEWEST_MATCHES = 16
"""Fewer matches than this say nothing about a picture."""

POOR_SCORE = 0.24
"""Scores below this, with VGG-16, came with poor pictures; docs/gallery.md shows some."""

POOR_SHARE = 0.385
"""Share of distinct style patches below which a few stand for the whole picture: paintings had
0.40 or more, noise 0.27 to 0.41 (`benchmarks/suitability.py`)."""

PLAIN_SCORE, PLAIN_SHARE = 0.6, 0.7
"""Above this score, below this share a style has nothing but plain areas. Pairs of pictures had
scores up to 0.33, a flat color from 0.69 on; a picture and itself have 1 and a share of 1."""


class Suitability(NamedTuple):
    """What the matches at a small size say of a content and its styles.

    Attributes:
      score: median cosine of the matches of the deepest layer, 0 to 1.
      distinct: distinct style patches among the matches, of as many as could be, 0 to 1.
      matches: number of matches.
    """

    score: float
    distinct: float
    matches: int

    @property
    def alien(self) -> bool:
        """Whether hardly any style patch resembles the content."""
        return self.matches >= FEWEST_MATCHES and self.score < POOR_SCORE

    @property
    def monotonous(self) -> bool:
        """Whether a few style patches stand for the whole content."""
        plain = self.score > PLAIN_SCORE and self.distinct < PLAIN_SHARE
        return self.matches >= FEWEST_MATCHES and (plain or self.distinct < POOR_SHARE)


def advice(suitability: Suitability, *, varied: bool) -> str | None:
    """Returns what to do about a pair that will come out poorly, None if it need not.

    Args:
      suitability: from `measure`.
      varied: whether style patches that were taken often are avoided already.
    """
    if suitability.alien:
        return (
            "the painting has little that resembles this photograph (median score "
            f"{suitability.score:.2f}, good pairs have 0.25 or more); "
            "try another painting, or a crop"
        )
    if suitability.monotonous:
        variety = "" if varied else "a variety of 1 or "
        return (
            f"few patches of the painting stand for the whole photograph "
            f"({suitability.distinct:.0%} of those possible); try {variety}another painting"
        )
    return None


def measure(
    network: Network,
    content: Float[Array, "_ _ 3"],
    styles: Sequence[Float[Array, "_ _ 3"]],
    *,
    layers: Sequence[str],
) -> Suitability:
    """Matches the content with its styles, all at one small size; no setting has a part in it.

    Args:
      network: the network.
      content: content picture of any size, sRGB in 0 to 1.
      styles: style pictures of any size, sRGB in 0 to 1.
      layers: of the style, for networks that do not have `LAYER`.
    """
    numbers = _measure(
        network,
        at_size(content, (SIDE, SIDE)),
        tuple(at_size(style, (SIDE, SIDE)) for style in styles),
        layers=tuple(layers),
    )
    return Suitability(*(number.item() for number in jax.device_get(numbers)))


@functools.partial(jax.jit, static_argnames="layers")
def _measure(
    network: Network,
    content: Array,
    styles: tuple[Array, ...],
    *,
    layers: tuple[str, ...],
) -> tuple[Array, Array, Array]:
    # One after the other: several styles then compile no longer than one.
    pictures = jnp.stack([color.match_distribution(content, styles, None), *styles])
    activations = lax.map(lambda picture: _activations(network, picture, layers), pictures)
    style = style_patches.collect(tuple(activations[1:]), PATCH_SIZE, 1)
    matches = nearest.match(activations[0], style, PATCH_SIZE, 1)
    used = jnp.zeros(style.scale.size, bool).at[matches.position.ravel()].set(True)
    possible = jnp.minimum(matches.score.size, jnp.sum(style.scale >= 0))
    return jnp.median(matches.score), jnp.sum(used) / possible, jnp.asarray(matches.score.size)


def _activations(network: Network, picture: Array, layers: tuple[str, ...]) -> Array:
    activations = network(picture)
    return (
        activations[LAYER]
        if LAYER in activations
        else activations[[n for n in activations if n in layers][-1]]
    )
