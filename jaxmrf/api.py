"""The two calls most users need: `transfer` and `synthesize`, on arrays.

They load the network, plan the pyramid, run it and return the finished picture. The
pure functions underneath are in `jaxmrf.core`.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxmrf import planning
from jaxmrf.core.config import Config, Shape
from jaxmrf.core.features import Network
from jaxmrf.core.losses.exemplars import Guides, same_proportions
from jaxmrf.core.run.loop import run
from jaxmrf.core.run.progress import Progress
from jaxmrf.errors import ConfigError
from jaxmrf.networks import weights
from jaxmrf.planning import Pixels, Planned, Styles, check_pixels, result_shape

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
    network: Network | None
    memory_budget: int | None
    judge_matches: bool
    on_plan: Callable[[Planned], Any]


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
      >>> photograph = np.random.default_rng(0).random((40, 60, 3), np.float32)
      >>> painting = np.random.default_rng(1).random((64, 64, 3), np.float32)
      >>> transfer(photograph, painting, Config(size=64, iterations=(2,))).image.shape
      (43, 64, 3)
    """
    config = config or Config()
    check_pixels("content", content)
    shape = result_shape(content.shape[:2], config)
    return _finish(iterate(content, style, shape, config, **more), callback)


def synthesize(
    style: Styles,
    shape: Shape,
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
    shape: Shape,
    config: Config,
    *,
    initial: Pixels | None = None,
    guides: Guides | None = None,
    mask: Float[np.ndarray, "_ _"] | None = None,
    network: Network | None = None,
    memory_budget: int | None = None,
    judge_matches: bool = False,
    on_plan: Callable[[Planned], Any] = lambda planned: None,
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
      network: ``weights.load(...).network``, or ``Network(features, params)`` with a network
        of your own, whose layers `config` names; None loads the best of this machine.
      memory_budget: bytes; None: large pictures are checked against what the device has
        (see `memory.fit`).
      judge_matches: whether to find the share of exact matches (see `loop.run`).
      on_plan: called once, before the first record.

    Raises:
      ConfigError: if a picture or setting cannot be used.
      NonFiniteEnergyError: if the energy is not a number.
    """
    styles = (style,) if isinstance(style, np.ndarray) else tuple(style)
    named = {"content": content, "initial": initial}
    for name, pixels in (*named.items(), *(("style", picture) for picture in styles)):
        if pixels is not None:
            check_pixels(name, pixels)
    if mask is not None:
        _check_mask(mask, content, shape)
    if guides is not None:
        _check_guides(guides, shape, [picture.shape[:2] for picture in styles])
    planned = planning.plan_run(
        shape,
        [style.shape[:2] for style in styles],
        config,
        network or weights.load().network,
        has_content=content is not None,
        has_start=initial is not None,
        memory_budget=memory_budget,
    )
    on_plan(planned)
    yield from run(
        planned.network,
        None if content is None else jnp.asarray(content),
        tuple(map(jnp.asarray, styles)),
        planned.plan,
        planned.settings,
        initial=None if initial is None else jnp.asarray(initial),
        guides=jax.tree.map(jnp.asarray, guides),
        mask=None if mask is None else jnp.asarray(mask, jnp.float32),
        judge_matches=judge_matches,
    )


def _finish(records: Iterator[Progress], callback: Callback | None) -> Result:
    last = first = next(records)  # when the first level starts
    for last in itertools.chain([first], records):
        if callback is not None:
            callback(last)
    return Result(np.asarray(last.picture()), last)


def _check_mask(mask: np.ndarray, content: np.ndarray | None, shape: Shape) -> None:
    if content is None:
        raise ConfigError("a mask needs a content picture, which stays where the mask is black")
    if mask.ndim != 2 or not (mask > 0.5).any():
        raise ConfigError("the mask must be [height, width] and white somewhere")
    _check_proportions("the mask", mask.shape, shape)


def _check_guides(guides: Guides, shape: Shape, style_shapes: Sequence[Shape]) -> None:
    if len(guides.styles) != len(style_shapes):
        raise ConfigError(f"{len(guides.styles)} style guide(s) for {len(style_shapes)} style(s)")
    all_labels = (guides.picture, *guides.styles)
    if (
        any(labels.ndim != 3 for labels in all_labels)
        or len({labels.shape[2] for labels in all_labels}) > 1
    ):
        shapes = ", ".join(str(labels.shape) for labels in all_labels)
        raise ConfigError(
            f"the guides have shapes {shapes}; each must be [height, width, labels], with as "
            "many labels as the others"
        )
    _check_proportions("the guide of the picture", guides.picture.shape, shape)
    for number, (guide, style) in enumerate(zip(guides.styles, style_shapes, strict=True), 1):
        _check_proportions(f"the guide of style {number}", guide.shape, style)


def _check_proportions(name: str, shape: tuple[int, ...], picture_shape: Shape) -> None:
    if not same_proportions(shape[:2], picture_shape):
        raise ConfigError(
            f"{name} has {shape[1]}×{shape[0]} pixels, its picture "
            f"{picture_shape[1]}×{picture_shape[0]}; they must have the same proportions"
        )
