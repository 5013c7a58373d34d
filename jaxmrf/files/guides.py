"""Label pictures that say what goes where, and masks: pictures → arrays.

A label picture is painted in flat colors, one for each thing, the same in the guide of the
content and in that of the style (Champandard 2016, arXiv 1603.01768).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from jaxmrf.core.config import Shape
from jaxmrf.core.losses.exemplars import Guides, same_proportions
from jaxmrf.core.pyramid import at_size
from jaxmrf.errors import ConfigError
from jaxmrf.files import pictures
from jaxmrf.files.pictures import PictureLike, called

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
    content: PictureLike,
    styles: Sequence[PictureLike],
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
    _check_count(len(styles), len(style_shapes))
    roles = ["the content guide", *(f"style guide {number + 1}" for number in range(len(styles)))]
    guides = (content, *styles)
    names = [called(*guide) for guide in zip(guides, roles, strict=True)]
    loaded = [_load(*guide) for guide in zip(guides, roles, (shape, *style_shapes), strict=True)]
    palette = np.zeros((0, 3), np.float32)
    for name, pixels in zip(names, loaded, strict=True):
        palette = _with_colors_of(pixels, palette, name)
    channels = [_channels(pixels, palette) for pixels in loaded]
    in_content = channels[0].sum(axis=(0, 1)) > 0
    in_styles = sum(labels.sum(axis=(0, 1)) for labels in channels[1:]) > 0
    for color in palette[(in_content & ~in_styles)[: len(palette)]]:
        raise ConfigError(f"the label {code(color)} of {names[0]} is in no style guide")
    return Guides(channels[0], tuple(channels[1:]))


def check_together(content: object, styles: Sequence[object]) -> None:
    """Checks that there are guides for the picture and for the styles, or for neither.

    Raises:
      ConfigError: if there are not.
    """
    if (content is None) != (not styles):
        raise ConfigError("a content guide and style guides are of use only together")


def check(guides: Guides, shape: Shape, style_shapes: Sequence[Shape]) -> None:
    """Checks that labels in arrays go with each other and with the pictures.

    Args:
      guides: the labels.
      shape: (height, width) of the result.
      style_shapes: (height, width) of each style picture.

    Raises:
      ConfigError: if they do not.
    """
    _check_count(len(guides.styles), len(style_shapes))
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


def code(color: Float[np.ndarray, " 3"]) -> str:
    """Returns a color as text.

    Example:
      >>> code(np.array([1.0, 0.5, 0.0]))
      '#ff8000'
    """
    return "#{:02x}{:02x}{:02x}".format(*np.rint(color * 255).astype(int))


def load_mask(source: PictureLike, shape: Shape) -> Float[np.ndarray, "h w"]:
    """Reads a mask, white where the picture may change.

    Args:
      source: the mask.
      shape: (height, width) of the result.

    Raises:
      ImageError: if the file cannot be read.
      ConfigError: if its proportions differ or nothing of it is white at the size of the result.
    """
    name = called(source, "the mask")
    mask = _load(source, "the mask", shape).mean(axis=-1)
    if not (mask > 0.5).any():
        raise ConfigError(f"{name} is black everywhere; white is what may change")
    if not (np.asarray(at_size(mask[..., None], shape)) > 0.5).any():
        raise ConfigError(
            f"what is white in {name} vanishes at {shape[1]}×{shape[0]} pixels; "
            "paint more of it white, or choose a larger size"
        )
    return mask


def _load(source: PictureLike, role: str, shape: Shape) -> np.ndarray:
    pixels = pictures.read(source, role).on_white()
    _check_proportions(called(source, role), pixels.shape, shape)
    return pixels


def _check_count(guides: int, styles: int) -> None:
    if guides != styles:
        raise ConfigError(f"{guides} style guide(s) for {styles} style(s)")


def _check_proportions(name: str, shape: Shape, picture_shape: Shape) -> None:
    if not same_proportions(shape[:2], picture_shape):
        raise ConfigError(
            f"{name} has {shape[1]}×{shape[0]} pixels, its picture "
            f"{picture_shape[1]}×{picture_shape[0]}; they must have the same proportions"
        )


def _with_colors_of(pixels: np.ndarray, palette: np.ndarray, name: str) -> np.ndarray:
    """Returns the palette with the colors of a guide that it does not have yet."""
    colors, counts = _colors(pixels)
    if counts.max() < SMALLEST_SHARE * counts.sum():
        raise ConfigError(f"{name} has no label; paint each thing in it in one flat color")
    for index in np.argsort(-counts, kind="stable"):
        if counts[index] < SMALLEST_SHARE * counts.sum():
            break
        if not len(palette) or np.abs(palette - colors[index]).max(axis=1).min() > SAME_COLOR:
            palette = np.concatenate([palette, colors[index][None]])
        if len(palette) > MAX_LABELS:
            raise ConfigError(f"{name}: more than {MAX_LABELS} labels; paint it in flat colors")
    return palette


def _colors(
    pixels: Float[np.ndarray, "h w 3"],
) -> tuple[Float[np.ndarray, "colors 3"], Int[np.ndarray, " colors"]]:
    """Returns the colors of a picture, told apart to 16 bits, and how many pixels have each."""
    red, green, blue = np.moveaxis(np.rint(pixels * 65535).astype(np.uint64), -1, 0)
    # Whole numbers are sorted many times faster than rows of three.
    packed = (red << np.uint64(32)) | (green << np.uint64(16)) | blue
    _, places, counts = np.unique(packed, return_index=True, return_counts=True)
    return pixels.reshape(-1, 3)[places], counts


def _channels(pixels: np.ndarray, palette: np.ndarray) -> Float[np.ndarray, "h w labels"]:
    """Returns one channel per color of the palette, 1 where it is the nearest.

    Always `MAX_LABELS` channels, so that pictures share programs whatever their labels.
    """
    distances = [np.square(pixels - color).sum(axis=-1) for color in palette]
    nearest = np.argmin(distances, axis=0)
    return (nearest[..., None] == np.arange(MAX_LABELS)).astype(np.float32)
