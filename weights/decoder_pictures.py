"""The free pictures that the decoder is trained with: Debian's `gcompris-qt-data`.

The package holds Qt resource files, and beside the pictures in them stand README files with
author, source and licence of each. Those in the public domain, CC0 and CC BY are taken, and
parts of paintings whose painters died long ago; no folder that the results are judged by.
"""

import io
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import typer
from PIL import Image

from jaxmrf.files import atomic

PACKAGE = "gcompris-qt-data"
SHA256 = "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f"
"""Of version 3.1-2 of the package, which `weights/README.md` lists the pictures of."""

FREE = re.compile(r"public domain|cc0|cc-by[ -]\d", re.IGNORECASE)
"""Licences that are taken; CC BY-SA is not."""

PAINTINGS = {
    "Bosschaert_04_background": "Ambrosius Bosschaert (1573–1621)",
    "Paul_Gauguin_006_background": "Paul Gauguin (1848–1903)",
    "Pieter_Bruegel_background": "Pieter Bruegel (1525–1569)",
    "lady_unicorn_background": "The Lady and the Unicorn (about 1500)",
}
"""Paintings in the public domain by age, of which parts are cut out."""

EVALUATED = ("explore_monuments", "details")
"""Folders that the results are judged by."""

SHORTEST, LONGEST = 160, 300
"""Shortest and longest side in pixels that a picture has at least."""


class Source(NamedTuple):
    """A picture and where it comes from.

    Attributes:
      name: of the picture in the package.
      author: who made it.
      license: of the picture.
      origin: address that it was taken from; empty where none is given.
      pixels: RGBA, uint8 [h, w, 4]; parts that are cut out are transparent.
    """

    name: str
    author: str
    license: str
    origin: str
    pixels: np.ndarray


def fetch(folder: Path) -> Path:
    """Returns the package file, downloaded from Debian to `folder` if it is not there.

    Raises:
      SystemExit: if it cannot be had, or is not the one whose pictures are listed.
    """
    for path in sorted(folder.glob(f"{PACKAGE}_*.deb")):
        if atomic.digest(path, "sha256") == SHA256:
            return path
    try:
        subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise SystemExit(
            f"cannot download {PACKAGE}: on a machine that is not Debian, lay its file into "
            f"{folder}, or name a folder of pictures with --pictures"
        ) from None
    for path in sorted(folder.glob(f"{PACKAGE}_*.deb")):
        if atomic.digest(path, "sha256") == SHA256:
            return path
    raise SystemExit(f"{PACKAGE} is of another version than weights/README.md lists")


def read(package: Path, folder: Path) -> list[Source]:
    """Returns the free pictures of the package, in the order of their names.

    Args:
      package: from `fetch`.
      folder: where the package is unpacked.
    """
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    content = dict(_resources(sorted(folder.rglob("*.rcc"))))
    licenses = _licenses(content)
    sources = []
    for name in sorted(content):
        stem = Path(name).stem
        if not name.endswith(".webp") or any(f"/{each}/" in name for each in EVALUATED):
            continue
        if stem in PAINTINGS:
            author, terms, origin = PAINTINGS[stem], "public domain", ""
        elif name in licenses and FREE.match(licenses[name]["License"]):
            stanza = licenses[name]
            author, terms = stanza["Copyright"], stanza["License"]
            origin = stanza.get("Source", "")
        else:
            continue
        with Image.open(io.BytesIO(content[name])) as picture:
            large = min(picture.size) >= SHORTEST and max(picture.size) >= LONGEST
            if large and (stem in PAINTINGS or picture.mode == "RGB"):
                pixels = np.asarray(picture.convert("RGBA"))
                pixels = _without_white(pixels) if stem in PAINTINGS else pixels
                short = name.removeprefix("/gcompris/src/activities/")
                sources.append(Source(short, author, terms, origin, pixels))
    return sources


def folder_of_pictures(folder: Path) -> list[Source]:
    """Returns the pictures of a folder of one's own."""
    sources = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in Image.registered_extensions():
            with Image.open(path) as picture:
                sources.append(Source(path.name, "", "", "", np.asarray(picture.convert("RGBA"))))
    return sources


def _resources(paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of the files inside of Qt resource files."""
    from PySide6.QtCore import QDirIterator, QFile, QIODevice, QResource

    for path in paths:
        QResource.registerResource(str(path))
    walk = QDirIterator(":/gcompris", QDirIterator.IteratorFlag.Subdirectories)
    while walk.hasNext():
        file = QFile(walk.next())
        if file.open(QIODevice.OpenModeFlag.ReadOnly):
            yield file.fileName().removeprefix(":"), bytes(file.readAll())


def _licenses(content: Mapping[str, bytes]) -> dict[str, dict[str, str]]:
    """Returns what the README files say of each picture: Copyright, License, Source."""
    found = {}
    for name, text in content.items():
        if not name.endswith("/README"):
            continue
        for stanza in re.split(r"\n\s*\n", text.decode("utf-8", "replace")):
            fields = dict(re.findall(r"^(Copyright|License|Source): *(\S.*?) *$", stanza, re.M))
            listed = re.search(r"^Files:(.*)", stanza, re.M | re.S)
            if listed and {"Copyright", "License"} <= fields.keys():
                folder = name.removesuffix("README")
                found |= {folder + file: fields for file in listed[1].split()}
    return found


def _without_white(pixels: np.ndarray) -> np.ndarray:
    """Returns a painting with the white parts, which were cut out of it, transparent."""
    cut = (pixels[..., :3] >= 250).all(axis=-1, keepdims=True)
    return np.concatenate([pixels[..., :3], np.where(cut, 0, pixels[..., 3:])], axis=-1)


def main(folder: Path = Path("training")) -> None:
    """Prints the pictures as the table of weights/README.md."""
    folder.mkdir(parents=True, exist_ok=True)
    typer.echo("| picture | author | licence | source |\n| --- | --- | --- | --- |")
    for source in read(fetch(folder), folder / "package"):
        typer.echo(f"| {source.name} | {source.author} | {source.license} | {source.origin} |")


if __name__ == "__main__":
    typer.run(main)
