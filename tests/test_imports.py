"""The order of the packages, and what importing jaxmrf does."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "jaxmrf"

# Each line may import those above it, and itself; within a line nobody imports the neighbor.
ORDER = """
_version errors
core/config core/numerics core/decoder
core/features
core/settings
core/color core/pyramid core/matching core/optimize
core/losses
core/energy core/presets
core/run
analysis files
networks
machine
planning
side_by_side
api
many
jobs
web batch inspection
sweep
cli
"""
PLACES = {place: line for line, text in enumerate(ORDER.split("\n")) for place in text.split()}
CORE_MAY_IMPORT = {
    "collections", "dataclasses", "flax", "functools", "jax", "jaxmrf", "jaxtyping", "math",
    "numpy", "optax", "typing",
}  # fmt: skip
MODULES = sorted(path for path in PACKAGE.rglob("[a-z]*.py") if path.parent != PACKAGE)
MODULES += [
    PACKAGE / f"{name}.py" for name in ("api", "many", "planning", "side_by_side", "errors")
]


def imports(path):
    """Yields the modules that a file imports, ``from a import b`` as ``a.b``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def place(module):
    """Returns the package of `ORDER` that a module of ours is in."""
    name = module.removeprefix("jaxmrf.").replace(".", "/")
    return next(place for place in PLACES if f"{name}/".startswith(f"{place}/"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_packages_import_only_those_above(path):
    mine = place(str(path.relative_to(PACKAGE).with_suffix("")).replace("/", "."))
    for module in imports(path):
        assert module != "jaxmrf"
        if module.startswith("jaxmrf."):
            assert place(module) == mine or PLACES[place(module)] < PLACES[mine], module


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("core/**/*.py")), ids=lambda path: path.stem)
def test_the_core_imports_no_files_network_or_pictures(path):
    assert {module.split(".")[0] for module in imports(path)} <= CORE_MAY_IMPORT


def test_the_process_that_parses_weight_files_loads_no_jax():
    program = (
        "import importlib, sys\n"
        "from jaxmrf.networks import foreign_file\n"
        "for name in foreign_file.READERS:\n"
        "    importlib.import_module(f'jaxmrf.networks.formats.{name}')\n"
        "assert 'jax' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PACKAGE.parent)


def test_importing_prints_nothing_touches_no_file_and_loads_no_readers_of_formats(tmp_path):
    heavy = ("h5py", "scipy.io", "google.protobuf", "tifffile", "typer")
    watch = (
        "import sys, pathlib\n"
        "def hook(event, args):\n"
        "    if event == 'open' and isinstance(args[1], str) and set(args[1]) & set('wax+'):\n"
        "        print('wrote', args)\n"
        "    if event in ('os.mkdir', 'os.rename', 'os.remove', 'socket.connect'):\n"
        "        print(event, args)\n"
        "sys.dont_write_bytecode = True\n"
        "sys.addaudithook(hook)\n"
        "import jaxmrf\n"
        "jaxmrf.transfer\n"
        f"print(*set({heavy}) & set(sys.modules), end='')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", watch],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.stdout == done.stderr == ""
    assert not list(tmp_path.iterdir())
