"""What can be said of a run before its turn: whether its network is here and its patches fit."""

import os
from pathlib import Path

from jaxmrf.core import pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.run import plan
from jaxmrf.core.settings import rounds_with_decoder
from jaxmrf.errors import ConfigError, WeightsError
from jaxmrf.networks import architectures, weights
from jaxmrf.web.form import ControlError

LARGEST_TRIED = 4096
"""Sizes up to this are looked through for one that fits."""

_LAYERS = {
    name.replace("conv", "relu"): int(name[4]) for name in architectures.convolution_names("vgg19")
}  # those of VGG-16 are among them
"""Block of the network that each layer is in, from 1."""


def check_network(name: str, weights_file: str | None) -> None:
    """Checks that there are weights of a network.

    Args:
      name: as the command line has it.
      weights_file: weights in place of all others; what is in them is not looked at.

    Raises:
      ControlError: if there are none.
    """
    if weights_file is not None or os.environ.get(weights.ENVIRONMENT):
        return
    try:
        path = weights.find(name)
    except WeightsError as error:
        raise ControlError(str(error), "network") from None
    if not Path(path).exists():
        raise ControlError(f"the weights {path} are not here", "network")


def check_iterations(config: Config, shape: tuple[int, int]) -> None:
    """Checks that iterations and levels go together, as if the network had a decoder.

    Args:
      config: settings.
      shape: (height, width) of the result.

    Raises:
      ControlError: if they do not.
    """
    try:
        plan.check_iterations(config, shape, rounds=rounds_with_decoder(config))
    except ConfigError as error:
        raise ControlError(str(error), "iterations") from None


def check_fit(config: Config, content: tuple[int, int], style: tuple[int, int]) -> None:
    """Checks that the layers exist, and that a patch fits on the finest level.

    By arithmetic, since a trace of the network would take the device that the process
    that computes needs. Copies of the style that are rotated or made smaller are not
    looked at: the run itself will tell.

    Args:
      config: settings.
      content: (height, width) of the photograph.
      style: (height, width) of the painting.

    Raises:
      ControlError: if one does not.
    """
    for control, names in (
        ("layers", config.layers),
        ("content_layer", (config.content_layer,)),
    ):
        for name in names:
            if name not in _LAYERS:
                raise ControlError(
                    f"there is no layer {name!r}; they go from relu1_1 to relu5_4", control
                )
    if "mrf" not in config.style_losses() or _fits(config, config.size, content, style):
        return
    sizes = range(config.size + 1, LARGEST_TRIED + 1)
    smallest = next((size for size in sizes if _fits(config, size, content, style)), None)
    if smallest is None:
        raise ControlError(
            f"not even one patch of {config.patch_size} features fits on these pictures",
            "patch_size",
        )
    raise ControlError(
        f"not even one patch fits; the smallest size for these pictures is {smallest}", "size"
    )


def _fits(config: Config, size: int, content: tuple[int, int], style: tuple[int, int]) -> bool:
    """Whether a patch of every layer fits on the result and on the style of it."""
    shape = pyramid.fit(*content, size)
    longest = max(1, round(max(shape) * config.style_scale))
    least = min(*shape, *pyramid.fit(*style, longest))
    return all(least // 2 ** (_LAYERS[layer] - 1) >= config.patch_size for layer in config.layers)
