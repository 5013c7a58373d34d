"""What settings mean for a run: resolved once, in groups, of which programs depend on some.

`Config` is what a user chooses. `resolve` makes the choices that depend on the network and on
what a run starts from, and separates what compiled programs depend on (`Program`, static) from
what is traced or stays on the host (`TermWeights`, the rest of the `Config`).
"""

import dataclasses
from typing import Any, NamedTuple, TypeVar

from jaxtyping import Array, Float

from jaxmrf.core import decoder
from jaxmrf.core.config import EFFORTS, MAX_LEVELS, Config, Metric, Preconditioner
from jaxmrf.core.features import Network
from jaxmrf.errors import ConfigError

ACCELERATOR_TILE_BYTES = 128 * 2**20
"""Of `PatchSettings.tile_bytes`: at a quarter of it an H200 took 1.7 times as long for all pairs at
1920×1080, at four times as much 0.86 times (docs/performance.md)."""

HEAVIER_LEVELS = 2
"""The authors' code has three levels; with more of them the weight grows no further, or
the coarse levels of a large picture would do nothing but keep the photograph."""

PROBE = 64
"""Side in pixels of the picture that a network's layers are asked about."""

Group = TypeVar("Group")


@dataclasses.dataclass(frozen=True)
class CopySettings:
    """Settings of the rotated and scaled copies of a style; the fields are those of `Config`."""

    rotations: int = Config.rotations
    rotation_step: float = Config.rotation_step
    scales: int = Config.scales
    scale_step: float = Config.scale_step


@dataclasses.dataclass(frozen=True)
class PatchSettings:
    """Settings of patches and of their matching; the fields are those of `Config`, and one more.

    Attributes:
      score_precision: as in `Config`, with the choice made.
      tile_bytes: products of pixels that are held at a time where all pairs are compared.
    """

    layers: tuple[str, ...] = Config.layers
    patch_size: int = Config.patch_size
    stride: int = Config.stride
    style_stride: int = Config.style_stride
    style_border: int = Config.style_border
    matching: str = Config.matching
    score_precision: str = "float32"
    tile_bytes: int = 32 * 2**20
    metric: Metric = Config.metric
    overlap: str = Config.overlap
    variety: float = Config.variety
    guide_weight: float = Config.guide_weight


@dataclasses.dataclass(frozen=True)
class DescentSettings:
    """Settings of the optimizer: the fields of `Config`, with the preconditioner chosen."""

    optimizer: str = Config.optimizer
    line_search: str = Config.line_search
    preconditioner: Preconditioner = "spectral"
    history: int = Config.history
    taxicab_first_step: bool = Config.taxicab_first_step
    learning_rate: float = Config.learning_rate


@dataclasses.dataclass(frozen=True)
class Program:
    """All settings that a compiled program depends on: its key.

    Runs that differ in weights or seed share their programs, and so do levels that differ in
    iterations but for `for_level`. A setting that is not in here cannot be read by what is
    compiled.

    Attributes:
      content_layer: as in `Config`, like all that is not explained.
      style_loss: names of the style losses, without weights.
      gram_layers: those that the network has.
      normalization: see `Config`.
      pixel_scale: see `Config`.
      tileable: see `Config`.
      match_every: see `Config`.
      patches: of the MRF loss.
      descent: of the optimizer.
    """

    content_layer: str = Config.content_layer
    style_loss: tuple[str, ...] = Config.style_loss
    gram_layers: tuple[str, ...] = Config.gram_layers
    normalization: str = Config.normalization
    pixel_scale: float = Config.pixel_scale
    tileable: bool = Config.tileable
    match_every: int = Config.match_every
    patches: PatchSettings = PatchSettings()
    descent: DescentSettings = DescentSettings()

    def for_level(self, iterations: int) -> "Program":
        """Returns the settings for a level of so many iterations.

        L-BFGS gets no memory for corrections that it cannot see there: at the finest level of
        a large picture they would be the largest part of what is held. Other optimizers have
        one program for any number of iterations.
        """
        if self.descent.optimizer != "lbfgs":
            return self
        history = min(self.descent.history, max(iterations - 1, 1))
        return dataclasses.replace(self, descent=dataclasses.replace(self.descent, history=history))


class TermWeights(NamedTuple):
    """Weights of the terms and of the content in the matching; traced: they cost no compilation.

    Attributes:
      content: of the content term.
      style: of each style loss.
      tv: of the total variation.
      anchor: share of the content in what is matched, 0 to 1.
      content_share: share of the content in what is put together from the matches, 0 to 1.
    """

    content: Float[Array, ""] | float
    style: dict[str, Float[Array, ""] | float]
    tv: Float[Array, ""] | float
    anchor: Float[Array, ""] | float = 0.0
    content_share: Float[Array, ""] | float = 0.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings with every choice made, from `resolve`; hashable.

    Attributes:
      config: the user's settings; Gram layers, levels, iterations and pixel range are chosen.
      program: what compiled programs depend on.
      copies: of the styles.
      rounds: rounds of match and decode that a level starts with.
      has_content: whether there is a content picture.
    """

    config: Config
    program: Program
    copies: CopySettings
    rounds: int = 0
    has_content: bool = True

    def weights(self, level: int, levels: int) -> TermWeights:
        """Returns the weights at pyramid level `level` (0 is the coarsest) of `levels`."""
        config = self.config
        coarser = min(levels - 1 - level, HEAVIER_LEVELS)
        return TermWeights(
            config.content_weight * config.content_level_factor**coarser,
            {name: config.style_weight * own for name, own in config.style_losses().items()},
            config.tv_weight,
            config.anchor,
            config.content_share,
        )

    def for_accelerator(self) -> "Settings":
        """Returns the settings for an accelerator: there ``auto`` compares all pairs.

        They are compared tile by tile, so it takes no more memory than a small picture does.
        """
        patches = self.program.patches
        matching = "exact" if patches.matching == "auto" else patches.matching
        return self.with_patches(matching=matching, tile_bytes=ACCELERATOR_TILE_BYTES)

    def with_patches(self, **changed: Any) -> "Settings":
        """Returns the settings with fields of the `PatchSettings` changed."""
        patches = dataclasses.replace(self.program.patches, **changed)
        return dataclasses.replace(self, program=dataclasses.replace(self.program, patches=patches))


def resolve(
    config: Config, network: Network, *, has_content: bool = True, has_start: bool = False
) -> Settings:
    """Returns the settings with the choices made that depend on network and pictures.

    Of the default layers of the Gram loss, those that the network lacks are left out; others
    are taken as they are, and `plan.make_plan` refuses what is not there. The presets `paper`
    and `reference` weigh pixels against features of a network whose input has a range of 256;
    for a network with another input range, features and pixels shrink together. Levels and
    iterations that are not given are fewer where a decoder starts the levels of a transfer.
    L-BFGS learns its bands only where a level starts from a picture: from noise and from a
    decoder's picture they would be learned wrong.

    Args:
      config: what the user chose.
      network: the network.
      has_content: whether there is a content picture.
      has_start: whether there is a picture to start from instead of what `config.init` says.

    Raises:
      ConfigError: if the network has none of the default layers of the Gram loss.
    """
    rounds = decoder_rounds(config, network)
    config = scheduled(_with_gram_layers(config, network), decoded=has_content and rounds > 0)
    if config.normalization != "relative":
        scale = getattr(network.features, "input_scale", 1.0)
        config = dataclasses.replace(config, pixel_scale=scale)
    noise = config.init == "noise" or (config.init == "content" and not has_content)
    plainly = rounds > 0 or (noise and not has_start)
    return Settings(
        config,
        program_of(config, plainly=plainly),
        _group(CopySettings, config),
        rounds,
        has_content,
    )


def program_of(config: Config, *, plainly: bool = False) -> Program:
    """Returns the settings of `config` that a compiled program depends on.

    Args:
      config: settings.
      plainly: whether L-BFGS with the preconditioner ``auto`` goes without one.
    """
    program = _group(Program, config)
    descent = program.descent
    if descent.preconditioner == "auto":
        chosen = "none" if plainly else "spectral"
        descent = dataclasses.replace(descent, preconditioner=chosen)
    patches = program.patches
    if patches.score_precision == "auto":
        patches = dataclasses.replace(patches, score_precision="float32")
    names = tuple(config.style_losses())
    return dataclasses.replace(program, style_loss=names, patches=patches, descent=descent)


def decoder_rounds(config: Config, network: Network) -> int:
    """Returns how many rounds of match and decode a level starts with, none without a decoder."""
    return 0 if network.decoder is None else rounds_with_decoder(config)


def rounds_with_decoder(config: Config) -> int:
    """Returns how many rounds of match and decode a level starts with if there is a decoder.

    None where there is nothing to decode: a style loss that does not match its layers; and none
    in a tileable picture, which the decoder knows nothing of.
    """
    matched = "mrf" in config.style_losses() and set(decoder.LAYERS) <= set(config.layers)
    return config.decoder_rounds if matched and not config.tileable else 0


def _group(group: type[Group], config: Config) -> Group:
    """Returns a group of settings, each from the field of `Config` of its name, if there is one."""
    values = {}
    for field in dataclasses.fields(group):  # pyright: ignore[reportArgumentType]  # a dataclass
        kind = field.type
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            values[field.name] = _group(kind, config)
        elif hasattr(config, field.name):
            values[field.name] = getattr(config, field.name)
    return group(**values)


def _with_gram_layers(config: Config, network: Network) -> Config:
    if "gram" not in config.style_losses() or config.gram_layers != Config.gram_layers:
        return config
    layers = network.shapes((PROBE, PROBE))
    present = tuple(name for name in config.gram_layers if name in layers)
    if not present:
        raise ConfigError(
            "the network has no layer of the Gram loss; choose gram_layers from "
            f"{', '.join(layers)}",
            "gram_layers",
        )
    return dataclasses.replace(config, gram_layers=present)


def scheduled(config: Config, *, decoded: bool) -> Config:
    """Returns the settings with levels and iterations chosen, where they are not.

    Args:
      config: settings.
      decoded: whether a decoder starts the levels of a transfer.
    """
    effort = EFFORTS[config.effort]
    if not decoded:
        return dataclasses.replace(config, iterations=config.iterations or effort.alone)
    levels = config.levels or min(max(effort.levels, len(config.iterations)), MAX_LEVELS)
    iterations = config.iterations or (*[0] * (levels - 1), effort.iterations)
    return dataclasses.replace(config, levels=levels, iterations=iterations)
