"""What the advice beforehand goes by: python benchmarks/suitability.py FOLDER...

Prints score and share of distinct patches of every pair of pictures in the folders, and of each
of them with a flat color, noise and stripes as the painting; the bounds are those of
`jaxmrf.analysis.suitability`. The pairs that would get advice are marked.
"""

import sys
from pathlib import Path

import numpy as np

from jaxmrf import Config
from jaxmrf.files import image
from jaxmrf.machine import program_cache
from jaxmrf.networks import weights
from jaxmrf.planning import measure_suitability

SIDE = 256


def odd_styles() -> dict[str, np.ndarray]:
    """Returns pictures that are no paintings."""
    stripes = np.tile(np.repeat(np.array([0.1, 0.9], np.float32), 8), SIDE // 16)
    return {
        "(flat)": np.full((SIDE, SIDE, 3), 0.5, np.float32),
        "(noise)": np.random.default_rng(0).random((SIDE, SIDE, 3), np.float32),
        "(stripes)": np.broadcast_to(stripes[None, :, None], (SIDE, SIDE, 3)).copy(),
    }


def main(*folders: str) -> None:
    """Prints the pairs by their score."""
    program_cache.enable()
    paths = sorted(path for folder in folders for path in Path(folder).glob("*.jpg"))
    pictures = {path.stem: image.load(path).pixels for path in paths}
    network, rows = weights.load("vgg16").network, []
    for content, pixels in pictures.items():
        for style, painting in {**pictures, **odd_styles()}.items():
            if style != content:
                found = measure_suitability(pixels, painting, Config(), network)
                rows.append((found, content, style))
    for found, content, style in sorted(rows):
        advice = "alien" if found.alien else "monotonous" if found.monotonous else ""
        print(f"{found.score:.3f} {found.distinct:.2f} {content:30} {style:30} {advice}")


if __name__ == "__main__":
    main(*sys.argv[1:])
