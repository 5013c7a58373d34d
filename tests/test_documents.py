"""The documents show what their script makes."""

import re
import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def test_every_figure_of_the_gallery_is_shown_with_its_commands():
    script = runpy.run_path(str(DOCS / "make_pictures.py"))
    pages = (DOCS / "gallery.md").read_text("utf-8") + (DOCS / "inspect.md").read_text("utf-8")
    for name, rows in script["FIGURES"].items():
        assert f"(images/{name}.jpg)" in pages
        assert (DOCS / "images" / f"{name}.jpg").is_file(), name
        for text in (text for row in rows for text in row):
            command, bar, _ = text.partition(" | ")
            if " " in command:
                assert bar or f"\njaxmrf {command}\n" in pages
            else:
                assert (DOCS / "images" / text).is_file(), text


def test_links_between_documents_lead_somewhere():
    for page in (DOCS.parent / "README.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), (page.name, target)
