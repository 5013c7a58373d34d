"""The documents say what the code does."""

import re
from pathlib import Path

import jaxmrf
from jaxmrf.jobs import option_table
from tests.test_imports import PACKAGE

DOCS = Path(__file__).resolve().parent.parent / "docs"


def test_the_public_names_are_listed_and_there():
    listed = set(re.findall(r"`(\w+)`", (DOCS / "api.md").read_text()))
    assert set(jaxmrf.__all__) <= listed
    assert all(hasattr(jaxmrf, name) for name in jaxmrf.__all__)


def test_every_module_of_the_core_is_in_the_list():
    listed = set(re.findall(r"automodule:: jaxmrf\.([\w.]+)", (DOCS / "api.md").read_text()))
    core = (path.relative_to(PACKAGE) for path in PACKAGE.glob("core/**/[a-z]*.py"))
    assert {str(path.with_suffix("")).replace("/", ".") for path in core} <= listed


def test_every_page_is_on_the_site():
    pages = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    tree = re.search(r"```\{toctree\}(.*?)```", (DOCS / "index.md").read_text(), re.S)[1]
    assert pages == set(re.findall(r"^\w+$", tree, re.M))


def test_the_guide_has_the_table_of_all_options():
    assert option_table.as_markdown() in (DOCS / "guide.md").read_text()


def test_the_longest_way_goes_by_what_is_there():
    design = (DOCS / "design.md").read_text()
    way = re.search(r"^## The longest way\n(.*?)^## ", design, re.M | re.S)[1]
    names = re.findall(r"`([a-z_/]+)\.(\w+(?:\.\w+)*)`", way)
    assert len(names) > 20
    for module, path in names:
        sources = [file.read_text() for file in PACKAGE.rglob(f"{module}.py")]
        for name in path.split("."):
            defined = re.compile(rf"^ *(?:def|class) {name}\b", re.M)
            assert any(map(defined.search, sources)), f"{module}.{path}"
