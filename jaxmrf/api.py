"""The two calls most users need: `transfer` and `synthesize`, on arrays.

They load the network, plan the pyramid, run it and return the finished picture. The
pure functions underneath are in `transfer`, `energy`, `matching` and `losses`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxmrf.analysis import suitability
from jaxmrf.core import pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.losses.exemplars import Guides, same_proportions
from jaxmrf.core.run.inputs import decoder_rounds
from jaxmrf.core.run.loop import run
from jaxmrf.core.run.plan import TILE, Plan, make_plan
from jaxmrf.core.run.progress import Progress
from jaxmrf.errors import ConfigError
from jaxmrf.machine import memory
from jaxmrf.networks import vgg, weights

Pixels = Float[np.ndarray, "_ _ 3"]
Styles = Pixels | Sequence[Pixels]
Callback = Callable[[Progress], Any]


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished picture.

    Attributes:
      image: sRGB in 0 to 1, float32 [H, W, 3].
      progress: the last progress record.
    """

    image: Pixels
    progress: Progress


class More(TypedDict, total=False):
    """Arguments of `transfer` and `synthesize` that `iterate` explains."""

    initial: Pixels | None
    guides: Guides | None
    mask: Float[np.ndarray, "_ _"] | None
    network: weights.Loaded | None
    memory_budget: int | None
    judge_matches: bool
    on_plan: Callable[[Plan], Any]


def transfer(
    content: Pixels,
    style: Styles,
    config: Config | None = None,
    *,
    callback: Callback | None = None,
    **more: Unpack[More],
) -> Result:
    """Paints `content` in the manner of `style`.

    Args:
      content: sRGB in 0 to 1, [H, W, 3].
      style: sRGB in 0 to 1, [H, W, 3], or several of these.
      config: settings, the default preset if None. The result has the proportions of
        `content` and the longest side `config.size`.
      callback: called with a `Progress` when a level starts, after each round of the decoder
        and after each iteration.
      **more: as for `iterate`: a picture to start from, guides, a mask, the network.

    Raises:
      ConfigError: if a picture or setting cannot be used.
      NonFiniteEnergyError: if the energy is not a number.

    Example:
      >>> photograph = np.random.default_rng(0).random((48, 64, 3), np.float32)
      >>> painting = np.random.default_rng(1).random((64, 64, 3), np.float32)
      >>> transfer(photograph, painting, Config(size=64, iterations=(2,))).image.shape
      (48, 64, 3)
    """
    config = config or Config()
    check_pixels("content", content)
    shape = result_shape(content.shape[:2], config)
    return _finish(iterate(content, style, shape, config, **more), callback)


def synthesize(
    style: Styles,
    shape: tuple[int, int],
    config: Config | None = None,
    *,
    callback: Callback | None = None,
    **more: Unpack[More],
) -> Result:
    """Makes a new picture of (height, width) `shape` from the patches of `style`.

    Un-guided synthesis (paper, section 4.1): no content term, starting from noise. The
    arguments are those of `transfer`; the settings of content and color have no effect.

    Raises:
      ConfigError: if a picture or setting cannot be used.
      NonFiniteEnergyError: if the energy is not a number.
    """
    if min(shape) < 1:
        raise ConfigError(f"shape is {shape}; height and width must be at least 1")
    return _finish(iterate(None, style, shape, config or Config(), **more), callback)


def iterate(
    content: Pixels | None,
    style: Styles,
    shape: tuple[int, int],
    config: Config,
    *,
    initial: Pixels | None = None,
    guides: Guides | None = None,
    mask: Float[np.ndarray, "_ _"] | None = None,
    network: weights.Loaded | None = None,
    memory_budget: int | None = None,
    judge_matches: bool = False,
    on_plan: Callable[[Plan], Any] = lambda plan: None,
) -> Iterator[Progress]:
    """Yields the progress records of a transfer, or of a synthesis if `content` is None.

    For callers that want to look at each iteration or to stop early.

    Args:
      content: sRGB in 0 to 1, [H, W, 3], or None.
      style: sRGB in 0 to 1, [H, W, 3], or several of these.
      shape: (height, width) of the result.
      config: settings.
      initial: picture to start from instead of what `config.init` says.
      guides: what is where, in the result and in each style.
      mask: where the result may differ from the content (above 0.5).
      network: from `weights.load`, or ``Loaded(features, params)`` with a network of your
        own, whose layers `config` names; None loads the best that is there.
      memory_budget: bytes; None: large pictures are checked against what the device has
        (see `memory.fit`).
      judge_matches: whether to find the share of exact matches (see `transfer.run`).
      on_plan: called once, before the first record.

    Raises:
      ConfigError: if a picture or setting cannot be used.
      NonFiniteEnergyError: if the energy is not a number.
    """
    styles = (style,) if isinstance(style, np.ndarray) else tuple(style)
    named = {"content": content, "initial": initial}
    for name, pixels in (*named.items(), *(("style", each) for each in styles)):
        if pixels is not None:
            check_pixels(name, pixels)
    if mask is not None:
        _check_mask(mask, content, shape)
    if guides is not None:
        _check_guides(guides, shape, [each.shape[:2] for each in styles])
    network = network or weights.load()
    guided = content is not None
    config = for_network(config, network, guided=guided)
    network = with_pooling(network, config)
    plan = make_plan(
        shape,
        [each.shape[:2] for each in styles],
        network.params,
        features=network.network,
        config=config,
        guided=guided,
    )
    network = memory.fit(network, plan, config, guided=guided, budget=memory_budget)
    on_plan(plan)
    yield from run(
        network.params,
        None if content is None else jnp.asarray(content),
        tuple(map(jnp.asarray, styles)),
        plan,
        features=network.network,
        config=config,
        initial=None if initial is None else jnp.asarray(initial),
        guides=jax.tree.map(jnp.asarray, guides),
        mask=None if mask is None else jnp.asarray(mask, jnp.float32),
        trained=network.decoder,
        judge_matches=judge_matches,
    )


def result_shape(content_shape: tuple[int, int], config: Config) -> tuple[int, int]:
    """Returns (height, width) of the result of a transfer.

    Args:
      content_shape: (height, width) of the content picture.
      config: settings.

    Raises:
      ConfigError: if a picture of these sides cannot be tiled.
    """
    shape = pyramid.fit(*content_shape, config.size)
    if not config.tileable or not any(side % TILE for side in shape):
        return shape
    longest = pyramid.size_in_steps(*content_shape, near=config.size, step=TILE)
    if longest is None:
        height, width = (max(1, round(side / TILE)) * TILE for side in shape)
        advice = f"crop the photograph to the proportions of {width}×{height}"
    else:
        height, width = pyramid.fit(*content_shape, longest)
        advice = f"size {longest} gives {width}×{height}"
    raise ConfigError(
        f"the sides of a tileable picture must be multiples of {TILE}, {shape[1]}×{shape[0]} "
        f"are not; {advice}"
    )


def measure_suitability(
    content: Pixels, style: Styles, config: Config, network: weights.Loaded
) -> suitability.Suitability:
    """Returns how well the patches of the style can explain the content.

    Takes a second or two the first time, and less from then on.

    Args:
      content: sRGB in 0 to 1, [H, W, 3].
      style: sRGB in 0 to 1, [H, W, 3], or several of these.
      config: settings, of which only the layers matter, and those for networks of one's own.
      network: from `weights.load`.
    """
    styles = (style,) if isinstance(style, np.ndarray) else tuple(style)
    return suitability.measure(
        network.params,
        jnp.asarray(content),
        tuple(map(jnp.asarray, styles)),
        features=network.network,
        layers=config.layers,
    )


def for_network(config: Config, network: weights.Loaded, *, guided: bool = True) -> Config:
    """Returns `config` with what depends on the network: Gram layers, pixel range, iterations.

    Of the default layers of the Gram loss, those that the network lacks are left out; others
    are taken as they are, and `transfer.make_plan` refuses what is not there. The presets
    `paper` and `reference` weigh pixels against features of a network whose input has a range
    of 256; for a network with another input range, features and pixels shrink together.
    Iterations that are not given are fewer where a decoder starts the levels of a transfer.

    Args:
      config: settings.
      network: the network.
      guided: whether there is a content picture.

    Raises:
      ConfigError: if the network has none of the default layers of the Gram loss.
    """
    if "gram" in config.style_losses() and config.gram_layers == Config().gram_layers:
        picture = jax.ShapeDtypeStruct((64, 64, 3), np.float32)
        layers = jax.eval_shape(network.network, network.params, picture)
        there = tuple(name for name in config.gram_layers if name in layers)
        if not there:
            raise ConfigError(
                f"the network has no layer of the Gram loss; choose gram_layers from "
                f"{', '.join(layers)}"
            )
        config = dataclasses.replace(config, gram_layers=there)
    config = config.scheduled(decoded=guided and rounds_of(config, network) > 0)
    if config.normalization == "relative":
        return config
    scale = getattr(network.network, "input_scale", 1.0)
    return dataclasses.replace(config, pixel_scale=scale)


def rounds_of(config: Config, network: weights.Loaded) -> int:
    """Returns the rounds of the network's decoder that a level starts with.

    Raises:
      ConfigError: as `with_pooling` does.
    """
    return decoder_rounds(config, with_pooling(network, config).decoder)


def with_pooling(network: weights.Loaded, config: Config) -> weights.Loaded:
    """Returns the network with the pooling that `config` asks for.

    A decoder knows the features of one pooling; with another one there is none.

    Raises:
      ConfigError: if it asks for another pooling of a network that is no VGG.
    """
    if not isinstance(network.network, vgg.Network):
        if config.pooling != "max":
            raise ConfigError(f"pooling is {config.pooling}; only VGG networks have a choice")
        return network
    pooled = dataclasses.replace(network.network, pooling=config.pooling)
    decoder = network.decoder if pooled == network.network else None
    return dataclasses.replace(network, network=pooled, decoder=decoder)


def _finish(records: Iterator[Progress], callback: Callback | None) -> Result:
    for progress in records:
        if callback is not None:
            callback(progress)
    return Result(np.asarray(progress.picture()), progress)


def _check_mask(mask: np.ndarray, content: np.ndarray | None, shape: tuple[int, int]) -> None:
    if content is None:
        raise ConfigError("a mask needs a content picture, which stays where the mask is black")
    if mask.ndim != 2 or not (mask > 0.5).any():
        raise ConfigError("the mask must be [height, width] and white somewhere")
    _check_proportions("the mask", mask.shape, shape)


def _check_guides(
    guides: Guides, shape: tuple[int, int], style_shapes: Sequence[tuple[int, int]]
) -> None:
    if len(guides.styles) != len(style_shapes):
        raise ConfigError(f"{len(guides.styles)} style guide(s) for {len(style_shapes)} style(s)")
    found = (guides.picture, *guides.styles)
    if any(each.ndim != 3 for each in found) or len({each.shape[2] for each in found}) > 1:
        shapes = ", ".join(str(each.shape) for each in found)
        raise ConfigError(
            f"the guides have shapes {shapes}; each must be [height, width, labels], with as "
            "many labels as the others"
        )
    _check_proportions("the guide of the picture", guides.picture.shape, shape)
    for number, (guide, style) in enumerate(zip(guides.styles, style_shapes, strict=True), 1):
        _check_proportions(f"the guide of style {number}", guide.shape, style)


def _check_proportions(name: str, found: tuple[int, ...], shape: tuple[int, int]) -> None:
    if not same_proportions(found[:2], shape):
        raise ConfigError(
            f"{name} has {found[1]}×{found[0]} pixels, its picture {shape[1]}×{shape[0]}; "
            "they must have the same proportions"
        )


def check_pixels(name: str, pixels: np.ndarray) -> None:
    """Checks that an array is a picture: [height, width, 3], values from 0 to 1.

    Raises:
      ConfigError: if it is not.
    """
    if pixels.ndim != 3 or pixels.shape[-1] != 3 or not pixels.size:
        raise ConfigError(f"{name} has shape {pixels.shape}; it must be [height, width, 3]")
    if not np.issubdtype(pixels.dtype, np.floating) or not (np.abs(pixels - 0.5) <= 0.51).all():
        raise ConfigError(f"{name} must have floating-point values from 0 to 1")
