"""What the file of a finished picture says of how it was made."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxmrf._version import __version__
from jaxmrf.core.config import Config, Shape
from jaxmrf.core.features import Network
from jaxmrf.files import pictures
from jaxmrf.files.sources import Sources


def record_of(
    sources: Sources,
    shape: Shape,
    config: Config,
    network: Network,
    sha256: str,
    title: Callable[[Any], str] = pictures.title,
) -> dict[str, object]:
    """Returns what an output says about how it was made: no times, no folders.

    Args:
      sources: what it was made from.
      shape: (height, width) of the result.
      config: settings with the choices made that depend on the network.
      network: the network.
      sha256: digest of the file with its weights; "" if it is from none.
      title: returns what a picture is called.
    """

    def optional(source: Any) -> str | None:
        return None if source is None else title(source)

    content_guide, style_guides = sources.content_guide, sources.style_guides
    if sources.guides is not None:
        content_guide, style_guides = sources.guides.picture, sources.guides.styles
    return {
        "jaxmrf": __version__,
        "command": "synthesize" if sources.content is None else "transfer",
        "content": optional(sources.content),
        "style": [title(style) for style in sources.styles],
        "initial": optional(sources.initial),
        "content_guide": optional(content_guide),
        "style_guides": [title(guide) for guide in style_guides],
        "mask": optional(sources.mask),
        "width": shape[1],
        "height": shape[0],
        "network": getattr(network.features, "architecture", ""),
        "weights_sha256": sha256,
        "config": dataclasses.asdict(config),
    }
