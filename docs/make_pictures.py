"""Makes the pictures of the documentation: python docs/make_pictures.py [NAME ...].

Every picture is made by the command line that docs/gallery.md prints beside it.
"""

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

# Each row of a figure: pictures of docs/images as they are, or commands that make one.
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
}


def cell(text: str, height: int) -> Image.Image:
    """Returns a picture, made by a command if `text` is one, at a common height."""
    if " " not in text:
        picture = Image.open(IMAGES / text).convert("RGB")
    else:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "out.png"
            command = [sys.executable, "-m", "jaxmrf", *shlex.split(text), "-o", str(output)]
            print(shlex.join(command[2:-2]), flush=True)
            subprocess.run(command, check=True, cwd=IMAGES)
            picture = Image.open(output).convert("RGB")
    return picture.resize((round(picture.width * height / picture.height), height))


def figure(rows: list[list[str]]) -> Image.Image:
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
    width = min(1200, max(line.width for line in lines))
    lines = [line.resize((width, round(line.height * width / line.width))) for line in lines]
    sheet = Image.new("RGB", (width, sum(line.height + GAP for line in lines) - GAP), "white")
    y = 0
    for line in lines:
        sheet.paste(line, (0, y))
        y += line.height + GAP
    return sheet


if __name__ == "__main__":
    for name in sys.argv[1:] or FIGURES:
        figure(FIGURES[name]).save(IMAGES / f"{name}.jpg", quality=88)
