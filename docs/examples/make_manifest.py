"""Makes a manifest of pairs from a folder: python docs/examples/make_manifest.py FOLDER COUNT.

Every picture is painted in the manner of every other one, up to COUNT pairs; JSON Lines on
standard output.
"""

import json
import sys
from pathlib import Path


def main(folder: str, count: str) -> None:
    """Prints the manifest."""
    pictures = sorted(path.resolve() for path in Path(folder).rglob("*.jpg"))
    pairs = [(one, other) for one in pictures for other in pictures if one != other]
    for content, style in pairs[: int(count)]:
        output = f"{content.stem}-{style.stem}.png"
        print(json.dumps({"content": str(content), "style": str(style), "output": output}))


if __name__ == "__main__":
    main(*sys.argv[1:])
