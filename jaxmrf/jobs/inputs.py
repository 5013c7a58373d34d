"""The files of a job as arrays."""

from collections.abc import Sequence

import numpy as np

from jaxmrf import api
from jaxmrf.core.decoder import LAYERS
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.files import guides, image
from jaxmrf.jobs.job import Job, check_guides
from jaxmrf.networks import weights


def layers_left_out(job: Job, network: weights.Loaded) -> list[str]:
    """Returns a line that says which layers of the Gram loss the network lacks, if it does."""
    there = api.for_network(job.config, network).gram_layers
    missing = [name for name in job.config.gram_layers if name not in there]
    if not missing:
        return []
    return [f"left out {', '.join(missing)} of the Gram loss: the network has no such layer"]


def start_missed(job: Job, network: weights.Loaded) -> list[str]:
    """Returns a line that says that levels start without the decoder that was asked for."""
    config = job.config
    wanted = config.decoder_rounds and not config.tileable
    matched = "mrf" in config.style_losses()
    if not (wanted and matched) or api.rounds_of(config, network):
        return []
    if not set(LAYERS) <= set(config.layers):
        return [f"the decoder needs the layers {', '.join(LAYERS)}: levels start without it"]
    return [
        f"there is no decoder for this {network.network.architecture} with "
        f"{config.pooling} pooling: levels start without it (docs/weights.md)"
    ]


def load_guides(
    job: Job, shape: tuple[int, int], style_shapes: Sequence[tuple[int, int]]
) -> Guides | None:
    """Returns what the guides of a job say, None if it has none.

    Args:
      job: what to paint.
      shape: (height, width) of the result.
      style_shapes: (height, width) of each style.

    Raises:
      ImageError: if a file cannot be read.
      ConfigError: if guides are missing or do not go together.
    """
    check_guides(job)
    if job.content_guide is None:
        return None
    return guides.load(job.content_guide, job.style_guides, shape, style_shapes)


def _loose_label(job: Job, loaded: Guides, label: int, shape: tuple[int, int]) -> str:
    """Returns a line that says where a label of the content guide is in no style patch."""
    pixels = image.load(job.content_guide).pixels
    color = guides.code(np.median(pixels[loaded.picture[..., label] > 0], axis=0))
    return (
        f"the label {color} of {job.content_guide} is in no style patch at {shape[1]}×{shape[0]} "
        "pixels: there it matches anything"
    )


def padded(pixels: np.ndarray, final: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
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
