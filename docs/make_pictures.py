"""Makes the pictures of the documentation: python docs/make_pictures.py [NAME ...].

Every picture is made by the command line that docs/gallery.md prints beside it.
"""

import functools
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw

IMAGES = Path(__file__).resolve().parent / "images"
STATIC = IMAGES.parents[1] / "jaxmrf" / "web" / "static"
GAP = 6
COLORS = ("match", "histogram", "keep", "none")

PAIRS = [
    shlex.join(Path(name).name for name in shlex.split(line))
    for line in (IMAGES.parents[1] / "benchmarks" / "pairs.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]

PORTRAIT, CAT = (f"transfer {pair} --size 256" for pair in PAIRS[:2])
TARASCON = "vangogh-road-to-tarascon-1888.jpg"

PRESETS = {
    "before": (
        "--anchor 0 --content-share 0 --overlap mean --decoder-rounds 0 --final-color 0 "
        "--tv-weight 0.3"
    ),
    "quick": "--preset quick",
    "": "",
    "fine": "--preset fine",
}


def named(command: str, *more: str) -> str:
    """Returns a command with more options, the last of them the name of its picture."""
    *options, name = more
    return " ".join([command, *filter(None, options), f"-o made/{name}.png"])


def short(pair: str) -> str:
    """Returns a name for the picture of a pair."""
    stems = (Path(name).stem for name in pair.split())
    return "-".join(re.sub(r"^(nasa|vangogh)-|(-chelsea)?-(cc0|\d+)$", "", stem) for stem in stems)


KINDS = ("matches", "assembled")
INSPECTED = f"transfer {PAIRS[1]} --size 256"

GUIDED = (
    f"{PORTRAIT} --content-guide nasa-astronaut-1993-guide.png "
    "--style-guide vangogh-pere-tanguy-1887-guide.png"
)
TILE = f"synthesize {TARASCON} --size 192x192 --iterations 60"
PLAIN = named(PORTRAIT, "portrait")

# Each row of a figure: pictures of docs/images as they are, or commands that make one; behind
# a bar the file that `jaxmrf inspect` writes for it, or how often the picture is repeated.
FIGURES: dict[str, list[list[str]]] = {
    "pairs": [
        [*pair.split(), named(f"transfer {pair} --size 384", short(pair))] for pair in PAIRS[:3]
    ],
    "presets": [
        [
            *pair.split(),
            *(
                named(f"transfer {pair} --size 384", more, f"{short(pair)}-{preset}".strip("-"))
                for preset, more in PRESETS.items()
            ),
        ]
        for pair in PAIRS
    ],
    "alpha": [
        [
            named(command, f"--alpha {alpha}", f"{name}-alpha-{alpha}")
            for alpha in ("0", "0.25", "0.5", "0.75", "1")
        ]
        for name, command in (("cat", CAT), ("portrait", PORTRAIT))
    ],
    "style-loss": [
        [
            named(PORTRAIT, f"--style-loss {loss}", f"loss-{name}")
            for name, loss in (("mrf", "mrf"), ("gram", "gram"), ("both", "mrf:1,gram:0.2"))
        ]
    ],
    "several-styles": [
        [
            named(
                f"transfer cat-chelsea-cc0.jpg {TARASCON} vangogh-night-cafe-1888.jpg --size 256",
                f"--style-blend {blend}",
                f"blend-{name}",
            )
            for name, blend in (("first", "1,0.01"), ("both", "1,1"), ("second", "0.01,1"))
        ]
    ],
    "guides": [
        [
            "nasa-astronaut-1993-guide.png",
            "vangogh-pere-tanguy-1887-guide.png",
            PLAIN,
            named(GUIDED, "guided"),
        ],
    ],
    "guide-weight": [
        [
            named(GUIDED, f"--guide-weight {weight}", f"guide-weight-{weight}")
            for weight in ("0", "0.05", "1")
        ]
    ],
    "mask": [
        [
            "nasa-astronaut-1993-mask.png",
            named(PORTRAIT, "--mask nasa-astronaut-1993-mask.png", "masked"),
        ],
    ],
    "color": [[named(CAT, f"--color {color}", f"color-{color}") for color in COLORS]],
    "synthesis": [
        [
            TARASCON,
            *(
                named(
                    f"synthesize {TARASCON} --size 256x256 --iterations 60",
                    more,
                    f"synthesis-{name}",
                )
                for name, more in (
                    ("noise", ""),
                    ("shuffle", "--init shuffle"),
                    ("tileable", "--tileable"),
                )
            ),
        ]
    ],
    "wide": [[named(f"synthesize {TARASCON} --size 448x192 --iterations 60", "wide")]],
    "tileable": [
        [f"{named(TILE, 'tile')} | 2x2", f"{named(TILE, '--tileable', 'tile-seamless')} | 2x2"]
    ],
    "scales": [
        [
            PLAIN,
            named(PORTRAIT, "--scales 2", "scales-2"),
            named(PORTRAIT, "--rotations 1 --scales 2", "rotations-1-scales-2"),
        ]
    ],
    "patches": [
        [
            PLAIN,
            named(PORTRAIT, "--variety 1", "variety-1"),
            named(PORTRAIT, "--metric distance", "distance"),
        ],
        [
            named(PORTRAIT, "--rotations 1", "rotations-1"),
            named(PORTRAIT, "--style-scale 0.5", "style-scale-0.5"),
            named(PORTRAIT, "--pooling average --content-weight 1", "pooling-average"),
        ],
    ],
    "sweep": [
        [named(f"sweep {PAIRS[0]} --size 192 --anchor 0.5,0.7,0.9 --style-scale 0.5,1", "sweep")]
    ],
    "failure": [
        [
            "vangogh-langlois-bridge-1888.jpg",
            named(
                "transfer nasa-astronaut-1993.jpg vangogh-langlois-bridge-1888.jpg --size 256",
                "failure",
            ),
            "vangogh-pere-tanguy-1887.jpg",
            PLAIN,
        ],
    ],
    "energy": [[f"{INSPECTED} | energy.png"]],
    "inspect": [
        [f"{INSPECTED} | out.png", *(f"{INSPECTED} | {kind}-relu3_1.png" for kind in KINDS)],
        [f"{INSPECTED} | key.png", *(f"{INSPECTED} | {kind}-relu4_1.png" for kind in KINDS)],
        [
            f"{INSPECTED} | reconstruction-{layer}.png"
            for layer in ("relu2_1", "relu3_1", "relu4_2")
        ],
    ],
}

WIDTHS = {"inspect": 850, "wide": 800, "tileable": 800, "energy": 850}
"""Pixels, of figures that are narrower than the others."""


# Label pictures, drawn by hand: corners in hundredths of the picture's sides.
BACKGROUND, HEAD, BODY = "#2040c0", "#d03030", "#30a040"
GUIDES = {
    "nasa-astronaut-1993": [
        (BODY, [(28, 30), (20, 38), (9, 48), (4, 100), (100, 100), (97, 78), (85, 67), (72, 69),
                (67, 52), (59, 42), (52, 34)]),
        (HEAD, [(31, 10), (38, 4), (48, 3), (57, 9), (59, 18), (56, 24), (52, 28), (50, 36),
                (37, 36), (36, 27), (31, 20)]),
    ],
    "vangogh-pere-tanguy-1887": [
        (BODY, [(40, 32), (60, 33), (75, 37), (84, 48), (88, 65), (82, 80), (83, 100), (16, 100),
                (18, 85), (13, 65), (22, 40)]),
        (HEAD, [(29, 18), (38, 15), (42, 12), (60, 12), (64, 15), (73, 16), (72, 19), (62, 22),
                (60, 35), (54, 38), (47, 38), (41, 33), (40, 22), (31, 21)]),
    ],
}  # fmt: skip


def draw_guides() -> None:
    """Draws the label pictures of `GUIDES`, and a mask of what is background in the first."""
    for name, areas in GUIDES.items():
        with Image.open(IMAGES / f"{name}.jpg") as file:
            guide = Image.new("RGB", file.size, BACKGROUND)
        for color, corners in areas:
            scaled = [(x * guide.width / 100, y * guide.height / 100) for x, y in corners]
            ImageDraw.Draw(guide).polygon(scaled, color)
        guide.save(IMAGES / f"{name}-guide.png", optimize=True)
        if name == "nasa-astronaut-1993":
            labels = np.asarray(guide) == ImageColor.getrgb(BACKGROUND)
            mask = Image.fromarray(np.uint8(255) * labels.all(axis=-1))
            mask.save(IMAGES / f"{name}-mask.png", optimize=True)


def run(*arguments: str) -> None:
    """Runs jaxmrf in the folder of the pictures."""
    print(shlex.join(("jaxmrf", *arguments)), flush=True)
    subprocess.run([sys.executable, "-m", "jaxmrf", *arguments], check=True, cwd=IMAGES)


@functools.cache
def made(command: str, *inspection: str) -> dict[str, Image.Image]:
    """Returns the picture that a command makes, and what its inspection writes, by name.

    Args:
      command: without the output.
      inspection: options of `jaxmrf inspect`; none: it is not called. ``--trace`` alone, without
        its file, takes the trace of the run.
    """
    with tempfile.TemporaryDirectory() as folder:
        output, trace = Path(folder) / "out.png", str(Path(folder) / "run.jsonl")
        traced = ("--trace", trace) if "--trace" in inspection else ()
        run(*shlex.split(command), *traced, "-o", str(output))
        if inspection:
            plain = (option for option in inspection if option != "--trace")
            run("inspect", str(output), "-o", folder, *plain, *traced)
        return {path.name: Image.open(path).convert("RGB") for path in Path(folder).glob("*.png")}


def repeated(picture: Image.Image, columns: int, rows: int) -> Image.Image:
    """Returns a picture beside and below itself."""
    whole = Image.new("RGB", (columns * picture.width, rows * picture.height))
    for row in range(rows):
        for column in range(columns):
            whole.paste(picture, (column * picture.width, row * picture.height))
    return whole


def cell(text: str, height: int) -> Image.Image:
    """Returns a picture, made by a command if `text` is one, at a common height."""
    command, _, name = text.partition(" | ")
    if " " not in command:
        picture = Image.open(IMAGES / text).convert("RGB")
    elif re.fullmatch(r"\d+x\d+", name):
        picture = repeated(made(command)["out.png"], *map(int, name.split("x")))
    elif name == "energy.png":
        picture = made(command, "--trace", "--no-reconstructions")[name]
    elif name:
        picture = made(command, "--reconstructions")[name]
    else:
        picture = made(command)["out.png"]
    return picture.resize((round(picture.width * height / picture.height), height))


def figure(rows: list[list[str]], widest: int) -> Image.Image:
    """Returns the rows below each other, each scaled to the width of the widest."""
    lines = []
    for row in rows:
        tall = row[0].startswith("sweep") or row[0].endswith(("energy.png", "2x2"))
        height = 620 if tall else 320
        cells = [cell(text, height) for text in row]
        width = sum(c.width for c in cells) + GAP * (len(cells) - 1)
        line = Image.new("RGB", (width, height), "white")
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


def picture_controls() -> None:
    """Makes the small pictures of what the modes of color do, for the page."""
    for mode, command in zip(COLORS, FIGURES["color"][0], strict=True):
        small = cell(command, 104)
        small.save(STATIC / f"color-{mode}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    draw_guides()
    for name in sys.argv[1:] or FIGURES:
        if name == "color":
            picture_controls()
        figure(FIGURES[name], WIDTHS.get(name, 1200)).save(IMAGES / f"{name}.jpg", quality=88)
