"""The documents show what their script makes."""

import re
import runpy
import tomllib
from fnmatch import fnmatch
from pathlib import Path

# Rows of the README that change how a picture looks.
CONTROL = (
    "transfer C|synthesize|sweep|jaxmrf inspect|advice|"
    "--(content-weight|color|style-loss|content-guide|tileable|variety|rotations)"
)

DOCS = Path(__file__).resolve().parent.parent / "docs"


def test_every_figure_of_the_gallery_is_shown_with_its_commands():
    script = runpy.run_path(str(DOCS / "make_pictures.py"))
    pages = (DOCS / "gallery.md").read_text("utf-8") + (DOCS / "inspect.md").read_text("utf-8")
    for name, rows in script["FIGURES"].items():
        assert f"(images/{name}.jpg)" in pages
        assert (DOCS / "images" / f"{name}.jpg").is_file(), name
        for text in (text for row in rows for text in row):
            command, _, shown = text.partition(" | ")
            if " " in command:
                inspected = shown.endswith(".png")
                assert inspected or f"\njaxmrf {command}\n" in pages
            else:
                assert (DOCS / "images" / text).is_file(), text


def test_commands_of_the_gallery_do_not_overwrite_what_others_made():
    gallery = (DOCS / "gallery.md").read_text("utf-8")
    outputs = {}
    for command, output in re.findall(r"^jaxmrf (.*) -o (\S+)$", gallery, re.M):
        assert outputs.setdefault(output, command) == command, output
    assert gallery.count("\njaxmrf ") == len(re.findall(r"^jaxmrf .* -o made/\S+$", gallery, re.M))


def test_every_control_leads_to_its_section_of_the_gallery():
    gallery = (DOCS / "gallery.md").read_text("utf-8")
    sections = {
        "#" + re.sub("[^a-z -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^## (.*)$", gallery, re.M)
    }
    rows = re.findall(r"^\| (.*) \| (.*) \|$", (DOCS.parent / "README.md").read_text("utf-8"), re.M)
    for names, text in rows:
        links = re.findall(r"docs/gallery\.md(#[^)]*)", text)
        assert set(links) <= sections, names
        if re.search(CONTROL, names):
            assert links, names


def test_the_image_of_the_dockerfile_gets_what_the_wheel_is_built_of():
    root = DOCS.parent
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    taken = [*wheel["packages"], *wheel["force-include"], *settings["project"]["license-files"]]
    kept = re.findall("^!(.*)$", (root / ".dockerignore").read_text("utf-8"), re.M)
    for path in (*taken, settings["project"]["readme"], "pyproject.toml"):
        assert any(fnmatch(path, pattern) for pattern in kept), path


def test_links_between_documents_lead_somewhere():
    for page in (DOCS.parent / "README.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), (page.name, target)
