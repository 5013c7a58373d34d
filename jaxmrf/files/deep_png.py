"""PNG files with 16 bits per channel, which Pillow would cut to 8."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt16
from PIL import Image

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""By color type: grey, RGB, grey and alpha, RGB and alpha. Palettes have 8 bits at most."""

_PASSES = {1: ("LA", "LA"), 2: ("RGBA", "RGBA"), 3: ("RGB", "RGB;16"), 4: ("RGBA", "RGBA;16")}
"""Mode and raw mode of Pillow's decoder for pixels of as many bytes; see `_samples`."""


def is_deep(path: Path) -> bool:
    """Whether a PNG file has 16 bits per channel."""
    with path.open("rb") as stream:
        return stream.read(25)[24:] == b"\x10"


def read(
    content: bytes,
) -> tuple[UInt16[np.ndarray, "h w c"], UInt16[np.ndarray, "h w"] | None]:
    """Returns color, grey or RGB, and alpha of a picture; None: it has none.

    Args:
      content: of a file that Pillow has opened, so that its header is sound.

    Raises:
      ValueError: if it is damaged.
    """
    chunks = list(_chunks(content))
    header = next(data for name, data in chunks if name == b"IHDR")
    width, height, _, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if kind not in CHANNELS:
        raise ValueError("the file is damaged")
    data = b"".join(data for name, data in chunks if name == b"IDAT")
    samples = _samples(data, (width, height), CHANNELS[kind], interlaced)
    if kind in (4, 6):
        return samples[..., :-1], samples[..., -1]
    for name, transparent in chunks:
        if name == b"tRNS" and len(transparent) == 2 * samples.shape[2]:
            hidden = (samples == np.frombuffer(transparent, ">u2")).all(axis=-1)
            return samples, np.where(hidden, 0, 65535).astype(np.uint16)
    return samples, None


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields names and data of the parts of a file, to its end or where it is cut off."""
    position = 8
    while position + 8 <= len(content):
        size, name = struct.unpack_from(">I4s", content, position)
        yield name, content[position + 8 : position + 8 + size]
        position += 12 + size


def _samples(
    data: bytes, size: tuple[int, int], channels: int, interlaced: int
) -> UInt16[np.ndarray, "h w c"]:
    """Returns the samples of compressed rows, by Pillow's decoder.

    Its filters work on bytes, and it unpacks as many bits as a raw mode has: two bytes of one
    sample as two channels where there is such a mode, else first the high bytes of all samples
    (what it takes for big-endian samples of 16 bits) and then the low ones.
    """
    mode, raw = _PASSES[channels]

    def unpacked(raw_mode: str) -> np.ndarray:
        return np.asarray(Image.frombytes(mode, size, data, "zip", raw_mode, interlaced))

    if raw == mode:
        pairs = np.ascontiguousarray(unpacked(raw)).view(">u2")
        return pairs.astype(np.uint16)
    high, low = unpacked(f"{raw}B"), unpacked(f"{raw}L")
    return high.astype(np.uint16) << 8 | low
