"""The order of the packages, and what importing jaxmrf does."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "jaxmrf"

# Each line may import those before it, and itself.
ORDER = (
    "_version errors",
    "core/config core/numerics",
    "core/features core/color core/pyramid core/matching core/optimize",
    "core/losses",
    "core/energy core/decoder",
    "core/run",
    "analysis files",
    "networks",
    "machine",
    "planning",
    "api",
    "jobs",
    "web batch inspection",
    "sweep",
    "cli",
)
PLACES = {place: number for number, line in enumerate(ORDER) for place in line.split()}
CORE_MAY_IMPORT = {
    "collections", "dataclasses", "flax", "functools", "jax", "jaxmrf", "jaxtyping", "math",
    "numpy", "optax", "typing",
}  # fmt: skip


def imports(path):
    """Yields the modules that a file imports, ``from a import b`` as ``a.b``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def place(module):
    """Returns the line of `ORDER` that a module of ours stands in."""
    name = module.removeprefix("jaxmrf").strip(".").replace(".", "/")
    return next((PLACES[p] for p in PLACES if f"{name}/".startswith(f"{p}/")), None)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*/[a-z]*.py")), ids=lambda path: path.stem)
def test_packages_import_only_those_before(path):
    mine = place("jaxmrf." + str(path.relative_to(PACKAGE).with_suffix("")).replace("/", "."))
    for module in imports(path):
        if module.startswith("jaxmrf") and None not in (mine, place(module)):
            assert place(module) <= mine, module


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("core/**/*.py")), ids=lambda path: path.stem)
def test_the_core_imports_no_files_network_or_pictures(path):
    assert {module.split(".")[0] for module in imports(path)} <= CORE_MAY_IMPORT
    assert not {
        module
        for module in imports(path)
        if module.startswith("jaxmrf.") and not module.startswith(("jaxmrf.core", "jaxmrf.errors"))
    }


def test_importing_prints_nothing_and_touches_no_file(tmp_path):
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
