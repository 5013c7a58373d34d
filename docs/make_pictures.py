"""Makes the pictures of the documentation: python docs/make_pictures.py [NAME ...].

Every picture is made by the command line that docs/gallery.md prints beside it.
"""

import functools
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).resolve().parent / "images"
GAP = 6

PAIRS = [
    "nasa-astronaut-1993.jpg vangogh-pere-tanguy-1887.jpg",
    "cat-chelsea-cc0.jpg vangogh-road-to-tarascon-1888.jpg",
    "coffee-cc0.jpg vangogh-night-cafe-1888.jpg",
]

KINDS = ("matches", "assembled")
INSPECTED = f"transfer {PAIRS[1]} --size 256"

# Each row of a figure: pictures of docs/images as they are, or commands that make one; behind
# a bar the file that `jaxmrf inspect` writes for it.
FIGURES: dict[str, list[list[str]]] = {
    "pairs": [[*pair.split(), f"transfer {pair} --size 384"] for pair in PAIRS],
    "content-weight": [
        [
            f"transfer {PAIRS[0]} --size 384 --content-weight {w}"
            for w in ("0.1", "0.25", "0.6", "1.5")
        ]
    ],
    "color": [[f"transfer {PAIRS[1]} --size 384 --color {c}" for c in ("match", "keep", "none")]],
    "synthesis": [
        [
            "vangogh-road-to-tarascon-1888.jpg",
            "synthesize vangogh-road-to-tarascon-1888.jpg --size 384x384 --iterations 60",
        ]
    ],
    "inspect": [
        [f"{INSPECTED} | out.png", *(f"{INSPECTED} | {kind}-relu3_1.png" for kind in KINDS)],
        [f"{INSPECTED} | key.png", *(f"{INSPECTED} | {kind}-relu4_1.png" for kind in KINDS)],
        [
            f"{INSPECTED} | reconstruction-{layer}.png"
            for layer in ("relu2_1", "relu3_1", "relu4_2")
        ],
    ],
}

WIDTHS = {"inspect": 850}
"""Pixels, of figures that are narrower than the others."""


def run(*arguments: str) -> None:
    """Runs jaxmrf in the folder of the pictures."""
    print(shlex.join(("jaxmrf", *arguments)), flush=True)
    subprocess.run([sys.executable, "-m", "jaxmrf", *arguments], check=True, cwd=IMAGES)


@functools.cache
def made(command: str, inspected: bool) -> dict[str, Image.Image]:
    """Returns the picture that a command makes, and what its inspection writes, by name."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.png"
        run(*shlex.split(command), "-o", str(output))
        if inspected:
            run("inspect", str(output), "-o", folder)
        return {path.name: Image.open(path).convert("RGB") for path in Path(folder).glob("*.png")}


def cell(text: str, height: int) -> Image.Image:
    """Returns a picture, made by a command if `text` is one, at a common height."""
    if " " not in text:
        picture = Image.open(IMAGES / text).convert("RGB")
    else:
        command, bar, name = text.partition(" | ")
        picture = made(command, bool(bar))[name or "out.png"]
    return picture.resize((round(picture.width * height / picture.height), height))


def figure(rows: list[list[str]], widest: int) -> Image.Image:
    """Returns the rows below each other, each scaled to the width of the widest."""
    lines = []
    for row in rows:
        cells = [cell(text, 320) for text in row]
        line = Image.new(
            "RGB", (sum(c.width for c in cells) + GAP * (len(cells) - 1), 320), "white"
        )
        x = 0
        for picture in cells:
            line.paste(picture, (x, 0))
            x += picture.width + GAP
        lines.append(line)
    width = min(widest, max(line.width for line in lines))
    lines = [line.resize((width, round(line.height * width / line.width))) for line in lines]
    sheet = Image.new("RGB", (width, sum(line.height + GAP for line in lines) - GAP), "white")
    y = 0
    for line in lines:
        sheet.paste(line, (0, y))
        y += line.height + GAP
    return sheet


if __name__ == "__main__":
    for name in sys.argv[1:] or FIGURES:
        figure(FIGURES[name], WIDTHS.get(name, 1200)).save(IMAGES / f"{name}.jpg", quality=88)
