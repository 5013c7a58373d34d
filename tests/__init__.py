"""The tests; jaxtyping shapes are checked while they run, of what computes."""

from jaxtyping import install_import_hook

from tests import typecheck

COMPUTING = (  # not what checks options: it is called often and has no arrays
    *(f"core.{name}" for name in ("color", "decoder", "energy", "features", "losses", "matching")),
    *(f"core.{name}" for name in ("numerics", "optimize", "pyramid", "run")),
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
