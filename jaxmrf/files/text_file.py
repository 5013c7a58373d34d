"""Text files that people write, in the encodings that editors and spreadsheets give them."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from jaxmrf.errors import ConfigError

_WITH_MARK = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read(path: Path) -> str:
    r"""Returns the text of a file in UTF-8, or in UTF-16 with a byte-order mark.

    Lines end in ``\n``, however they end in the file; the mark is no part of the text.

    Raises:
      OSError: if the file cannot be read.
      ConfigError: if it is no such text; without the file's name.
    """
    content = path.read_bytes()
    encoding = next(
        (name for mark, name in _WITH_MARK.items() if content.startswith(mark)), "utf-8"
    )
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"it is not UTF-8 text (line {line}); save it as UTF-8") from None
    if "\0" in text:
        raise ConfigError("it is not UTF-8 text; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def lines(text: str) -> Iterator[str]:
    r"""Yields the lines of a text, with the ``\n`` at their ends; they are not held all at once."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end
