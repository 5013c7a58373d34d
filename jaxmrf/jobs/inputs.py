"""The files of a job as arrays, and what can be said of them beforehand."""

from pathlib import Path

import numpy as np

from jaxmrf.core.config import Shape
from jaxmrf.core.decoder import LAYERS
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.core.settings import Settings
from jaxmrf.errors import ConfigError
from jaxmrf.files import guides, image
from jaxmrf.files.sources import InputPictures
from jaxmrf.jobs.job import Job
from jaxmrf.planning import result_shape


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


def load(job: Job) -> InputPictures:
    """Reads the pictures of a job.

    Raises:
      ImageError: if a file cannot be read.
      ConfigError: if guides are missing or do not go together.
    """
    return job.sources.read(shape_of(job))


def check(job: Job) -> None:
    """Checks what can be known of the files of a job without the pixels of photographs.

    Raises:
      ImageError: if a file cannot be read.
      ConfigError: if guides are missing or do not go together.
    """
    job.sources.check(shape_of(job))


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
