"""Transparency: color is resampled by how opaque it is, so that nothing hidden gets into it."""

import numpy as np
from jaxtyping import Float
from PIL import Image

from jaxmrf.core.config import Shape
from jaxmrf.files.image import Picture

OPAQUE_ENOUGH = 1 / 32
"""Below this opacity a color is not to be relied on: few bits are left of it."""


def at_size(picture: Picture, shape: Shape) -> Picture:
    """Returns a transparent picture at another size, painted to its corners; else itself.

    Colors go on from the soft edges into what is transparent, so that whatever looks at the
    surroundings of a pixel sees neither hidden colors nor white paper.

    Args:
      picture: of any size.
      shape: (height, width) that is wanted if it has alpha.
    """
    if picture.alpha is None:
        return picture
    alpha = picture.alpha[..., None]
    weighted = np.concatenate([picture.pixels * alpha, alpha], axis=-1)
    resized = _resized(weighted, shape, Image.Resampling.BICUBIC)
    return Picture(_filled(resized[..., :3], resized[..., 3]), np.clip(resized[..., 3], 0, 1))


def _filled(
    weighted: Float[np.ndarray, "h w 3"], opacity: Float[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w 3"]:
    """Returns colors for all pixels from colors times opacity; where that is none, from nearby.

    Of every pixel that shows nothing the color is the mean of ever larger squares around it, the
    smallest in which anything shows (pull and push, Gortler et al. 1996).
    """
    shows = opacity[..., None] > OPAQUE_ENOUGH
    own = np.clip(weighted / np.where(shows, opacity[..., None], 1), 0, 1)
    height, width = opacity.shape
    if shows.all() or height * width == 1:
        return own.astype(np.float32)
    layers = np.concatenate([weighted, opacity[..., None]], axis=-1)
    half = (-(-height // 2), -(-width // 2))
    coarse = _resized(layers, half, Image.Resampling.BOX)
    far = _filled(coarse[..., :3], coarse[..., 3])
    far = _resized(far, (height, width), Image.Resampling.BILINEAR)
    return np.where(shows, own, np.clip(far, 0, 1)).astype(np.float32)


def _resized(
    values: Float[np.ndarray, "_ _ c"], shape: Shape, kind: Image.Resampling
) -> Float[np.ndarray, "h w c"]:
    height, width = shape
    if values.shape[:2] == (height, width):
        return values
    channels = (
        Image.fromarray(np.ascontiguousarray(channel, np.float32)).resize((width, height), kind)
        for channel in np.moveaxis(values, -1, 0)
    )
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)
