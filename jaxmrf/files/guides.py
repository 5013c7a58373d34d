"""Label pictures that say what goes where, and masks: files → arrays.

A label picture is painted in flat colors, one for each thing, the same in the guide of the
content and in that of the style (Champandard 2016, arXiv 1603.01768).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxmrf.core.config import Shape
from jaxmrf.core.losses.exemplars import Guides, same_proportions
from jaxmrf.core.pyramid import at_size
from jaxmrf.errors import ConfigError
from jaxmrf.files import image

MAX_LABELS = 16

SAME_COLOR = 0.2
"""Colors nearer than this, of a range of 0 to 1 per channel, are one label: JPEG and
anti-aliased edges blur them."""

SMALLEST_SHARE = 0.001
"""Colors that cover less of a guide are blur at the edges, no label."""


ENDING = "_sem.png"
"""End of the name of a guide beside its picture, as in the code of Champandard 2016."""


def beside(picture: Path) -> Path | None:
    """Returns the guide that lies beside a picture, ``NAME`` with `ENDING`, if there is one."""
    guide = picture.parent / f"{picture.stem}{ENDING}"
    return guide if guide.is_file() else None


def load(
    content: Path,
    styles: Sequence[Path],
    shape: Shape,
    style_shapes: Sequence[Shape],
) -> Guides:
    """Reads the guides of a picture and of its styles.

    Args:
      content: guide of the result.
      styles: guide of each style.
      shape: (height, width) of the result, or of any picture of its proportions.
      style_shapes: (height, width) of each style picture.

    Raises:
      ImageError: if a file cannot be read.
      ConfigError: if proportions differ, there are no labels or too many, or one is in no
        style.
    """
    if len(styles) != len(style_shapes):
        raise ConfigError(f"{len(styles)} style guide(s) for {len(style_shapes)} style(s)")
    pictures = [
        _load(*guide) for guide in zip((content, *styles), (shape, *style_shapes), strict=True)
    ]
    palette = np.zeros((0, 3), np.float32)
    for path, pixels in zip((content, *styles), pictures, strict=True):
        palette = _with_colors_of(pixels, palette, path)
    channels = [_channels(pixels, palette) for pixels in pictures]
    in_content = channels[0].sum(axis=(0, 1)) > 0
    in_styles = sum(labels.sum(axis=(0, 1)) for labels in channels[1:]) > 0
    for color in palette[(in_content & ~in_styles)[: len(palette)]]:
        raise ConfigError(f"the label {code(color)} of {content} is in no style guide")
    return Guides(channels[0], tuple(channels[1:]))


def code(color: Float[np.ndarray, " 3"]) -> str:
    """Returns a color as text.

    Example:
      >>> code(np.array([1.0, 0.5, 0.0]))
      '#ff8000'
    """
    return "#{:02x}{:02x}{:02x}".format(*np.rint(color * 255).astype(int))


def load_mask(path: Path, shape: Shape) -> Float[np.ndarray, "h w"]:
    """Reads a mask, white where the picture may change.

    Args:
      path: the mask.
      shape: (height, width) of the result.

    Raises:
      ImageError: if the file cannot be read.
      ConfigError: if its proportions differ or nothing of it is white at the size of the result.
    """
    mask = _load(path, shape).mean(axis=-1)
    if not (mask > 0.5).any():
        raise ConfigError(f"the mask {path} is black everywhere; white is what may change")
    if not (np.asarray(at_size(mask[..., None], shape)) > 0.5).any():
        raise ConfigError(
            f"what is white in the mask {path} vanishes at {shape[1]}×{shape[0]} pixels; "
            "paint more of it white, or choose a larger size"
        )
    return mask


def _load(path: Path, shape: Shape) -> np.ndarray:
    pixels = image.load(path).on_white()
    height, width = pixels.shape[:2]
    if not same_proportions((height, width), shape):
        raise ConfigError(
            f"{path} has {width}×{height} pixels, its picture {shape[1]}×{shape[0]}; "
            "they must have the same proportions"
        )
    return pixels


def _with_colors_of(pixels: np.ndarray, palette: np.ndarray, path: Path) -> np.ndarray:
    """Returns the palette with the colors of a guide that it does not have yet."""
    colors, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    if counts.max() < SMALLEST_SHARE * counts.sum():
        raise ConfigError(f"{path} has no label; paint each thing in it in one flat color")
    for index in np.argsort(-counts, kind="stable"):
        if counts[index] < SMALLEST_SHARE * counts.sum():
            break
        if not len(palette) or np.abs(palette - colors[index]).max(axis=1).min() > SAME_COLOR:
            palette = np.concatenate([palette, colors[index][None]])
        if len(palette) > MAX_LABELS:
            raise ConfigError(f"{path}: more than {MAX_LABELS} labels; paint it in flat colors")
    return palette


def _channels(pixels: np.ndarray, palette: np.ndarray) -> Float[np.ndarray, "h w labels"]:
    """Returns one channel per color of the palette, 1 where it is the nearest.

    Always `MAX_LABELS` channels, so that pictures share programs whatever their labels.
    """
    distances = [np.square(pixels - color).sum(axis=-1) for color in palette]
    nearest = np.argmin(distances, axis=0)
    return (nearest[..., None] == np.arange(MAX_LABELS)).astype(np.float32)
