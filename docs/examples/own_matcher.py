"""A matcher of one's own: patches are compared in a few random directions.

Johnson & Lindenstrauss 1984: random projections nearly keep products of vectors.

python docs/examples/own_matcher.py CONTENT STYLE OUTPUT [SIZE]
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax

import jaxmrf
from jaxmrf.core.matching import patches
from jaxmrf.core.matching.matchers import MATCHERS, Matcher
from jaxmrf.core.matching.style_patches import Match
from jaxmrf.core.numerics import TINY
from jaxmrf.files import image

DIRECTIONS = 64


def _projected(features, patch_size):
    """Returns the patch that starts at each position in random directions, [h, w, DIRECTIONS]."""
    shape = (patch_size, patch_size, features.shape[-1], DIRECTIONS)
    directions = jax.random.normal(jax.random.key(0), shape) / DIRECTIONS**0.5
    after = (0, patch_size - 1)
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        features[None], directions, (1, 1), (after, after), dimension_numbers=numbers
    )[0]


def index(style, starts, shape, settings, **_):
    """Returns the unit style patches in these directions, once per level, and their positions."""
    unit = _projected(style.sheet, settings.patch_size) * style.scale[..., None]
    return unit.reshape(-1, DIRECTIONS)[starts], jnp.asarray(starts, jnp.int32)


def nearest(features, style, patch_size, stride, **_):
    """Returns the style patch of each patch of `features` that looks nearest."""
    vectors, starts = style.index
    rows, columns = (patches.positions(side, patch_size, stride) for side in features.shape[:2])
    projected = _projected(features, patch_size)[rows][:, columns]

    def of_one_row(row):
        scores = jnp.matmul(row, vectors.T, precision="highest")
        return jnp.argmax(scores, axis=-1), scores.max(axis=-1)

    best, score = lax.map(of_one_row, projected)  # row by row: little memory
    return Match(starts[best], score / jnp.maximum(jnp.linalg.norm(projected, axis=-1), TINY))


MATCHERS["random_directions"] = Matcher(nearest, index)


def main(content, style, output, size=256):
    """Paints with the new matcher."""
    config = jaxmrf.Config(size=int(size), matching="random_directions")
    result = jaxmrf.transfer(
        image.load(Path(content)).pixels, image.load(Path(style)).pixels, config
    )
    image.save(Path(output), image.Picture(result.image), {})
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
