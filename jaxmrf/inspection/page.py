"""The page of an inspection: all its pictures with how to read them, in one HTML file."""

import html
import io
from collections.abc import Sequence
from typing import Literal, NamedTuple

from PIL import Image

from jaxmrf.files.html import embedded

LONGEST = 800
"""Longest side in pixels of a picture in the page; the files beside it have them in full."""


class Figure(NamedTuple):
    """A picture with what is said below it.

    Attributes:
      content: of a picture file.
      caption: what it is.
      kind: what it is kept as in the page.
      wide: whether it needs more room than others.
    """

    content: bytes
    caption: str
    kind: Literal["JPEG", "PNG"] = "JPEG"
    wide: bool = False


class Section(NamedTuple):
    """A part of the page.

    Attributes:
      title: its heading.
      reading: how to read its pictures.
      figures: its pictures.
    """

    title: str
    reading: str
    figures: tuple[Figure, ...]


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 sans-serif; margin: 2em auto; padding: 0 1em; max-width: 76em; }}
section > p {{ max-width: 44em; }}
div {{ display: flex; flex-wrap: wrap; gap: 1.2em; align-items: flex-start; }}
figure {{ margin: 0; flex: 1 1 16em; max-width: 23em; }}
figure.wide {{ max-width: 48em; flex-basis: 24em; }}
img {{ display: block; width: 100%; height: auto; image-rendering: pixelated; }}
img[src^="data:image/jpeg"] {{ image-rendering: auto; }}
figcaption {{ font-size: 14px; padding-top: 0.3em; overflow-wrap: anywhere; }}
</style>
<h1>{title}</h1>
{sections}
</html>
"""


def render(title: str, sections: Sequence[Section]) -> bytes:
    """Returns the page; it needs no other file and follows light and dark of its reader."""
    shown = "\n".join(map(_section, sections))
    return _PAGE.format(title=html.escape(title), sections=shown).encode(errors="replace")


def _section(section: Section) -> str:
    figures = "\n".join(map(_figure, section.figures))
    return (
        f"<section>\n<h2>{html.escape(section.title)}</h2>\n"
        f"<p>{html.escape(section.reading)}</p>\n<div>\n{figures}\n</div>\n</section>"
    )


def _figure(figure: Figure) -> str:
    with Image.open(io.BytesIO(figure.content)) as file:
        picture = file.convert("RGB")
    wide = ' class="wide"' if figure.wide else ""
    shown = embedded(picture, figure.caption, LONGEST, figure.kind)
    return f"<figure{wide}>{shown}<figcaption>{html.escape(figure.caption)}</figcaption></figure>"
