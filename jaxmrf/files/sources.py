"""The pictures that a run is made from: as a caller has them, and as they are read."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxmrf.core.config import Shape
from jaxmrf.core.losses.exemplars import Guides
from jaxmrf.errors import ConfigError
from jaxmrf.files import guides, pictures
from jaxmrf.files.image import Picture
from jaxmrf.files.pictures import PictureLike
from jaxmrf.files.transparency import at_size


class InputPictures(NamedTuple):
    """The pictures of a run, each of its own size.

    Attributes:
      content: the photograph, of the size of the result if it is transparent, and painted to
        its corners; None for un-guided synthesis.
      styles: the paintings, sRGB in 0 to 1, on white.
      initial: picture to start from; None: what the settings say.
      guides: what is where; None: anything goes anywhere.
      mask: where the result may differ from the photograph; None: everywhere.
    """

    content: Picture | None
    styles: list[Float[np.ndarray, "_ _ 3"]]
    initial: Float[np.ndarray, "_ _ 3"] | None
    guides: Guides | None
    mask: Float[np.ndarray, "_ _"] | None

    @property
    def pixels(self) -> Float[np.ndarray, "_ _ 3"] | None:
        """The photograph, sRGB in 0 to 1."""
        return None if self.content is None else self.content.pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Sources:
    """What the pictures of a run are read from.

    Attributes:
      styles: the paintings.
      content: the photograph; None for un-guided synthesis.
      initial: picture to start from.
      content_guide: label picture of the result.
      style_guides: label picture of each style.
      guides: labels as arrays, instead of label pictures.
      mask: white where the result may differ from the photograph.
    """

    styles: tuple[PictureLike, ...]
    content: PictureLike | None = None
    initial: PictureLike | None = None
    content_guide: PictureLike | None = None
    style_guides: tuple[PictureLike, ...] = ()
    guides: Guides | None = None
    mask: PictureLike | None = None

    @classmethod
    def of(
        cls,
        style: PictureLike | Sequence[PictureLike],
        content: PictureLike | None = None,
        *,
        style_guide: PictureLike | Sequence[PictureLike] | None = None,
        **more: Any,
    ) -> "Sources":
        """Returns the sources of one style or several, and of the guides of these.

        Args:
          style: the painting, or several of them.
          content: the photograph.
          style_guide: label picture of the style, or of each of several.
          **more: the other fields.
        """
        style_guides = () if style_guide is None else pictures.listed(style_guide)
        return cls(pictures.listed(style), content, style_guides=style_guides, **more)

    def read(self, shape: Shape) -> InputPictures:
        """Reads the pictures.

        Args:
          shape: (height, width) of the result.

        Raises:
          ImageError: if a file cannot be read.
          ConfigError: if a picture cannot be used, or guides or mask do not go with the others.
        """
        styles = [pictures.read(*style).on_white() for style in self._named_styles()]
        labels, mask = self._labels_and_mask(shape, [style.shape[:2] for style in styles])
        content, initial = (
            None if source is None else at_size(pictures.read(source, role), shape)
            for source, role in ((self.content, "content"), (self.initial, "initial"))
        )
        return InputPictures(
            content, styles, None if initial is None else initial.pixels, labels, mask
        )

    def check(self, shape: Shape) -> list[Shape]:
        """Checks what can be known without the pixels of photographs and paintings in files.

        Args:
          shape: (height, width) of the result.

        Returns:
          (height, width) of each style.

        Raises:
          ImageError: if a file cannot be read.
          ConfigError: as `read` does.
        """
        if self.initial is not None:
            pictures.shape_of(self.initial, "initial")
        style_shapes = [pictures.shape_of(*style) for style in self._named_styles()]
        self._labels_and_mask(shape, style_shapes)
        return style_shapes

    def _named_styles(self) -> list[tuple[PictureLike, str]]:
        several = len(self.styles) > 1
        return [
            (style, f"style {number}" if several else "style")
            for number, style in enumerate(self.styles, 1)
        ]

    def _labels_and_mask(
        self, shape: Shape, style_shapes: Sequence[Shape]
    ) -> tuple[Guides | None, Float[np.ndarray, "_ _"] | None]:
        """Reads guides and mask, None where there are none."""
        labels, mask = self.guides, None
        guides.check_together(self.content_guide, self.style_guides)
        if self.content_guide is not None:
            if labels is not None:
                raise ConfigError("there are guides as arrays and as pictures; give one of them")
            labels = guides.load(self.content_guide, self.style_guides, shape, style_shapes)
        elif labels is not None:
            guides.check(labels, shape, style_shapes)
        if self.mask is not None:
            if self.content is None:
                raise ConfigError(
                    "a mask needs a content picture, which stays where the mask is black"
                )
            mask = guides.load_mask(self.mask, shape)
        return labels, mask
