"""The pictures of a run, in the colors that it works on and at the sizes of its levels."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmrf.core import color, decoder, pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.decoder import Decoder
from jaxmrf.core.energy import Region, Weights
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.core.pyramid import at_size, copies_of_all, mask_at
from jaxmrf.core.run.plan import Plan

NOISE_LEVEL = 0.1
"""Standard deviation of the noise that ``init="noise"`` starts from, around
the style's mean color. The authors use 0.001 of a pixel range of 256."""


class Inputs(NamedTuple):
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


def settled(
    config: Config, *, guided: bool, started: bool, trained: Decoder | None = None
) -> Config:
    """Returns the settings with the choices made that depend on what a run starts from.

    Args:
      config: settings.
      guided: whether there is a content picture.
      started: whether there is a picture to start from instead of what `config.init` says.
      trained: decoder of the network; None: there is none.
    """
    noise = config.init == "noise" or (config.init == "content" and not guided)
    decoded = decoder_rounds(config, trained) > 0
    return config.starting(plainly=decoded or (noise and not started))


def make_inputs(
    content: Float[Array, "_ _ 3"] | None,
    styles: Sequence[Float[Array, "_ _ 3"]],
    config: Config,
    *,
    guides: Guides | None = None,
    mask: Float[Array, "_ _"] | None = None,
) -> Inputs:
    """Returns the pictures of a run in the colors that it works on.

    Args:
      content: content picture of any size, sRGB in 0 to 1; None: un-guided synthesis.
      styles: style pictures of any size, sRGB in 0 to 1.
      config: settings, of which the color and the weights of the styles matter.
      guides: what is where; of any size.
      mask: where the result may differ from the content (above 0.5); of any size.
    """
    styles, blend = tuple(styles), _blend(config)
    painted = _colored(content, styles, blend, config.color)
    finish = None if content is None else _finish(content, styles, blend)
    return Inputs(*painted, guides, mask, None if mask is None else content, finish)


def decoder_rounds(config: Config, trained: Decoder | None) -> int:
    """Returns how many rounds of match and decode a level starts with.

    None where there is nothing to decode: no decoder, or a style loss that does not match its
    layers; and none in a tileable picture, which the decoder knows nothing of.

    Args:
      config: settings.
      trained: decoder of the network; None: there is none.
    """
    matched = "mrf" in config.style_losses() and set(decoder.LAYERS) <= set(config.layers)
    if trained is None or not matched or config.tileable:
        return 0
    return config.decoder_rounds


def level_weights(config: Config, level: int, levels: int) -> Weights:
    """Returns the weights of the terms at pyramid level `level` of `levels`."""
    return Weights(
        config.content_weight_at(level, levels),
        {name: config.style_weight * each for name, each in config.style_losses().items()},
        config.tv_weight,
        config.anchor,
        config.content_share,
    )


class LevelInputs(NamedTuple):
    """What the targets of one pyramid level are prepared from, see `energy.prepare`."""

    content: Float[Array, "*_ h w 3"] | None
    styles: tuple[Float[Array, "*_ _ _ 3"], ...]
    weights: Weights
    blend: Float[Array, "*_ styles"] | None
    guides: Guides | None
    region: Region | None


def level_inputs(inputs: Inputs, plan: Plan, level: int, config: Config) -> LevelInputs:
    """Returns what the targets of a pyramid level are prepared from, at its size.

    Args:
      inputs: from `make_inputs`.
      plan: from `make_plan`.
      level: 0 is the coarsest.
      config: settings.
    """
    shape, style_shapes = plan.shapes[level], plan.style_shapes[level]

    def copies_of(pictures: Sequence[Array]) -> tuple[Array, ...]:
        sized = (at_size(*each) for each in zip(pictures, style_shapes, strict=True))
        return tuple(copies_of_all(list(sized), config=config.copies()))

    styles = copies_of(inputs.styles)
    blend, guides, region = _blend(config), inputs.guides, None
    if blend is not None:
        blend = jnp.repeat(blend, len(styles) // len(style_shapes))
    if guides is not None:
        guides = Guides(at_size(guides.picture, shape), copies_of(guides.styles))
    if inputs.mask is not None:
        region = Region(mask_at(inputs.mask, shape), at_size(inputs.original, shape))
    content = None if inputs.content is None else at_size(inputs.content, shape)
    weights = level_weights(config, level, len(plan.shapes))
    return LevelInputs(content, styles, weights, blend, guides, region)


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
    inputs: Inputs, initial: Float[Array, "_ _ 3"] | None, plan: Plan, config: Config
) -> Float[Array, "h w 3"]:
    """Returns the picture that the coarsest level starts from, [h, w, 3].

    Args:
      inputs: from `make_inputs`.
      initial: picture to start from instead of what `config.init` says, of any size.
      plan: from `make_plan`.
      config: settings.
    """
    shape, key = plan.shapes[0], jax.random.key(config.seed)
    if initial is not None:
        return at_size(initial, shape)
    if inputs.content is not None and config.init == "content":
        return at_size(inputs.content, shape)
    styles = [at_size(*each) for each in zip(inputs.styles, plan.style_shapes[0], strict=True)]
    if config.init == "shuffle":
        return pyramid.shuffled(styles, shape, key)
    mean = sum(style.mean(axis=(0, 1)) for style in styles) / len(styles)
    return mean + NOISE_LEVEL * jax.random.normal(key, (*shape, 3))
