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
from jaxtyping import Array, Float, PyTree

from jaxmrf import matching
from jaxmrf.config import Config
from jaxmrf.energy import Features
from jaxmrf.transfer import Plan, at_size, make_inputs

FEWEST_MATCHES = 16
"""Fewer matches than this say nothing about a picture."""

POOR_SCORE = 0.235
"""Scores below this, with VGG-16, came with poor pictures; docs/gallery.md shows some."""

POOR_SHARE = 0.2
"""Share of distinct style patches below which a few stand for the whole picture."""


class Suitability(NamedTuple):
    """What the matches at the coarsest level say of a content and its styles.

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
        return self.matches >= FEWEST_MATCHES and self.distinct < POOR_SHARE


def advice(found: Suitability) -> str | None:
    """Returns what to do about a pair that will come out poorly, None if it need not."""
    if found.alien:
        return (
            f"the painting has little that resembles this photograph (median score "
            f"{found.score:.2f}, good pairs have 0.25 or more); try another painting, a crop, "
            "or a higher content weight"
        )
    if found.monotonous:
        return (
            f"few patches of the painting stand for the whole photograph "
            f"({found.distinct:.0%} of those possible); try a variety of 1 or another painting"
        )
    return None


def measure(
    params: PyTree,
    content: Float[Array, "_ _ 3"],
    styles: Sequence[Float[Array, "_ _ 3"]],
    plan: Plan,
    *,
    features: Features,
    config: Config,
) -> Suitability:
    """Matches the content with its styles, as they are, at the coarsest level.

    Args:
      params: parameters of the network.
      content: content picture of any size, sRGB in 0 to 1.
      styles: style pictures of any size, sRGB in 0 to 1.
      plan: from `transfer.make_plan`.
      features: the network.
      config: settings; guides, weights, rotations and scales of styles play no part here.
    """
    inputs = make_inputs(content, styles, config)
    found = _measure(
        params,
        at_size(inputs.content, plan.shapes[0]),
        tuple(at_size(*each) for each in zip(inputs.styles, plan.style_shapes[0], strict=True)),
        features=features,
        config=config.program(),
    )
    return Suitability(*(number.item() for number in jax.device_get(found)))


@functools.partial(jax.jit, static_argnames=("features", "config"))
def _measure(
    params: PyTree,
    content: Array,
    styles: tuple[Array, ...],
    *,
    features: Features,
    config: Config,
) -> tuple[Array, Array, Array]:
    layers = features(params, content)
    deepest = [name for name in layers if name in config.layers][-1]
    maps = tuple(features(params, style)[deepest] for style in styles)
    style = matching.collect(maps, config.patch_size, config.style_stride)
    found = matching.nearest(layers[deepest], style, config.patch_size, config.stride)
    used = jnp.zeros(style.scale.size, bool).at[found.position.ravel()].set(True)
    possible = jnp.minimum(found.score.size, jnp.sum(style.scale >= 0))
    return jnp.median(found.score), jnp.sum(used) / possible, jnp.asarray(found.score.size)
