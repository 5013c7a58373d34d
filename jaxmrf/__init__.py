"""Neural painting with Markov random fields of VGG features, in JAX.

Li & Wand, "Combining Markov Random Fields and Convolutional Neural Networks for Image
Synthesis" (CVPR 2016, arXiv 1601.04589). docs/api.md lists the public API.
"""

from jaxmrf._version import __version__ as __version__
from jaxmrf.api import Result, iterate, synthesize, transfer
from jaxmrf.core.config import Config
from jaxmrf.core.features import Network
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.core.losses.style_losses import STYLE_LOSSES, StyleLoss
from jaxmrf.core.matching.matchers import MATCHERS, Matcher
from jaxmrf.core.optimize.optimizers import OPTIMIZERS
from jaxmrf.core.presets import PRESETS, preset
from jaxmrf.core.run.plan import Plan
from jaxmrf.core.run.progress import NonFiniteEnergyError, Progress
from jaxmrf.errors import ConfigError, WeightsError

__all__ = [
    "MATCHERS",
    "OPTIMIZERS",
    "PRESETS",
    "STYLE_LOSSES",
    "Config",
    "ConfigError",
    "Guides",
    "Matcher",
    "Network",
    "NonFiniteEnergyError",
    "Plan",
    "Progress",
    "Result",
    "StyleLoss",
    "WeightsError",
    "iterate",
    "preset",
    "synthesize",
    "transfer",
]
