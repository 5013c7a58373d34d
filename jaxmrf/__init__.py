"""Neural painting with Markov random fields of VGG features, in JAX.

Li & Wand, "Combining Markov Random Fields and Convolutional Neural Networks for Image
Synthesis" (CVPR 2016, arXiv 1601.04589).
"""

from jaxmrf.api import Result, synthesize, transfer
from jaxmrf.config import PRESETS, Config, ConfigError, preset

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "Config",
    "ConfigError",
    "Result",
    "preset",
    "synthesize",
    "transfer",
]
