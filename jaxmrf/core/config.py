"""Settings of one run: a frozen, hashable dataclass and the three presets.

Everything here is static under jit: two runs with equal settings share their
compiled programs.
"""

import dataclasses
import math
from typing import Literal, NamedTuple, get_args, get_origin

from jaxmrf.errors import ConfigError

Normalization = Literal["relative", "authors", "sum"]
Overlap = Literal["mean", "rms", "sum"]
Matching = Literal["fast", "exact"]  # those that come along; `matchers.MATCHERS` has all
Initialization = Literal["content", "noise", "shuffle"]
Optimizer = Literal["lbfgs", "adam"]  # those that come along; `optimize.OPTIMIZERS` has all
LineSearch = Literal["none", "zoom"]
Preconditioner = Literal["auto", "none", "spectral"]
Color = Literal["match", "histogram", "keep", "none"]
Metric = Literal["cosine", "distance"]
Pooling = Literal["max", "average"]


Effort = Literal["quick", "default", "fine"]


class Schedule(NamedTuple):
    """Levels and iterations of a run.

    Attributes:
      levels: pyramid levels of a transfer where a decoder starts them. Anchored matches need
        no coarser ones; a half-size level shows the picture early.
      iterations: of the finest level then; the coarser ones have none.
      alone: iterations of each level, as in `Config.iterations`, without decoder or photograph.
    """

    levels: int
    iterations: int
    alone: tuple[int, ...]


EFFORTS: dict[Effort, Schedule] = {
    "quick": Schedule(1, 0, (30, 15, 8)),
    "default": Schedule(2, 4, (60, 30, 15)),
    "fine": Schedule(2, 40, (100,)),
}
"""Found by looking (docs/gallery.md): the decoder does most of what iterations did, and more
levels change no measure of the picture by more than 0.02 (docs/design.md)."""

HEAVIER_LEVELS = 2
"""The authors' code has three levels; with more of them the weight grows no further, or
the coarse levels of a large picture would do nothing but keep the photograph."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a transfer or a synthesis.

    Attributes:
      size: longest side of the result in pixels.
      content_layer: layer of the content term (paper, section 4: relu4_2).
      layers: layers of the MRF term (paper, section 4: relu3_1, relu4_1).
      content_weight: weight of the content term at the finest level.
      content_level_factor: the content weight is multiplied by this for every
        coarser level, at most `HEAVIER_LEVELS` times. The authors' mean of squares
        against their sum over patches amounts to 4 per level; it holds the layout
        early and lets the brush-work win late.
      style_weight: weight of all style losses.
      style_loss: names of the style losses (see `style_losses`), each with a weight of
        its own behind a colon or with 1: ``("mrf:1", "gram:0.2")``.
      gram_layers: layers of the Gram loss (Gatys et al. 2015, section 2), those that the
        network has.
      tv_weight: weight of the total variation.
      normalization: what the terms are divided by. ``relative``: by the size of
        their targets, so that weights mean the same for every network, layer and
        picture size. ``authors``: content as a mean of squares, MRF as half a sum,
        as the gradients of the authors' code imply. ``sum``: plain sums of
        squares, as in the paper.
      overlap: how the patches that cover a position are combined: averaged
        (authors' code), averaged at the root mean square of their length (``rms``, see
        `mrf.assemble`), or summed (paper, equation 2).
      anchor: share of the content in what is matched, 0 to 1: more keeps the matches in the
        places of the photograph (as Kolkin et al. 2022, arXiv 2203.13215, hold theirs).
      content_share: share of the content in what is put together from the matches, 0 to 1:
        0 is the painting's patches alone.
      pixel_scale: total variation sees pixels of range 0 to this (1: pixels as
        they are; 256: as in the authors' code).
      patch_size: side of a patch in feature positions, at least 1.
      stride: distance of neighboring patches in the synthesized picture.
      style_stride: distance of neighboring patches in the style.
      style_border: so many outermost patches of the style are left out, see `matching.starts`.
      matching: ``exact`` compares every patch with every style patch; so does ``fast``
        up to about 430×430 pixels, and beyond only with clusters of them. Or the name of
        another matcher, see `matchers`.
      match_every: matches are found anew in every such iteration of a level, from its
        first on (authors' code: 1).
      metric: ``cosine``, or ``distance``: the nearest patch by its squared distance.
      variety: how much is spoken against style patches that were taken often lately.
      guide_weight: what the same label adds to the score of two patches, where guides say
        what goes where; from 1 on labels are never crossed.
      style_blend: weights of several styles, relative to each other; empty: all the same.
      rotations: style copies rotated by up to ± this many steps.
      rotation_step: degrees of one rotation step.
      scales: style copies scaled by up to ± this many steps.
      scale_step: ratio of one scale step.
      style_scale: longest side of the style relative to that of the result.
      levels: number of pyramid levels, ``None``: down to a longest side of `coarsest`
        pixels, or those of `effort` where a decoder starts them in a transfer.
      coarsest: longest side in pixels that the coarsest level does not go below.
      iterations: iterations per level, coarsest first; the last number serves all finer
        levels. Empty: those of `effort`.
      effort: which of `EFFORTS` the iterations are taken from.
      init: what the coarsest level starts from; ``shuffle``: random pieces of the style.
      tileable: whether the picture continues at its other side, so that it can be repeated.
      pooling: of the network.
      decoder_rounds: how often a level starts with finding matches and decoding what is put
        together from them, where the network has a decoder (see `decoder`).
      optimizer: ``lbfgs``, ``adam``, or the name of another, see `optimize.OPTIMIZERS`.
      line_search: of L-BFGS. ``none`` takes steps of length one.
      preconditioner: what L-BFGS starts its inverse Hessian from: ``none``: one number;
        ``spectral``: one for each band of frequencies and color, learned as it runs;
        steps that raise the energy by half are taken back. ``auto``: the latter, but from
        noise and from a decoder's picture the former, since there the bands are learned wrong.
      history: number of L-BFGS corrections.
      taxicab_first_step: the first L-BFGS step is min(1, 1/‖g‖₁) times the
        gradient as in the authors' code; else it changes values by 0.001 on average.
      learning_rate: of Adam and the like, in pixel values of range 0 to 1.
      color: ``match`` maps the content's color distribution to the style's before
        the transfer, by mean and covariance; ``histogram`` each channel's histogram;
        ``keep`` transfers luminance only; ``none`` does none of it.
      final_color: how far mean and covariance of the finished picture are brought to the
        painting's, 0 to 1; with the colors ``match`` and ``histogram``.
      seed: of every random choice.

    Raises:
      ConfigError: if a value is out of range.
    """

    size: int = 512
    content_layer: str = "relu4_2"
    layers: tuple[str, ...] = ("relu3_1", "relu4_1")
    content_weight: float = 0.25
    content_level_factor: float = 4.0
    style_weight: float = 1.0
    tv_weight: float = 0.6
    style_loss: tuple[str, ...] = ("mrf",)
    gram_layers: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    normalization: Normalization = "relative"
    overlap: Overlap = "rms"
    anchor: float = 0.85
    content_share: float = 0.25
    pixel_scale: float = 1.0
    patch_size: int = 3
    stride: int = 1
    style_stride: int = 1
    style_border: int = 1
    matching: str = "fast"
    match_every: int = 2
    metric: Metric = "cosine"
    variety: float = 0.0
    guide_weight: float = 1.0
    style_blend: tuple[float, ...] = ()
    rotations: int = 0
    rotation_step: float = 7.5
    scales: int = 0
    scale_step: float = 1.05
    style_scale: float = 1.0
    levels: int | None = None
    coarsest: int = 64
    iterations: tuple[int, ...] = ()
    effort: Effort = "default"
    init: Initialization = "content"
    tileable: bool = False
    pooling: Pooling = "max"
    decoder_rounds: int = 2
    optimizer: str = "lbfgs"
    line_search: LineSearch = "none"
    preconditioner: Preconditioner = "auto"
    history: int = 25
    taxicab_first_step: bool = False
    learning_rate: float = 0.02
    color: Color = "match"
    final_color: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field.name, field.type, getattr(self, field.name))
        for name in ("content_weight", "style_weight", "tv_weight", "variety", "guide_weight"):
            _check_range(name, getattr(self, name), minimum=0.0)
        for name in ("content_level_factor", "pixel_scale", "scale_step"):
            _check_range(name, getattr(self, name), above=0.0)
        for name in ("anchor", "content_share", "final_color"):
            _check_range(name, getattr(self, name), minimum=0.0, maximum=1.0)
        _check_range("style_scale", self.style_scale, above=0.0, maximum=16)
        _check_range("learning_rate", self.learning_rate, above=0.0)
        _check_range("rotation_step", self.rotation_step, minimum=0.0, maximum=45.0)
        for name in (
            "size",
            "patch_size",
            "stride",
            "style_stride",
            "coarsest",
            "history",
            "match_every",
        ):
            _check_range(name, getattr(self, name), minimum=1)
        for name in ("rotations", "scales", "decoder_rounds", "style_border"):
            _check_range(name, getattr(self, name), minimum=0, maximum=16)
        _check_range("seed", self.seed, minimum=0, maximum=2**32 - 1)
        if self.levels is not None:
            _check_range("levels", self.levels, minimum=1, maximum=16)
        for count in self.iterations:
            _check_range("iterations", count, minimum=0)
        if not self.layers:
            raise ConfigError("layers needs at least one layer")
        if len(set(self.layers)) < len(self.layers):
            raise ConfigError(f"layers names a layer twice: {', '.join(self.layers)}")
        for weight in self.style_blend:
            _check_range("style_blend", weight, above=0.0)
        self.style_losses()
        if len(set(self.gram_layers)) < len(self.gram_layers):
            raise ConfigError(f"gram_layers names a layer twice: {', '.join(self.gram_layers)}")
        if self.rotations * self.rotation_step > 45:
            raise ConfigError("rotations times rotation_step may be at most 45 degrees")

    def style_losses(self) -> dict[str, float]:
        """Returns the weights of the style losses by name.

        Raises:
          ConfigError: if there is none, one twice, or a weight that cannot be used.
        """
        losses = {}
        for item in self.style_loss:
            name, _, weight = item.partition(":")
            try:
                number = float(weight) if weight else 1.0
            except ValueError:
                raise ConfigError(f"style_loss is {item!r}; give NAME or NAME:WEIGHT") from None
            _check_range(f"the weight in style_loss {item!r}", number, minimum=0.0)
            if not name or name in losses:
                raise ConfigError(f"style_loss has {item!r}; name each loss once")
            losses[name] = number
        if not losses:
            raise ConfigError("style_loss needs at least one loss")
        return losses

    def matches_patches(self) -> bool:
        """Returns whether a style loss may match patches: any but the Gram loss alone."""
        return any(weight and name != "gram" for name, weight in self.style_losses().items())

    def final_strength(self) -> float:
        """Returns how far a finished picture's colors are brought to the painting's."""
        return 0.0 if self.color in ("keep", "none") else self.final_color

    def iterations_per_level(self, levels: int) -> tuple[int, ...]:
        """Returns the iterations of each of `levels` pyramid levels, coarsest first."""
        counts = self.scheduled(decoded=False).iterations
        return (*counts, *[counts[-1]] * (levels - len(counts)))[:levels]

    def scheduled(self, *, decoded: bool) -> "Config":
        """Returns the settings with levels and iterations chosen, where they are not.

        Args:
          decoded: whether a decoder starts the levels of a transfer.
        """
        effort = EFFORTS[self.effort]
        if not decoded:
            return dataclasses.replace(self, iterations=self.iterations or effort.alone)
        levels = self.levels or max(effort.levels, len(self.iterations))
        iterations = self.iterations or (*[0] * (levels - 1), effort.iterations)
        return dataclasses.replace(self, levels=levels, iterations=iterations)

    def content_weight_at(self, level: int, levels: int) -> float:
        """Content weight of pyramid level `level` (0 is the coarsest) of `levels`."""
        coarser = min(levels - 1 - level, HEAVIER_LEVELS)
        return self.content_weight * self.content_level_factor**coarser

    def for_level(self, iterations: int) -> "Config":
        """Returns the settings for a level of so many iterations.

        L-BFGS gets no memory for corrections that it cannot see there: at the finest level of
        a large picture they would be the largest part of what is held.
        """
        return dataclasses.replace(self, history=min(self.history, max(iterations - 1, 1)))

    def starting(self, *, plainly: bool) -> "Config":
        """Returns the settings with the choice of the preconditioner made.

        Args:
          plainly: whether the run starts from noise, or its levels from a decoder.
        """
        if self.preconditioner != "auto":
            return self
        return dataclasses.replace(self, preconditioner="none" if plainly else "spectral")

    def copies(self) -> "Config":
        """Returns the settings that the style copies depend on, the rest at default."""
        return Config().with_copies(self)

    def with_copies(self, other: "Config") -> "Config":
        """Returns the settings with those of the style copies taken from another one."""
        names = ("rotations", "rotation_step", "scales", "scale_step")
        return dataclasses.replace(self, **{name: getattr(other, name) for name in names})

    def program(self) -> "Config":
        """Returns the settings that a compiled program depends on, the rest at default.

        Runs that differ in weights or seed share their programs, and so do levels that differ
        in iterations but for `for_level`. A choice that was not made by `starting` is the one
        for a start from a picture.
        """
        kept = (
            "content_layer layers normalization overlap pixel_scale patch_size stride "
            "style_stride style_border matching match_every optimizer line_search history "
            "taxicab_first_step learning_rate preconditioner gram_layers metric variety "
            "guide_weight tileable pooling"
        )
        settled = self.starting(plainly=False)
        losses = tuple(self.style_losses())
        return Config(style_loss=losses, **{name: getattr(settled, name) for name in kept.split()})


def _check_type(name: str, kind: object, value: object) -> None:
    """Checks a choice, a whole number, a number, or a tuple of one of these."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ConfigError(f"{name} is {value!r}; choose from {', '.join(get_args(kind))}")
        return
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            raise ConfigError(f"{name} is {value!r}; it must be a tuple")
        for item in value:
            _check_type(name, get_args(kind)[0], item)
        return
    allowed = {int | None: (int, type(None)), float: (int, float)}.get(kind, kind)
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        named = {int: "a whole number", int | None: "a whole number", str: "text"}
        expected = {**named, bool: "true or false"}.get(kind, "a number")
        raise ConfigError(f"{name} is {value!r}; it must be {expected}")


def _check_range(
    name: str,
    value: float,
    *,
    minimum: float = -math.inf,
    above: float = -math.inf,
    maximum: float = math.inf,
) -> None:
    if not (above < value < math.inf and minimum <= value <= maximum):
        bounds = [f"at least {minimum:g}" if minimum > -math.inf else f"greater than {above:g}"]
        if maximum < math.inf:
            bounds.append(f"at most {maximum:g}")
        raise ConfigError(f"{name} is {value}; it must be {' and '.join(bounds)}")
