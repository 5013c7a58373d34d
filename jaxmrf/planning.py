"""Network, settings and plan of a run, from pictures' shapes and a config."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxmrf.analysis import suitability
from jaxmrf.core import pyramid
from jaxmrf.core.config import Config, Shape
from jaxmrf.core.features import Network
from jaxmrf.core.matching import matchers
from jaxmrf.core.run.plan import TILE, Plan, check_iterations, make_plan
from jaxmrf.core.settings import Settings, resolve
from jaxmrf.errors import ConfigError
from jaxmrf.machine import device, memory, score_precision
from jaxmrf.networks import vgg

Pixels = Float[np.ndarray, "_ _ 3"]
Styles = Pixels | Sequence[Pixels]


class Planned(NamedTuple):
    """Network, settings and plan that a run is computed with.

    Attributes:
      network: with the pooling of the settings, in strips where memory is short.
      settings: with every choice made.
      plan: sizes and iterations of the levels.
    """

    network: Network
    settings: Settings
    plan: Plan


def plan_run(
    shape: Shape,
    style_shapes: Sequence[Shape],
    config: Config,
    network: Network,
    *,
    has_content: bool = True,
    has_start: bool = False,
    memory_budget: int | None = None,
) -> Planned:
    """Returns the network, settings and plan that a run is computed with.

    Args:
      shape: (height, width) of the result.
      style_shapes: (height, width) of each style picture as it is.
      config: what the user chose.
      network: the network.
      has_content: whether there is a content picture.
      has_start: whether there is a picture to start from instead of what `config.init` says.
      memory_budget: bytes; None: large pictures are checked against what the device has
        (see `memory.fit`).

    Raises:
      ConfigError: if a setting cannot be used, or the run does not fit.
    """
    network, settings = resolved(
        config, network, shape, has_content=has_content, has_start=has_start
    )
    plan = make_plan(shape, style_shapes, network, settings)
    network = memory.fit(network, plan, settings, budget=memory_budget)
    return Planned(network, settings, plan)


def resolved(
    config: Config,
    network: Network,
    shape: Shape,
    *,
    has_content: bool = True,
    has_start: bool = False,
    here: bool = True,
) -> tuple[Network, Settings]:
    """Returns the network with the pooling that `config` asks for, and the settings for it.

    Args:
      config: what the user chose.
      network: the network.
      shape: (height, width) of the result.
      has_content: whether there is a content picture.
      has_start: whether there is a picture to start from instead of what `config.init` says.
      here: whether this process computes the run. One that does not must not start an
        accelerator, whose memory it would take.

    Raises:
      ConfigError: if a setting cannot be used with this network, or at this size.
    """
    network = with_pooling(network, config)
    settings = resolve(config, network, has_content=has_content, has_start=has_start)
    check_iterations(config, shape, rounds=settings.rounds, has_content=has_content)
    return network, _for_device(settings, shape) if here else settings


def _for_device(settings: Settings, shape: Shape) -> Settings:
    """Returns the settings with what depends on the device that computes chosen."""
    accelerates, config = device.accelerates(), settings.config
    if accelerates:
        settings = settings.for_accelerator()
    if config.score_precision != "auto":
        return settings
    # As of a layer at a quarter of the size.
    pairs = (math.prod(shape) / 16) ** 2
    if settings.program.patches.matching == "auto" and pairs > matchers.EXACT_PAIRS:
        return settings  # not all pairs are compared
    matches = settings.rounds + config.iterations[-1] / config.match_every
    chosen = score_precision.fastest(pairs * matches, accelerates=accelerates)
    return settings.with_patches(score_precision=chosen)


def with_pooling(network: Network, config: Config) -> Network:
    """Returns the network with the pooling that `config` asks for.

    A decoder knows the features of one pooling; with another one there is none.

    Raises:
      ConfigError: if it asks for another pooling of a network that is no VGG.
    """
    if not isinstance(network.features, vgg.VGGFeatures):
        if config.pooling != "max":
            raise ConfigError(
                f"pooling is {config.pooling}; only VGG networks have a choice", "pooling"
            )
        return network
    pooled = dataclasses.replace(network.features, pooling=config.pooling)
    decoder = network.decoder if pooled == network.features else None
    return dataclasses.replace(network, features=pooled, decoder=decoder)


def result_shape(content_shape: Shape, config: Config) -> tuple[int, int]:
    """Returns (height, width) of the result of a transfer.

    Args:
      content_shape: (height, width) of the content picture.
      config: settings.

    Raises:
      ConfigError: if a picture of these sides cannot be tiled.
    """
    height, width = content_shape
    shape = pyramid.fit(height, width, config.size)
    if not config.tileable or not any(side % TILE for side in shape):
        return shape
    longest = pyramid.size_in_steps(height, width, near=config.size, step=TILE)
    if longest is None:
        height, width = (max(1, round(side / TILE)) * TILE for side in shape)
        advice = f"crop the photograph to the proportions of {width}×{height}"
    else:
        height, width = pyramid.fit(height, width, longest)
        advice = f"size {longest} gives {width}×{height}"
    raise ConfigError(
        f"the sides of a tileable picture must be multiples of {TILE}, {shape[1]}×{shape[0]} "
        f"are not; {advice}",
        "size",
    )


def measure_suitability(
    content: Pixels, style: Styles, config: Config, network: Network
) -> suitability.Suitability:
    """Returns how well the patches of the style can explain the content.

    Takes a second or two the first time, and less from then on.

    Args:
      content: sRGB in 0 to 1, [H, W, 3].
      style: sRGB in 0 to 1, [H, W, 3], or several of these.
      config: settings, of which only the layers matter, and those for networks of one's own.
      network: the network.
    """
    styles = (style,) if isinstance(style, np.ndarray) else tuple(style)
    return suitability.measure(
        network, jnp.asarray(content), tuple(map(jnp.asarray, styles)), layers=config.layers
    )
