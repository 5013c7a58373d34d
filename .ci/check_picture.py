"""Fails unless a transfer's output is a plausible picture.

Its size is right, it is not constant, and its patches are nearer to the style's than the
content's are: python .ci/check_picture.py OUTPUT CONTENT STYLE SIZE
"""

import dataclasses
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxmrf.core import energy, pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.energy import Weights
from jaxmrf.core.losses import mrf
from jaxmrf.files import image
from jaxmrf.networks import weights


def main(output: str, content: str, style: str, size: str) -> None:
    """Checks one output file."""
    painted, photograph, painting = (
        jnp.asarray(image.load(Path(path)).pixels) for path in (output, content, style)
    )
    shape = pyramid.fit(*photograph.shape[:2], int(size))
    assert painted.shape == (*shape, 3), painted.shape
    assert float(painted.std()) > 0.02, "the output is constant"

    loaded = weights.load()
    config = dataclasses.replace(Config(), matching="exact")
    arguments = {"features": loaded.network, "config": config}
    reference = pyramid.resize(painting, pyramid.fit(*painting.shape[:2], int(size)))
    targets = energy.prepare(
        loaded.params, None, [reference], Weights(0.0, {"mrf": 1.0}, 0.0), shape=shape, **arguments
    )
    for name in config.layers:
        scores = []
        for picture in (painted, pyramid.resize(photograph, shape)):
            activations = loaded.network(loaded.params, picture)
            found = mrf.match(activations, targets.style["mrf"], config)
            scores.append(float(np.mean(found[name].score)))
        print(f"{name}: mean best cosine {scores[0]:.4f}, of the content {scores[1]:.4f}")
        assert scores[0] > scores[1] + 0.01, "the output is no nearer to the style"


if __name__ == "__main__":
    main(*sys.argv[1:])
