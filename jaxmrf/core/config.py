"""What a user chooses for one run: a frozen, hashable dataclass; `settings` resolves it."""

import dataclasses
import functools
import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args, get_origin

from jaxmrf.errors import ConfigError

Normalization = Literal["relative", "authors", "sum"]
Overlap = Literal["mean", "rms", "sum"]
Matching = Literal["auto", "exact"]  # built in; `matchers.MATCHERS` has all
Initialization = Literal["content", "noise", "shuffle"]
Optimizer = Literal["lbfgs", "adam"]  # built in; `optimizers.OPTIMIZERS` has all
LineSearch = Literal["none", "zoom"]
Preconditioner = Literal["auto", "none", "spectral"]
Color = Literal["match", "histogram", "keep", "none"]
Metric = Literal["cosine", "distance"]
Pooling = Literal["max", "average"]
ScorePrecision = Literal["auto", "float32", "tf32", "bfloat16"]


Effort = Literal["quick", "default", "fine"]

LARGEST = 3.4e38
"""No setting is above it: single precision has no larger numbers."""

MAX_LEVELS = 16
"""Pyramid levels of a run."""

Shape = tuple[int, ...]
"""(height, width) of a picture or of a layer, such as ``array.shape[:2]``."""


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


class Option(NamedTuple):
    """What commands, page and documents say of a setting, and where its values lie.

    Attributes:
      help: one line; "" for a setting that files have and the command line has not.
      group: heading that it is under.
      label: what the page calls it; "" if it is not on the page.
      acts_on: ``patches``, ``content`` or both: without them it has no effect.
      minimum: least value, of each part of a list.
      above: bound below its values.
      maximum: largest value.
      choices: the built-in values where others can be registered.
    """

    help: str = ""
    group: str = ""
    label: str = ""
    acts_on: frozenset[str] = frozenset()
    minimum: float = -math.inf
    above: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()


def _setting(default: Any, *texts: str, acts_on: Iterable[str] = (), **more: Any) -> Any:
    option = Option(*texts, acts_on=frozenset(acts_on), **more)
    return dataclasses.field(default=default, metadata={"option": option})


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a transfer or a synthesis.

    Attributes:
      size: longest side of the result in pixels.
      content_layer: layer of the content term (paper, section 4: relu4_2).
      layers: layers of the MRF term (paper, section 4: relu3_1, relu4_1).
      content_weight: weight of the content term at the finest level.
      content_level_factor: the content weight is multiplied by this for every
        coarser level, at most `settings.HEAVIER_LEVELS` times. The authors' mean of squares
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
      style_border: so many outermost patches of the style are left out, see `style_patches.starts`.
      matching: ``exact`` compares every patch with every style patch; so does ``auto``
        on accelerators, and on CPUs up to about 430×430 pixels; beyond it takes clusters of
        them and what continues the matches of the neighbors. Or the name of another matcher,
        see `matchers`.
      score_precision: of the products that find the style patches that can be the nearest,
        which are compared again in float32, see `rounded`; ``auto``: float32, unless this
        device was measured to save seconds of the run with another one.
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
      optimizer: ``lbfgs``, ``adam``, or the name of another, see `optimizers.OPTIMIZERS`.
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

    size: int = _setting(
        512, "Longest side of the picture in pixels.", "Picture", "Size", minimum=1
    )
    content_layer: str = _setting(
        "relu4_2",
        "Layer of the network that holds the photograph: late ones see things, early ones edges.",
        "Network",
        "Layer of the photograph",
        acts_on={"content"},
    )
    layers: tuple[str, ...] = _setting(
        ("relu3_1", "relu4_1"),
        "Layers of the network whose patches are taken from the painting, by comma or space.",
        "Patches",
        "Layers of the painting",
        acts_on={"patches"},
    )
    content_weight: float = _setting(
        0.25,
        "How much the picture is held to the photograph while it is refined; more keeps more.",
        "Photograph",
        "Weight of the photograph",
        acts_on={"content"},
        minimum=0.0,
    )
    content_level_factor: float = _setting(4.0, acts_on={"content"}, above=0.0)
    style_weight: float = _setting(
        1.0,
        "How much the picture is held to the painting while it is refined.",
        "Style",
        "Weight of the painting",
        minimum=0.0,
    )
    tv_weight: float = _setting(
        0.6,
        "Weight of the total variation: more takes away grain, too much blurs.",
        "Smoothness and start",
        "Smoothness",
        minimum=0.0,
    )
    style_loss: tuple[str, ...] = _setting(
        ("mrf",),
        "What is taken from the painting, with weights: mrf, its patches (this method); gram, its "
        "texture as a whole (Gatys 2015).",
        "Style",
        "What is taken",
    )
    gram_layers: tuple[str, ...] = _setting(
        ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
        "Layers of the network that gram compares, from fine to coarse texture.",
        "Style",
        "Layers of gram",
    )
    normalization: Normalization = _setting("relative")
    overlap: Overlap = _setting(
        "rms",
        "Patches that cover the same place become their mean, that at full strength (rms), or "
        "their sum.",
        "Patches",
        "Overlap",
        acts_on={"patches"},
    )
    anchor: float = _setting(
        0.85,
        "How much the photograph decides where patches go, 0 to 1; more keeps more.",
        "Photograph",
        "Anchor",
        acts_on={"patches", "content"},
        minimum=0.0,
        maximum=1.0,
    )
    content_share: float = _setting(
        0.25,
        "How much of the photograph itself is in what is painted, 0 to 1; more keeps more.",
        "Photograph",
        "Share of the photograph",
        acts_on={"patches", "content"},
        minimum=0.0,
        maximum=1.0,
    )
    pixel_scale: float = _setting(1.0, above=0.0)
    patch_size: int = _setting(
        3,
        "Side of a patch in points of its layer; larger ones keep more of the painting together.",
        "Patches",
        "Patch size",
        acts_on={"patches"},
        minimum=1,
    )
    stride: int = _setting(
        1,
        "Distance of neighboring patches in the picture; 1 is densest and slowest.",
        "Patches",
        "Distance of patches",
        acts_on={"patches"},
        minimum=1,
    )
    style_stride: int = _setting(
        1,
        "Distance of neighboring patches in the painting; more is quicker and coarser.",
        "Patches",
        "Distance in the painting",
        acts_on={"patches"},
        minimum=1,
    )
    style_border: int = _setting(1, acts_on={"patches"}, minimum=0, maximum=16)
    matching: str = _setting(
        "auto",
        "Compare patches with all of the painting, or in large pictures with the likeliest (auto).",
        "Effort",
        "Matching",
        acts_on={"patches"},
        choices=get_args(Matching),
    )
    score_precision: ScorePrecision = _setting(
        "auto",
        "Look for matches by rounded numbers first, where a device is fast at them (auto); the "
        "matches stay the same.",
        "Effort",
        "Precision of scores",
        acts_on={"patches"},
    )
    match_every: int = _setting(
        2,
        "Choose patches anew in every such iteration.",
        "Effort",
        "Choose anew every",
        acts_on={"patches"},
        minimum=1,
        maximum=1_000_000,
    )
    metric: Metric = _setting(
        "cosine",
        "What makes patches alike: their pattern (cosine), or its strength, too (distance).",
        "Patches",
        "Likeness",
        acts_on={"patches"},
    )
    variety: float = _setting(
        0.0,
        "How much to avoid taking the same strokes again and again.",
        "Style",
        "Variety",
        acts_on={"patches"},
        minimum=0.0,
    )
    guide_weight: float = _setting(
        1.0,
        "How strictly the colors of guides are kept apart; from 1 on strictly.",
        "Guides",
        "Strictness of guides",
        acts_on={"patches"},
        minimum=0.0,
    )
    style_blend: tuple[float, ...] = _setting(
        (),
        "Parts of several paintings, such as 3,7; without it all have the same.",
        "Style",
        "Blend",
        above=0.0,
    )
    rotations: int = _setting(
        0,
        "Take from the painting turned, too, by up to ± this many steps of 7.5°.",
        "Style",
        "Turned copies",
        minimum=0,
        maximum=16,
    )
    rotation_step: float = _setting(7.5, minimum=0.0, maximum=45.0)
    scales: int = _setting(
        0,
        "Take from the painting larger and smaller, too, by up to ± this many steps of 5 %.",
        "Style",
        "Larger and smaller copies",
        minimum=0,
        maximum=16,
    )
    scale_step: float = _setting(1.05, above=0.0)
    style_scale: float = _setting(
        1.0,
        "Size of the strokes: longest side of the painting over that of the picture.",
        "Style",
        "Size of the strokes",
        above=0.0,
        maximum=16,
    )
    levels: int | None = _setting(
        None,
        "Sizes that are painted one after the other, each twice the one before.",
        "Optimization",
        "Levels",
        minimum=1,
        maximum=MAX_LEVELS,
    )
    coarsest: int = _setting(64, minimum=1)
    iterations: tuple[int, ...] = _setting(
        (),
        "How often each level is refined, coarsest first; the last number serves all finer ones.",
        "Optimization",
        "Iterations",
        minimum=0,
    )
    effort: Effort = _setting("default")
    init: Initialization = _setting(
        "content",
        "What it starts from: the photograph (content), noise, pieces of the painting (shuffle), "
        "or a picture file.",
        "Smoothness and start",
        "Start from",
    )
    tileable: bool = _setting(
        False,
        "Make a picture that can be repeated without seams, as tiles are.",
        "Smoothness and start",
        "Seamless tile",
    )
    pooling: Pooling = _setting(
        "max",
        "How the network looks from further away: max is crisp, average softer.",
        "Network",
        "Pooling",
    )
    decoder_rounds: int = _setting(
        2,
        "How often a trained decoder paints the whole before it is refined; 0: never.",
        "Smoothness and start",
        "Rounds of the decoder",
        acts_on={"patches"},
        minimum=0,
        maximum=16,
    )
    optimizer: str = _setting(
        "lbfgs",
        "What refines the picture: L-BFGS, or Adam, which takes many more iterations.",
        "Optimization",
        "Optimizer",
        choices=get_args(Optimizer),
    )
    line_search: LineSearch = _setting(
        "none",
        "Whether L-BFGS tries several lengths of each step (zoom), which is slower, or none.",
        "Optimization",
        "Line search",
    )
    preconditioner: Preconditioner = _setting(
        "auto",
        "Whether L-BFGS learns apart how coarse and fine detail change (spectral), or not (none).",
        "Optimization",
        "Preconditioner",
    )
    history: int = _setting(25, minimum=1)
    taxicab_first_step: bool = _setting(False)
    learning_rate: float = _setting(0.02, above=0.0)
    color: Color = _setting(
        "match",
        "match, histogram: the painting's colors; keep: the photograph's; none: as they come.",
        "Picture",
        "Color",
        acts_on={"content"},
    )
    final_color: float = _setting(
        0.7,
        "How far the finished colors are brought to the painting's, 0 to 1.",
        "Photograph",
        "Final color",
        acts_on={"content"},
        minimum=0.0,
        maximum=1.0,
    )
    seed: int = _setting(
        0,
        "Another number is another picture, where chance has a part: from noise or by shuffling.",
        "Smoothness and start",
        "Seed",
        minimum=0,
        maximum=2**32 - 1,
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_type(field.name, field.type, getattr(self, field.name))
        for field in dataclasses.fields(self):
            _check_values(field.name, getattr(self, field.name), field.metadata["option"])
        if not self.layers:
            raise ConfigError("layers needs at least one layer", "layers")
        if len(set(self.layers)) < len(self.layers):
            raise ConfigError(f"layers names a layer twice: {', '.join(self.layers)}", "layers")
        self.style_losses()
        if len(set(self.gram_layers)) < len(self.gram_layers):
            twice = ", ".join(self.gram_layers)
            raise ConfigError(f"gram_layers names a layer twice: {twice}", "gram_layers")
        if self.rotations * self.rotation_step > 45:
            raise ConfigError(
                "rotations times rotation_step may be at most 45 degrees", "rotations"
            )

    @functools.cached_property
    def _unseeded(self) -> "Config":
        """The settings with the seed 0: the same object for all that differ in the seed alone."""
        return dataclasses.replace(self, seed=0) if self.seed else self

    @functools.cached_property
    def _hash(self) -> int:
        """Of all but the seed, so that it holds for another seed, too."""
        return hash(dataclasses.astuple(self._unseeded))

    def __hash__(self) -> int:
        """Returns the hash, which is asked for often, computed once."""
        return self._hash

    def __getstate__(self) -> dict[str, Any]:
        """Returns the fields alone: hashes of texts are others in another process."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    def with_seed(self, seed: int) -> "Config":
        """Returns the settings with another seed, and checks nothing else again.

        Raises:
          ConfigError: if it is out of range.
        """
        if not (type(seed) is int and 0 <= seed < 2**32):  # sooner than to look at the field
            check_type("seed", int, seed)
            _check_values("seed", seed, self.__dataclass_fields__["seed"].metadata["option"])
        if seed == 0:
            return self._unseeded
        reseeded = object.__new__(type(self))
        reseeded.__dict__.update(self.__dict__, seed=seed, _unseeded=self._unseeded)
        return reseeded

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
                raise ConfigError(
                    f"style_loss is {item!r}; give NAME or NAME:WEIGHT", "style_loss"
                ) from None
            _check_range("style_loss", f"the weight in style_loss {item!r}", number, minimum=0.0)
            if not name or name in losses:
                raise ConfigError(f"style_loss has {item!r}; name each loss once", "style_loss")
            losses[name] = number
        if not losses:
            raise ConfigError("style_loss needs at least one loss", "style_loss")
        return losses

    def matches_patches(self) -> bool:
        """Returns whether a style loss may match patches: any but the Gram loss alone."""
        return any(weight and name != "gram" for name, weight in self.style_losses().items())

    def final_strength(self) -> float:
        """Returns how far a finished picture's colors are brought to the painting's."""
        return 0.0 if self.color in ("keep", "none") else self.final_color

    def iterations_per_level(self, levels: int) -> tuple[int, ...]:
        """Returns the iterations of each of `levels` pyramid levels, coarsest first."""
        counts = self.iterations or EFFORTS[self.effort].alone
        return (*counts, *[counts[-1]] * (levels - len(counts)))[:levels]


def check_type(name: str, kind: object, value: object) -> None:
    """Checks a choice, a whole number, a number, or a tuple of one of these.

    Args:
      name: of the setting.
      kind: type of its field of `Config`.
      value: what may be of this type.

    Raises:
      ConfigError: if it is not.
    """
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            choices = ", ".join(get_args(kind))
            raise ConfigError(f"{name} is {value!r}; choose from {choices}", name)
        return
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            raise ConfigError(f"{name} is {value!r}; it must be a tuple", name)
        for item in value:
            check_type(name, get_args(kind)[0], item)
        return
    allowed = {int | None: (int, type(None)), float: (int, float)}.get(kind, kind)
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        named = {int: "a whole number", int | None: "a whole number", str: "text"}
        expected = {**named, bool: "true or false"}.get(kind, "a number")
        raise ConfigError(f"{name} is {value!r}; it must be {expected}", name)


def _check_values(name: str, value: Any, option: Option) -> None:
    """Checks the range of a number, or of each in a tuple; texts have none."""
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        if isinstance(number, int | float) and not isinstance(number, bool):
            bounds = {"minimum": option.minimum, "above": option.above, "maximum": option.maximum}
            _check_range(name, name, number, **bounds)


def _check_range(
    option: str,
    name: str,
    value: float,
    *,
    minimum: float = -math.inf,
    above: float = -math.inf,
    maximum: float = math.inf,
) -> None:
    maximum = min(maximum, LARGEST) if value > LARGEST else maximum
    if not (above < value < math.inf and minimum <= value <= maximum):
        bounds = [f"at least {minimum:g}" if minimum > -math.inf else f"greater than {above:g}"]
        if maximum < math.inf:
            bounds.append(f"at most {maximum:g}")
        raise ConfigError(f"{name} is {value}; it must be {' and '.join(bounds)}", option)
