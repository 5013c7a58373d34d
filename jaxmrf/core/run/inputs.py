"""The pictures of a run, in the colors that it works on and at the sizes of its levels."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmrf.core import color, pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.energy import Region
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.core.pyramid import at_size, copies_of_all, mask_at
from jaxmrf.core.run.plan import Plan
from jaxmrf.core.settings import Settings, TermWeights

NOISE_LEVEL = 0.1
"""Standard deviation of the noise that ``init="noise"`` starts from, around
the style's mean color. The authors use 0.001 of a pixel range of 256."""


class RunPictures(NamedTuple):
    """The pictures of a run in the colors that it works on, each of any size.

    Attributes:
      content: content picture; None: un-guided synthesis.
      styles: style pictures.
      guides: what is where; None: anything goes anywhere.
      mask: where the picture may change; None: everywhere.
      original: what stays elsewhere.
      finish: colors that the finished picture is brought to; None: it keeps its own.
    """

    content: Float[Array, "_ _ 3"] | None
    styles: tuple[Float[Array, "_ _ 3"], ...]
    guides: Guides | None = None
    mask: Float[Array, "_ _"] | None = None
    original: Float[Array, "_ _ 3"] | None = None
    finish: color.Finish | None = None


def make_pictures(
    content: Float[Array, "_ _ 3"] | None,
    styles: Sequence[Float[Array, "_ _ 3"]],
    config: Config,
    *,
    guides: Guides | None = None,
    mask: Float[Array, "_ _"] | None = None,
) -> RunPictures:
    """Returns the pictures of a run in the colors that it works on.

    Args:
      content: content picture of any size, sRGB in 0 to 1; None: un-guided synthesis.
      styles: style pictures of any size, sRGB in 0 to 1.
      config: settings, of which the color and the weights of the styles matter.
      guides: what is where; of any size.
      mask: where the result may differ from the content (above 0.5); of any size.
    """
    styles, blend = tuple(styles), _blend(config)
    colored, colored_styles = _colored(content, styles, blend, config.color)
    finish = None if content is None else _finish(content, styles, blend)
    original = None if mask is None else content
    return RunPictures(colored, colored_styles, guides, mask, original, finish)


class LevelPictures(NamedTuple):
    """Pictures and weights of one pyramid level, for its targets (`energy.prepare`)."""

    content: Float[Array, "*_ h w 3"] | None
    styles: tuple[Float[Array, "*_ _ _ 3"], ...]
    weights: TermWeights
    blend: Float[Array, "*_ styles"] | None
    guides: Guides | None
    region: Region | None


def level_pictures(
    pictures: RunPictures, plan: Plan, level: int, settings: Settings
) -> LevelPictures:
    """Returns the pictures and weights of a pyramid level, at its size.

    Args:
      pictures: from `make_pictures`.
      plan: from `make_plan`.
      level: 0 is the coarsest.
      settings: of the run.
    """
    shape, style_shapes = plan.shapes[level], plan.style_shapes[level]

    def copies_of(styles: Sequence[Array | np.ndarray]) -> tuple[Array, ...]:
        sized = (
            at_size(*style_and_shape) for style_and_shape in zip(styles, style_shapes, strict=True)
        )
        return tuple(copies_of_all(list(sized), settings=settings.copies))

    styles = copies_of(pictures.styles)
    blend, guides, region = _blend(settings.config), pictures.guides, None
    if blend is not None:
        blend = jnp.repeat(blend, len(styles) // len(style_shapes))
    if guides is not None:
        guides = Guides(at_size(guides.picture, shape), copies_of(guides.styles))
    if pictures.mask is not None:
        region = Region(mask_at(pictures.mask, shape), at_size(pictures.original, shape))
    content = None if pictures.content is None else at_size(pictures.content, shape)
    weights = settings.weights(level, len(plan.shapes))
    return LevelPictures(content, styles, weights, blend, guides, region)


def _blend(config: Config) -> Array | None:
    """Returns the weights of the styles, the largest one; None: all the same."""
    if not config.style_blend:
        return None
    return jnp.asarray(config.style_blend, jnp.float32) / max(config.style_blend)


_finish = jax.jit(color.finish)


@functools.partial(jax.jit, static_argnames="choice")
def _colored(
    content: Array | None, styles: tuple[Array, ...], blend: Array | None, choice: str
) -> tuple[Array | None, tuple[Array, ...]]:
    """Returns content and styles with the colors that the transfer works on."""
    if content is None or choice == "none":
        return content, styles
    if choice == "match":
        return color.match_distribution(content, styles, blend), styles
    if choice == "histogram":
        return color.match_histogram(content, styles, blend), styles
    content = color.luminance(content)
    lights = (color.luminance(style)[..., :1] for style in styles)
    matched = (color.match_distribution(light, (content[..., :1],)) for light in lights)
    return content, tuple(jnp.repeat(light, 3, axis=-1) for light in matched)


def initial_picture(
    pictures: RunPictures, initial: Float[Array, "_ _ 3"] | None, plan: Plan, config: Config
) -> Float[Array, "h w 3"]:
    """Returns the picture that the coarsest level starts from, [h, w, 3].

    Args:
      pictures: from `make_pictures`.
      initial: picture to start from instead of what `config.init` says, of any size.
      plan: from `make_plan`.
      config: settings.
    """
    shape, key = plan.shapes[0], jax.random.key(config.seed)
    if initial is not None:
        return at_size(initial, shape)
    if pictures.content is not None and config.init == "content":
        return at_size(pictures.content, shape)
    styles = [
        at_size(*style_and_shape)
        for style_and_shape in zip(pictures.styles, plan.style_shapes[0], strict=True)
    ]
    if config.init == "shuffle":
        return pyramid.shuffled(styles, shape, key)
    mean = sum(style.mean(axis=(0, 1)) for style in styles) / len(styles)
    return mean + NOISE_LEVEL * jax.random.normal(key, (*shape, 3))
