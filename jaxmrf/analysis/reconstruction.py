"""What a layer keeps of a picture: the picture that has the same activations there.

Mahendran & Vedaldi 2015 (arXiv 1412.0035); Gatys et al. 2015 (arXiv 1508.06576), figure 1.
"""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmrf.core import pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.features import Network
from jaxmrf.core.run.loop import run
from jaxmrf.core.run.plan import make_plan
from jaxmrf.core.run.progress import Progress
from jaxmrf.core.settings import resolve

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2")
"""Layers from edges to parts of things: one of each block, and that of the content term."""

TV_WEIGHT = 1.0
"""Per pixel, beside content of weight 1: the reconstruction from relu1_1 keeps a correlation
of 0.999 with the picture, and the checkerboards that deep layers cannot see are gone."""


def settings(layer: str, size: int, iterations: int, seed: int = 0) -> Config:
    """Returns the settings of a reconstruction: content alone, from noise, at one level."""
    return Config(
        size=size,
        content_layer=layer,
        content_weight=1.0,
        tv_weight=TV_WEIGHT,
        # A style loss without layers: nothing is matched and nothing computed for it.
        style_loss=("gram:0",),
        gram_layers=(),
        layers=(layer,),
        patch_size=1,
        levels=1,
        iterations=(iterations,),
        init="noise",
        color="none",
        seed=seed,
    )


def reconstruct(
    network: Network, picture: Float[Array, "_ _ 3"], config: Config
) -> Iterator[Progress]:
    """Yields the records of the reconstruction of a picture, see `loop.run`.

    Args:
      network: the network; its decoder has no part in it.
      picture: of any size, sRGB in 0 to 1.
      config: from `settings`.

    Raises:
      ConfigError: if the network has no such layer.
      NonFiniteEnergyError: if the energy is not a number.
    """
    height, width, _ = picture.shape
    shape = pyramid.fit(height, width, config.size)
    settings = resolve(config, network)
    plan = make_plan(shape, [shape], network, settings)
    yield from run(network, picture, (picture,), plan, settings)


def likeness(rebuilt: Float[Array, "h w 3"], picture: Float[Array, "_ _ 3"]) -> float:
    """Returns the correlation of the pixels of a reconstruction with those of the picture."""
    original = jnp.clip(pyramid.resize(picture, rebuilt.shape[:2]), 0.0, 1.0)
    flat, expected = (np.asarray(pixels, np.float64).ravel() for pixels in (rebuilt, original))
    return float(np.corrcoef(flat, expected)[0, 1])
