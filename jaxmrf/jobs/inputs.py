"""The files of a job as arrays, and what can be said of them beforehand."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxmrf.core.config import Shape
from jaxmrf.core.decoder import LAYERS
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.core.settings import Settings
from jaxmrf.errors import ConfigError
from jaxmrf.files import guides, image
from jaxmrf.files.image import Picture
from jaxmrf.files.transparency import at_size
from jaxmrf.jobs.job import Job, check_guides
from jaxmrf.planning import Pixels, result_shape


class JobPictures(NamedTuple):
    """The pictures of a job, each of its own size.

    Attributes:
      content: the photograph, of the size of the result if it is transparent, and painted to
        its corners; None for un-guided synthesis.
      styles: the paintings, sRGB in 0 to 1, on white.
      initial: picture to start from; None: what the settings say.
      guides: what is where; None: anything goes anywhere.
      mask: where the result may differ from the photograph; None: everywhere.
    """

    content: Picture | None
    styles: list[Pixels]
    initial: Pixels | None
    guides: Guides | None
    mask: Float[np.ndarray, "_ _"] | None

    @property
    def pixels(self) -> Pixels | None:
        """The photograph, sRGB in 0 to 1."""
        return None if self.content is None else self.content.pixels


def shape_of(job: Job) -> tuple[int, int]:
    """Returns (height, width) of the result; only a header is read.

    Raises:
      ImageError: if the content cannot be read.
      ConfigError: if a picture of these sides cannot be tiled, or no sides are given.
    """
    if job.content is None:
        if job.shape is None:
            raise ConfigError("a picture without a photograph needs a width and a height")
        return job.shape
    return result_shape(image.shape_of(job.content), job.config)


def load(job: Job) -> JobPictures:
    """Reads the pictures of a job.

    Raises:
      ImageError: if a file cannot be read.
      ConfigError: if guides are missing or do not go together.
    """
    styles = [image.load(path).on_white() for path in job.styles]
    shape = shape_of(job)
    labels, mask = _labels_and_mask(job, [style.shape[:2] for style in styles])
    return JobPictures(
        content=None if job.content is None else at_size(image.load(job.content), shape),
        styles=styles,
        initial=None if job.initial is None else at_size(image.load(job.initial), shape).pixels,
        guides=labels,
        mask=mask,
    )


def check(job: Job) -> None:
    """Checks what can be known of the files of a job without the pixels of photographs.

    Raises:
      ImageError: if a file cannot be read.
      ConfigError: if guides are missing or do not go together.
    """
    if job.initial is not None:
        image.shape_of(job.initial)
    _labels_and_mask(job, [image.shape_of(path) for path in job.styles])


def _labels_and_mask(
    job: Job, style_shapes: Sequence[Shape]
) -> tuple[Guides | None, Float[np.ndarray, "_ _"] | None]:
    """Reads the guides and the mask of a job, None where it has none."""
    shape, labels = shape_of(job), None
    check_guides(job)
    if job.content_guide is not None:
        labels = guides.load(job.content_guide, job.style_guides, shape, style_shapes)
    return labels, None if job.mask is None else guides.load_mask(job.mask, shape)


def left_out(job: Job, settings: Settings) -> list[str]:
    """Returns lines that say what was asked for and cannot be had of this network.

    Args:
      job: what is painted.
      settings: what became of its settings.
    """
    lines = []
    missing = [name for name in job.config.gram_layers if name not in settings.config.gram_layers]
    if missing:
        lines.append(
            f"left out {', '.join(missing)} of the Gram loss: the network has no such layer"
        )
    matched = "mrf" in settings.program.style_loss and not job.config.tileable
    if not (matched and job.config.decoder_rounds) or settings.rounds:
        return lines
    if not set(LAYERS) <= set(job.config.layers):
        lines.append(f"the decoder needs the layers {', '.join(LAYERS)}: levels start without it")
    else:
        lines.append(
            f"there is no decoder for this network with {job.config.pooling} pooling: "
            "levels start without it (docs/weights.md)"
        )
    return lines


def loose_label(guide: Path, labels: Guides, label: int, shape: Shape) -> str:
    """Returns a line that says where a label of the content's `guide` is in no style patch."""
    pixels = image.load(guide).on_white()
    color = guides.code(np.median(pixels[labels.picture[..., label] > 0], axis=0))
    return (
        f"the label {color} of {guide} is in no style patch at {shape[1]}×{shape[0]} "
        "pixels: there it matches anything"
    )


def padded(pixels: np.ndarray, final: Shape, shape: Shape) -> np.ndarray:
    """Returns a picture continued by its mirror image to the proportions of its bucket.

    So the output is cut from the painted picture, not resampled or distorted.
    """
    if final == tuple(shape):
        return pixels
    missing = [
        round(side * wide / exact) - side
        for side, exact, wide in zip(pixels.shape[:2], final, shape, strict=True)
    ]
    return np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
