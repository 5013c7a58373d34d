"""The tests; jaxtyping shapes are checked while they run, of what computes."""

import pkgutil
from pathlib import Path

from jaxtyping import install_import_hook

from tests import typecheck

CORE = Path(__file__).resolve().parent.parent / "jaxmrf" / "core"
WITHOUT_ARRAYS = ("config", "presets", "settings")
"""What checks options: it is called often."""

COMPUTING = (
    *(
        f"core.{module.name}"
        for module in pkgutil.iter_modules([str(CORE)])
        if module.name not in WITHOUT_ARRAYS
    ),
    "analysis",
    "files",
    "networks",
    "machine",
    "planning",
    "side_by_side",
    "api",
    "many",
)
install_import_hook([f"jaxmrf.{name}" for name in COMPUTING], f"{typecheck.__name__}.checker")
