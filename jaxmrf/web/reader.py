"""The process that decodes uploads: a JSON message per line in, one per line out.

Decoders are written in C and allocate what a file claims, so they work in a process of
their own with a limit on its memory. It ends when its standard input does.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from jaxmrf.errors import ImageError
from jaxmrf.files import atomic, image, isolation, quiet

MAX_PIXELS = 50_000_000
"""Pixels of an upload."""

VIEW_SIDE = 1280
"""Longest side of the rendition that the page shows."""

MEMORY_BYTES = 4 * 2**30
"""What decoding may take beside the libraries: 50 megapixels at 16 bits take 3 GB."""

SECONDS = 90.0
"""Time that decoding a picture may take."""


class Reader:
    """Hands uploads to the process that decodes them, one at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Starts the process if it is not there, so that the first upload need not wait."""
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "jaxmrf.web.reader"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the server
            )

    async def stop(self) -> None:
        """Ends the process that decodes uploads."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()

    async def _ask(self, message: bytes) -> bytes:
        """Returns what the process answers; nothing if it ends or takes too long."""
        await self.start()
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return b""
        process.stdin.write(message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                return await process.stdout.readline()
        return b""

    async def decode(self, source: Path, target: Path) -> tuple[Path, tuple[int, int]]:
        """Encodes a picture anew at `target`, with a suffix, and beside it a view of it.

        Returns:
          The path and (width, height).

        Raises:
          ImageError: if it cannot be read.
        """
        async with self._turn:
            message = json.dumps([str(source), str(target)])
            line = await self._ask(message.encode() + b"\n")
            if not line:
                await self.stop()
                for left in target.parent.glob(f"{target.name}*"):
                    left.unlink(missing_ok=True)
                raise ImageError("this picture takes too much time or memory to decode")
        answer = json.loads(line)
        if "error" in answer:
            raise ImageError(answer["error"])
        return Path(answer["path"]), (answer["width"], answer["height"])


def view_of(target: Path) -> Path:
    """Returns the path of the view that belongs to a target."""
    return target.with_name(f"{target.name}.view.jpg")


def _reencode(source: Path, target: Path) -> dict[str, Any]:
    """Writes a picture and its view anew."""
    suffix, content = image.reencode(source, MAX_PIXELS)
    path = target.with_name(target.name + suffix)
    try:
        with atomic.write(path) as file:
            file.write(content)
        height, width = image.shape_of(path)
        shown = image.shown(path)
        shown.thumbnail((VIEW_SIDE, VIEW_SIDE))
        with atomic.write(view_of(target)) as file:
            shown.save(file, "JPEG", quality=90)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return {"path": str(path), "width": width, "height": height}


def _answer(source: Path, target: Path) -> dict[str, Any]:
    try:
        return _reencode(source, target)
    except ImageError as error:
        return {"error": str(error).replace(str(source), "this file")}
    except MemoryError:
        return {"error": "this picture takes too much memory to decode"}
    except OSError as error:
        return {"error": f"cannot store the picture: {error.strerror}"}
    except Exception as error:  # whatever a decoder stumbles over
        return {"error": f"this file is damaged: {error}"[:200]}


def main() -> None:
    """Runs the process that decodes uploads."""
    quiet.in_this_program()
    out = isolation.messages()
    isolation.limit(MEMORY_BYTES)
    for line in sys.stdin:
        source, target = map(Path, json.loads(line))
        out.write(json.dumps(_answer(source, target)).encode() + b"\n")
        out.flush()


if __name__ == "__main__":
    main()
