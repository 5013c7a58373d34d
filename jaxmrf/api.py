"""The calls most users need: `transfer` and `synthesize`, of pictures of any kind.

They load the network, plan the pyramid, run it and return the finished picture. The
pure functions underneath are in `jaxmrf.core`.
"""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float
from PIL import Image

from jaxmrf import planning
from jaxmrf.core.config import Config, Shape
from jaxmrf.core.features import Network
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.core.presets import configured
from jaxmrf.core.run.loop import run
from jaxmrf.core.run.progress import Progress
from jaxmrf.errors import ConfigError
from jaxmrf.files import image, pictures
from jaxmrf.files.image import Picture
from jaxmrf.files.pictures import PictureLike
from jaxmrf.files.record import record_of
from jaxmrf.files.sources import Sources
from jaxmrf.networks import weights
from jaxmrf.networks.weights import Loaded
from jaxmrf.planning import Pixels, Planned, result_shape

Callback = Callable[[Progress], Any]
Styles = PictureLike | Sequence[PictureLike]

ARGUMENTS = ("initial", "content_guide", "style_guide", "guides", "mask", "network", "callback")
"""What a misspelt option may be meant for, beside the settings."""


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """A finished picture; notebooks show it.

    Attributes:
      image: sRGB in 0 to 1, float32 [H, W, 3].
      progress: the last progress record.
      alpha: opacity in 0 to 1, float32 [H, W], that of the content; None: it has none.
      record: how the picture was made; `save` stores it in the file.
    """

    image: Pixels
    progress: Progress
    alpha: Float[np.ndarray, "h w"] | None = None
    record: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def save(self, path: str | os.PathLike[str], *, format: str | None = None) -> None:  # noqa: A002
        """Writes the picture as the command line does, all of it or nothing.

        ``jaxmrf show-config`` prints the settings that are stored in the file, and ``jaxmrf
        inspect`` explains the picture.

        Args:
          path: PNG, JPEG, WebP, or TIFF, which has 16 bits.
          format: ending that says which, without its point; None: that of the name.

        Raises:
          ImageError: if the file cannot be written.
        """
        image.save(Path(path), Picture(self.image, self.alpha), self.record, format)

    @property
    def picture(self) -> Image.Image:
        """The picture as one of Pillow: 8 bits, RGB, or RGBA if the content is transparent."""
        return image.to_pillow(Picture(self.image, self.alpha))

    def _repr_png_(self) -> bytes:
        return image.encode(Picture(self.image, self.alpha), "PNG", self.record)

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"<Result of {width}×{height} pixels>"


def transfer(
    content: PictureLike,
    style: Styles,
    config: Config | None = None,
    *,
    initial: PictureLike | None = None,
    content_guide: PictureLike | None = None,
    style_guide: Styles | None = None,
    guides: Guides | None = None,
    mask: PictureLike | None = None,
    network: Network | Loaded | None = None,
    memory_budget: int | None = None,
    judge_matches: bool = False,
    on_plan: Callable[[Planned], Any] = lambda planned: None,
    callback: Callback | None = None,
    **options: Any,
) -> Result:
    """Paints `content` in the manner of `style`.

    Pictures are arrays of NumPy or JAX, pictures of Pillow, or names of files, see
    `pictures.read`. What is transparent in `content` stays so (`Result.alpha`); other pictures
    are put on white paper.

    Args:
      content: the photograph.
      style: the painting, or several of them.
      config: settings; None: those of `options` alone. The result has the proportions of
        `content` and the longest side `Config.size`.
      initial: picture to start from instead of what `Config.init` says.
      content_guide: label picture of the result, in flat colors (docs/guide.md).
      style_guide: label picture of the style, or of each of several.
      guides: the same as arrays: what is where, in the result and in each style.
      mask: picture that is white where the result may differ from the content.
      network: from `weights.load`, or ``Network(features, params)`` with a network of your own,
        whose layers the settings name; None: the best of this machine.
      memory_budget: bytes; None: large pictures are checked against what the device has
        (see `memory.fit`).
      judge_matches: whether to find the share of exact matches (see `loop.run`).
      on_plan: called once, before the first record.
      callback: called with a `Progress` when a level starts, after each round of the decoder
        and after each iteration.
      **options: settings by their names in `Config`, on top of `config`, ``preset`` and
        ``alpha``, see `jaxmrf.core.presets.between`.

    Raises:
      ConfigError: if a picture or setting cannot be used.
      ImageError: if a file cannot be read.
      NonFiniteEnergyError: if the energy is not a number.

    Example:
      >>> photograph = np.random.default_rng(0).random((48, 80, 3), np.float32)
      >>> painting = np.random.default_rng(1).random((70, 64, 3), np.float32)
      >>> transfer(photograph, painting, size=64, effort="quick").image.shape
      (38, 64, 3)
    """
    check_not_traced("transfer", content, style, initial, guides, mask, network, options)
    chosen = configured(config, options, ARGUMENTS)
    sources = Sources.of(
        style,
        content,
        initial=initial,
        content_guide=content_guide,
        style_guide=style_guide,
        guides=guides,
        mask=mask,
    )
    shape = result_shape(pictures.shape_of(content, "content"), chosen)
    more = {"memory_budget": memory_budget, "judge_matches": judge_matches, "on_plan": on_plan}
    return _painted(sources, shape, chosen, network, callback, **more)


def synthesize(
    style: Styles,
    shape: Shape,
    config: Config | None = None,
    *,
    initial: PictureLike | None = None,
    content_guide: PictureLike | None = None,
    style_guide: Styles | None = None,
    guides: Guides | None = None,
    network: Network | Loaded | None = None,
    memory_budget: int | None = None,
    judge_matches: bool = False,
    on_plan: Callable[[Planned], Any] = lambda planned: None,
    callback: Callback | None = None,
    **options: Any,
) -> Result:
    """Makes a new picture of (height, width) `shape` from the patches of `style`.

    Un-guided synthesis (paper, section 4.1): no content term, starting from noise. The
    arguments are those of `transfer`; the settings of content and color have no effect.

    Raises:
      ConfigError: if a picture or setting cannot be used.
      ImageError: if a file cannot be read.
      NonFiniteEnergyError: if the energy is not a number.
    """
    check_not_traced("synthesize", style, initial, guides, network, options)
    if min(shape) < 1:
        raise ConfigError(f"shape is {shape}; height and width must be at least 1")
    chosen = configured(config, options, ARGUMENTS)
    sources = Sources.of(
        style,
        initial=initial,
        content_guide=content_guide,
        style_guide=style_guide,
        guides=guides,
    )
    more = {"memory_budget": memory_budget, "judge_matches": judge_matches, "on_plan": on_plan}
    return _painted(sources, shape, chosen, network, callback, **more)


def iterate(
    content: PictureLike | None,
    style: Styles,
    shape: Shape,
    config: Config,
    *,
    initial: PictureLike | None = None,
    guides: Guides | None = None,
    mask: PictureLike | None = None,
    network: Network | Loaded | None = None,
    memory_budget: int | None = None,
    judge_matches: bool = False,
    on_plan: Callable[[Planned], Any] = lambda planned: None,
) -> Iterator[Progress]:
    """Yields the progress records of a transfer, or of a synthesis if `content` is None.

    For callers that want to look at each iteration or to stop early. What is not explained here
    is so with `transfer`.

    Args:
      content: the photograph, or None.
      style: the painting, or several of them.
      shape: (height, width) of the result.
      config: settings.
      initial: picture to start from instead of what `config.init` says.
      guides: what is where, in the result and in each style.
      mask: picture that is white where the result may differ from the content.
      network: from `weights.load`, or one of your own; None: the best of this machine.
      memory_budget: bytes.
      judge_matches: whether to find the share of exact matches.
      on_plan: called once, before the first record.

    Raises:
      ConfigError: if a picture or setting cannot be used.
      ImageError: if a file cannot be read.
      NonFiniteEnergyError: if the energy is not a number.
    """
    check_not_traced("iterate", content, style, initial, guides, mask, network)
    sources = Sources.of(style, content, initial=initial, guides=guides, mask=mask)
    inputs = sources.read(shape)
    arrays = inputs.pixels, tuple(inputs.styles), inputs.initial, inputs.guides, inputs.mask
    photograph, styles, start, labels, region = jax.tree.map(jnp.asarray, arrays)
    planned = planning.plan_run(
        shape,
        [painting.shape[:2] for painting in styles],
        config,
        as_loaded(network).network,
        has_content=photograph is not None,
        has_start=start is not None,
        memory_budget=memory_budget,
    )
    on_plan(planned)
    yield from run(
        planned.network,
        photograph,
        styles,
        planned.plan,
        planned.settings,
        initial=start,
        guides=labels,
        mask=region,
        judge_matches=judge_matches,
    )


def check_not_traced(function: str, *arguments: Any) -> None:
    """Checks that nothing is traced: who loops on the host needs numbers.

    Args:
      function: its name.
      *arguments: what it was called with.

    Raises:
      ConfigError: if something is, by jit, grad, vmap and their like.
    """
    # Inside jit whatever is computed is traced, whether or not an argument is.
    leaves = jax.tree.leaves((arguments, jnp.zeros(())))
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        raise ConfigError(
            f"jaxmrf.{function} loops on the host, so jit, grad and vmap cannot trace it; "
            "jaxmrf.core.energy and jaxmrf.core.run.step are pure (docs/research.md)"
        )


def as_loaded(network: Network | Loaded | None) -> Loaded:
    """Returns a network with what is known of its file; of None the best of this machine."""
    if network is None:
        return weights.load()
    return Loaded(network) if isinstance(network, Network) else network


def _painted(
    sources: Sources,
    shape: Shape,
    config: Config,
    network: Network | Loaded | None,
    callback: Callback | None,
    **more: Any,
) -> Result:
    """Runs to the end; what is in `more` goes to `iterate`."""
    loaded, inputs = as_loaded(network), sources.read(shape)
    records = iterate(
        inputs.pixels,
        inputs.styles,
        shape,
        config,
        initial=inputs.initial,
        guides=inputs.guides,
        mask=inputs.mask,
        network=loaded.network,
        **more,
    )
    last = first = next(records)  # when the first level starts
    for last in itertools.chain([first], records):
        if callback is not None:
            callback(last)
    record = record_of(sources, shape, last.config, loaded.network, loaded.sha256)
    alpha = None if inputs.content is None else inputs.content.alpha
    return Result(np.asarray(last.picture()), last.on_host(), alpha, record)
