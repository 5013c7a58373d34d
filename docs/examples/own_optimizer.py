"""An optimizer of one's own: Lion (Chen et al. 2023, arXiv 2302.06675), or any other of optax.

python docs/examples/own_optimizer.py CONTENT STYLE OUTPUT [SIZE]
"""

import sys
from pathlib import Path

import optax

import jaxmrf
from jaxmrf.core.optimize.optimizers import OPTIMIZERS
from jaxmrf.files import image

OPTIMIZERS["lion"] = lambda descent: optax.lion(descent.learning_rate)


def main(content, style, output, size=256):
    """Paints with the new optimizer."""
    config = jaxmrf.Config(size=int(size), optimizer="lion", learning_rate=0.01)
    result = jaxmrf.transfer(
        image.load(Path(content)).pixels, image.load(Path(style)).pixels, config
    )
    image.save(Path(output), image.Picture(result.image), {})
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
