"""The order of the modules, and what importing the package does."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "jaxmrf"

ORDER = [
    *(
        "_version",
        "errors",
        "config",
        "color",
        "pyramid",
        "patches",
        "matching",
        "matchers",
        "losses",
        "exemplars",
    ),
    *("mrf", "gram", "style_losses", "energy", "lbfgs", "optimize", "decoder"),
    *(
        "transfer",
        "label_coverage",
        "suitability",
        "match_map",
        "reconstruction",
        "lanes",
        "winograd",
        "vgg",
        "formats/common",
        "formats/named_features",
        "formats/flax_pickle",
    ),
    *("formats/keras", "formats/torch_file", "formats/timm", "formats/caffe"),
    *(
        "formats/matconvnet",
        "published",
        "files",
        "convert",
        "decoder_file",
        "fetch",
        "weights",
        "device",
        "memory",
        "api",
        "image",
        "guides",
    ),
    *("paint", "options", "manifest", "ledger", "batch", "page_pictures", "report", "sweep"),
    *("ray_engine", "match_colors", "energy_curves", "inspection_page", "inspection"),
    *(
        "web/addresses",
        "web/form",
        "web/checks",
        "web/runs",
        "web/decoder",
        "web/pictures",
        "web/worker",
        "web/queue",
        "web/security",
    ),
    *("web/app", "web/server"),
    *("terminal", "cli_weights", "cli_batch", "cli_sweep", "cli_inspect", "cli_serve", "cli"),
]
FOLDERS = ("jaxmrf", "jaxmrf.formats", "jaxmrf.web")
CORE = ORDER[: ORDER.index("lanes") + 1]
CORE_MAY_IMPORT = {
    "collections", "dataclasses", "flax", "functools", "jax", "jaxmrf", "jaxtyping", "math",
    "numpy", "optax", "typing",
}  # fmt: skip


def imports(module):
    """Yields (top level package, module of ours or None) of every import statement."""
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module in FOLDERS:
            folder = node.module.removeprefix("jaxmrf").replace(".", "")
            prefix = f"{folder}/" if folder else ""
            yield from (("jaxmrf", prefix + alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package, _, rest = node.module.partition(".")
            yield package, rest.replace(".", "/") if package == "jaxmrf" else None


def test_every_module_has_its_place():
    found = {str(path.relative_to(PACKAGE).with_suffix("")) for path in PACKAGE.rglob("*.py")}
    assert found == {*ORDER, "__init__", "__main__", "formats/__init__", "web/__init__"}


@pytest.mark.parametrize("module", ORDER)
def test_modules_import_only_those_above(module):
    above = ORDER[: ORDER.index(module)]
    assert {ours for _, ours in imports(module) if ours is not None} <= set(above)


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_no_files_network_or_pictures(module):
    assert {package for package, _ in imports(module)} <= CORE_MAY_IMPORT


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
