"""Networks as the energy takes them: a function to named layers, and its parameters."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, PyTree

from jaxmrf.core.config import Shape
from jaxmrf.core.decoder import Decoder


@runtime_checkable
class Features(Protocol):
    """The function of a network: hashable, maps parameters and a picture to named layers.

    A function of a module is one. An attribute ``input_scale``, if there is one, is the range
    of the network's input over that of a pixel value (see `settings.resolve`). A method
    ``shapes``, if there is one, says what `Network.shapes` returns without tracing.
    """

    def __call__(
        self, params: PyTree, image: Float[Array, "h w 3"]
    ) -> Mapping[str, Float[Array, "_ _ _"]]:
        """Returns the activations [h, w, C] by layer name."""
        ...


@runtime_checkable
class KnowsShapes(Protocol):
    """The function of a network that knows the shapes of its layers without being traced."""

    def shapes(self, shape: Shape) -> Mapping[str, jax.ShapeDtypeStruct]:
        """Returns the shapes of the layers of a picture of (height, width) `shape`."""
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Network:
    """A network: one pytree of a static function, its parameters and its decoder.

    Attributes:
      features: from parameters and picture to layers; static under jit.
      params: its parameters, float32.
      decoder: paints the start of every level; None: there is none for this network.
    """

    features: Features = dataclasses.field(metadata={"static": True})
    params: PyTree
    decoder: Decoder | None = None

    def __call__(self, image: Float[Array, "h w 3"]) -> Mapping[str, Float[Array, "_ _ _"]]:
        """Returns the activations [h, w, C] by layer name of an sRGB picture in 0 to 1."""
        return self.features(self.params, image)

    def shapes(self, shape: Shape) -> Mapping[str, jax.ShapeDtypeStruct]:
        """Returns the shapes of the layers of a picture of (height, width) `shape`."""
        if isinstance(self.features, KnowsShapes):
            return self.features.shapes(shape)
        return jax.eval_shape(Network.__call__, self, jax.ShapeDtypeStruct((*shape, 3), "float32"))
