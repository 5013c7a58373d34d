"""The image pyramid: sizes of its levels, resampling, rotated and scaled style copies."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jaxmrf.core.config import Config, Shape
from jaxmrf.core.settings import CopySettings

PIECE = 16
"""Side in pixels of the pieces of a shuffled picture."""


def fit(height: int, width: int, longest: int) -> tuple[int, int]:
    """Returns (height, width) scaled so that the longest side is `longest` pixels.

    Example:
      >>> fit(300, 451, 512)
      (341, 512)
    """
    ratio = longest / max(height, width)
    return max(1, _round(height * ratio)), max(1, _round(width * ratio))


def size_in_steps(height: int, width: int, near: int, step: int) -> int | None:
    """Returns the longest side nearest to `near` for which `fit` gives multiples of `step`.

    None if there is none between half and twice of it.

    Example:
      >>> size_in_steps(67, 100, near=100, step=16)
      96
    """
    fitting = [
        longest
        for longest in range(step, 2 * near + 1, step)
        if 2 * longest >= near and not any(side % step for side in fit(height, width, longest))
    ]
    return min(fitting, key=lambda longest: abs(longest - near), default=None)


def level_count(shape: Shape, config: Config) -> int:
    """Returns how many levels a picture of this height and width gets."""
    if config.levels is not None:
        return config.levels
    return max(1, int(math.log2(max(max(shape) / config.coarsest, 1.0))) + 1)


def level_shapes(shape: Shape, levels: int) -> list[tuple[int, int]]:
    """Returns (height, width) of each level, coarsest first, half the size per level.

    Sizes are rounded up, as in the authors' transfer_CNNMRF_wrapper.lua.
    """
    return [
        tuple(math.ceil(side / 2 ** (levels - 1 - level)) for side in shape)
        for level in range(levels)
    ]


@functools.partial(jax.jit, static_argnames="shape")
def resize(image: Float[Array, "_ _ c"], shape: Shape) -> Float[Array, "_ _ c"]:
    """Resamples a picture: bicubic (Keys), with anti-aliasing where it shrinks."""
    if image.shape[:2] == tuple(shape):
        return image
    return jax.image.resize(image, (*shape, image.shape[2]), "cubic", antialias=True)


def small(image: Float[Array, "_ _ c"], shape: Shape) -> Float[Array, "_ _ c"]:
    """Returns the colors of a picture at the positions of a network's layer."""
    return jax.image.resize(image, (*shape, image.shape[2]), "linear", antialias=True)


def style_copies(
    image: Float[Array, "_ _ c"], settings: CopySettings
) -> list[Float[Array, "_ _ c"]]:
    """Returns the rotated and scaled copies of a style, or of its guide (paper, section 4).

    (2 · rotations + 1) · (2 · scales + 1) copies; the picture itself is one of them.
    """
    rotated = [rotate(image, degrees) for degrees in _angles(settings)]
    return [
        jnp.clip(resize(turned, shape), 0.0, 1.0)
        for turned in rotated
        for shape in _scaled(turned.shape[:2], settings)
    ]


def copy_shapes(shape: Shape, settings: CopySettings) -> list[Shape]:
    """Returns (height, width) of each of the `style_copies` of a picture of `shape`."""
    return [
        scaled
        for degrees in _angles(settings)
        for scaled in _scaled(_rotated(shape, degrees), settings)
    ]


def _angles(settings: CopySettings) -> list[float]:
    """Returns the degrees that copies are rotated by."""
    steps = range(-settings.rotations, settings.rotations + 1)
    return [step * settings.rotation_step for step in steps]


def _scaled(shape: Shape, settings: CopySettings) -> list[Shape]:
    """Returns (height, width) of the copies of a picture of `shape` that are scaled."""
    ratios = (settings.scale_step**step for step in range(-settings.scales, settings.scales + 1))
    return [tuple(max(1, int(side * ratio)) for side in shape) for ratio in ratios]


@functools.partial(jax.jit, static_argnames="shape")
def shuffled(
    pictures: Sequence[Float[Array, "_ _ c"]], shape: Shape, key: PRNGKeyArray
) -> Float[Array, "h w c"]:
    """Returns a picture of (height, width) `shape` made of random pieces of `pictures`.

    Pieces are squares of `PIECE` pixels, smaller where a picture is.
    """
    size = min(PIECE, *(min(picture.shape[:2]) for picture in pictures))
    rows, columns = (-(-side // size) for side in shape)
    keys = jax.random.split(key, rows * columns)

    def one_piece(key: PRNGKeyArray) -> Array:
        which, row, column = jax.random.split(key, 3)
        pieces = [
            lax.dynamic_slice(
                picture,
                (
                    jax.random.randint(row, (), 0, picture.shape[0] - size + 1),
                    jax.random.randint(column, (), 0, picture.shape[1] - size + 1),
                    0,
                ),
                (size, size, picture.shape[2]),
            )
            for picture in pictures
        ]
        return jnp.stack(pieces)[jax.random.randint(which, (), 0, len(pieces))]

    pieces = jax.vmap(one_piece)(keys).reshape(rows, columns, size, size, -1)
    whole = pieces.transpose(0, 2, 1, 3, 4).reshape(rows * size, columns * size, -1)
    return whole[: shape[0], : shape[1]]


def rotate(image: Float[Array, "_ _ c"], degrees: float) -> Float[Array, "_ _ c"]:
    """Rotates a picture and crops it to the largest centered box without empty corners.

    Bilinear, as in the authors' code (image.rotate). Positive is counter-clockwise.
    """
    if degrees == 0:
        return image
    height, width = image.shape[:2]
    box_height, box_width = _rotated((height, width), degrees)
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    y = np.arange(box_height)[:, None] - (box_height - 1) / 2
    x = np.arange(box_width)[None, :] - (box_width - 1) / 2
    rows = cosine * y + sine * x + (height - 1) / 2
    columns = -sine * y + cosine * x + (width - 1) / 2
    coordinates = [jnp.asarray(rows), jnp.asarray(columns)]
    channels = [
        jax.scipy.ndimage.map_coordinates(image[..., c], coordinates, order=1, mode="nearest")
        for c in range(image.shape[2])
    ]
    return jnp.stack(channels, axis=-1)


def _rotated(shape: Shape, degrees: float) -> Shape:
    """Returns (height, width) of the largest box, parallel to the axes, in a rotated `shape`."""
    if degrees == 0:
        return shape
    height, width = shape
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    long, short = max(height, width), min(height, width)
    if short <= 2 * sine * cosine * long or abs(sine - cosine) < 1e-9:
        # Two corners of the box touch the long sides, the others lie inside.
        across, along = 0.5 * short / cosine, 0.5 * short / sine
        box_width, box_height = (along, across) if width >= height else (across, along)
    else:
        double = cosine**2 - sine**2
        box_width = (width * cosine - height * sine) / double
        box_height = (height * cosine - width * sine) / double
    return max(1, int(box_height)), max(1, int(box_width))


def _round(value: float) -> int:
    """Rounds half up; Python's round goes to even, which users do not expect of sizes."""
    return math.floor(value + 0.5)


@functools.partial(jax.jit, static_argnames="settings")
def copies_of_all(pictures: Sequence[Array], *, settings: CopySettings) -> list[Array]:
    """Returns the rotated and scaled copies of all styles, those of one style together."""
    return [copy for picture in pictures for copy in style_copies(picture, settings)]


def enlarged(
    picture: Float[Array, "_ _ 3"], shape: Shape, *, tileable: bool
) -> Float[Array, "h w 3"]:
    """Returns the picture of a level at another size; a tileable one stays tileable."""
    if not tileable or picture.shape[:2] == tuple(shape):
        return resize(picture, shape)
    around = resize(jnp.tile(picture, (3, 3, 1)), tuple(3 * side for side in shape))
    return around[shape[0] : 2 * shape[0], shape[1] : 2 * shape[1]]


def mask_at(mask: Float[Array, "_ _"], shape: Shape) -> Bool[Array, "h w 1"]:
    """Returns where a mask is above 0.5, at (height, width) `shape`."""
    return at_size(mask[..., None], shape) > 0.5


@functools.partial(jax.jit, static_argnames="shape")
def at_size(picture: Float[Array, "_ _ c"], shape: Shape) -> Float[Array, "h w c"]:
    """Returns a picture resampled to (height, width) `shape`, in 0 to 1."""
    return jnp.clip(resize(picture, shape), 0.0, 1.0)
