from .api import Result, iterate, synthesize, transfer
from .core.config import Config
from .core.features import Network
from .core.losses.exemplars import Guides
from .core.losses.style_losses import STYLE_LOSSES, StyleLoss
from .core.matching.matchers import MATCHERS, Matcher
from .core.optimize.optimizers import OPTIMIZERS
from .core.presets import PRESETS, preset
from .core.run.plan import Plan
from .core.run.progress import NonFiniteEnergyError, Progress
from .errors import ConfigError, ImageError, PairsError, WeightsError
from .many import transfer_many

__version__: str

__all__ = [
    "MATCHERS",
    "OPTIMIZERS",
    "PRESETS",
    "STYLE_LOSSES",
    "Config",
    "ConfigError",
    "Guides",
    "ImageError",
    "Matcher",
    "Network",
    "NonFiniteEnergyError",
    "PairsError",
    "Plan",
    "Progress",
    "Result",
    "StyleLoss",
    "WeightsError",
    "iterate",
    "preset",
    "synthesize",
    "transfer",
    "transfer_many",
]
