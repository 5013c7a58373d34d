"""Fails unless a transfer's output is a plausible picture.

Its size is right, it is not constant, and its patches are nearer to the style's than the
content's are: python .ci/check_picture.py OUTPUT CONTENT STYLE SIZE
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxmrf.core import energy, pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.losses import mrf
from jaxmrf.core.settings import TermWeights, program_of
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

    network = weights.load().network
    program = program_of(Config(matching="exact"))
    reference = pyramid.resize(painting, pyramid.fit(*painting.shape[:2], int(size)))
    mrf_alone = TermWeights(0.0, {"mrf": 1.0}, 0.0)
    prepare = jax.jit(energy.prepare, static_argnames=("shape", "program"))
    targets = prepare(network, None, [reference], mrf_alone, shape=shape, program=program)
    match = jax.jit(lambda network, picture, targets: mrf.match(network(picture), targets, program))
    for name in program.patches.layers:
        scores = []
        for picture in (painted, pyramid.resize(photograph, shape)):
            found = match(network, picture, targets.style["mrf"])
            scores.append(float(np.mean(found[name].score)))
        print(f"{name}: mean best cosine {scores[0]:.4f}, of the content {scores[1]:.4f}")
        assert scores[0] > scores[1] + 0.01, "the output is no nearer to the style"


if __name__ == "__main__":
    main(*sys.argv[1:])
