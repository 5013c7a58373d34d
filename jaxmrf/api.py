"""The two calls most users need: `transfer` and `synthesize`, on arrays.

They load the network, plan the pyramid, run it and return the finished picture. The
pure functions underneath are in `transfer`, `energy`, `matching` and `losses`.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxmrf import memory, pyramid, weights
from jaxmrf.config import Config, ConfigError

# The function `jaxmrf.transfer` hides the module of that name from `from jaxmrf import`.
from jaxmrf.transfer import Plan, Progress, make_plan, run

Pixels = Float[np.ndarray, "_ _ 3"]
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


def transfer(
    content: Pixels,
    style: Pixels,
    config: Config | None = None,
    *,
    callback: Callback | None = None,
    initial: Pixels | None = None,
    network: weights.Loaded | None = None,
) -> Result:
    """Paints `content` in the manner of `style`.

    Args:
      content: sRGB in 0 to 1, [H, W, 3].
      style: sRGB in 0 to 1, [H, W, 3].
      config: settings, the default preset if None. The result has the proportions of
        `content` and the longest side `config.size`.
      callback: called with a `Progress` when a level starts and after each iteration.
      initial: picture to start from instead of what `config.init` says.
      network: from `weights.load`; None loads the best that is there.

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
    shape = pyramid.fit(*content.shape[:2], config.size)
    return _finish(content, style, shape, config, callback, initial, network)


def synthesize(
    style: Pixels,
    shape: tuple[int, int],
    config: Config | None = None,
    *,
    callback: Callback | None = None,
    initial: Pixels | None = None,
    network: weights.Loaded | None = None,
) -> Result:
    """Makes a new picture of (height, width) `shape` from the patches of `style`.

    Un-guided synthesis (paper, section 4.1): no content term, starting from noise. The
    arguments are those of `transfer`; the settings of content and color have no effect.

    Raises:
      ConfigError: if a picture or setting cannot be used.
      NonFiniteEnergyError: if the energy is not a number.
    """
    config = config or Config()
    if min(shape) < 1:
        raise ConfigError(f"shape is {shape}; height and width must be at least 1")
    return _finish(None, style, shape, config, callback, initial, network)


def iterate(
    content: Pixels | None,
    style: Pixels,
    shape: tuple[int, int],
    config: Config,
    *,
    initial: Pixels | None = None,
    network: weights.Loaded | None = None,
    memory_budget: int | None = None,
    judge_matches: bool = False,
    on_plan: Callable[[Plan], Any] = lambda plan: None,
) -> Iterator[Progress]:
    """Yields the progress records of a transfer, or of a synthesis if `content` is None.

    For callers that want to look at each iteration or to stop early; the arguments are
    those of `transfer` and `synthesize`. `on_plan` is called once, before the first
    record. `memory_budget` is in bytes; without one, large pictures are checked against
    what the device has (see `memory.fit`). `judge_matches` is that of `transfer.run`.

    Raises:
      ConfigError: if a picture or setting cannot be used.
      NonFiniteEnergyError: if the energy is not a number.
    """
    for name, pixels in (("content", content), ("style", style), ("initial", initial)):
        if pixels is not None:
            check_pixels(name, pixels)
    network = network or weights.load()
    config = for_network(config, network)
    guided = content is not None
    plan = make_plan(
        shape,
        style.shape[:2],
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
        jnp.asarray(style),
        plan,
        features=network.network,
        config=config,
        initial=None if initial is None else jnp.asarray(initial),
        judge_matches=judge_matches,
    )


def for_network(config: Config, network: weights.Loaded) -> Config:
    """Returns `config` with the authors' pixel range of 256 replaced by the network's.

    The presets `paper` and `reference` weigh pixels against features of a network
    whose input has that range; for a network with another input range, features and
    pixels shrink together.
    """
    if config.normalization == "relative":
        return config
    return dataclasses.replace(config, pixel_scale=network.network.input_scale)


def _finish(
    content: Pixels | None,
    style: Pixels,
    shape: tuple[int, int],
    config: Config,
    callback: Callback | None,
    initial: Pixels | None,
    network: weights.Loaded | None,
) -> Result:
    records = iterate(content, style, shape, config, initial=initial, network=network)
    for progress in records:
        if callback is not None:
            callback(progress)
    return Result(np.asarray(progress.picture()), progress)


def check_pixels(name: str, pixels: np.ndarray) -> None:
    """Checks that an array is a picture: [height, width, 3], values from 0 to 1.

    Raises:
      ConfigError: if it is not.
    """
    if pixels.ndim != 3 or pixels.shape[-1] != 3 or not pixels.size:
        raise ConfigError(f"{name} has shape {pixels.shape}; it must be [height, width, 3]")
    if not np.issubdtype(pixels.dtype, np.floating) or not (np.abs(pixels - 0.5) <= 0.51).all():
        raise ConfigError(f"{name} must have floating-point values from 0 to 1")
