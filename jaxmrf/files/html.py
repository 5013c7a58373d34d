"""Pictures inside an HTML page that needs no other file."""

import base64
import html
import io
from typing import Literal

from PIL import Image


def embedded(
    picture: Image.Image, title: str, longest: int, kind: Literal["JPEG", "PNG"] = "JPEG"
) -> str:
    """Returns a picture as an HTML element that holds its own data.

    Args:
      picture: RGB.
      title: what is shown in its place where pictures are not.
      longest: longest side in pixels that it is shrunk to, if it is larger.
      kind: JPEG for photographs, PNG where every pixel counts.
    """
    small = picture.copy()
    small.thumbnail((longest, longest))
    buffer = io.BytesIO()
    small.save(buffer, kind, **({"quality": 85} if kind == "JPEG" else {}))
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(title)}" src="data:image/{kind.lower()};base64,{data}">'
