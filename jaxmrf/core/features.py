"""What a network has to be for the energy: parameters and a picture to named layers."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float, PyTree


@runtime_checkable
class Features(Protocol):
    """A network: hashable, maps parameters and an [H, W, 3] picture to named layers.

    A function of a module is one. An attribute ``input_scale``, if there is one, is the range
    of the network's input over that of a pixel value (see `api.for_network`).
    """

    def __call__(
        self, params: PyTree, image: Float[Array, "h w 3"]
    ) -> Mapping[str, Float[Array, "_ _ _"]]:
        """Returns the activations [h, w, C] by layer name."""
