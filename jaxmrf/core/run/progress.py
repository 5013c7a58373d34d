"""The state of a run after an iteration, and the picture that it would deliver."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmrf.core import color
from jaxmrf.core.config import Config, Shape
from jaxmrf.core.pyramid import at_size, enlarged, mask_at


class NonFiniteEnergyError(ArithmeticError):
    """The energy stopped being a number; `progress` holds the last finite picture."""

    def __init__(self, progress: "Progress") -> None:
        super().__init__(
            f"the energy is not finite at level {progress.level + 1}, "
            f"iteration {progress.iteration + 1}"
        )
        self.progress = progress


@dataclasses.dataclass(frozen=True)
class Progress:
    """The state of a run after an iteration.

    Attributes:
      level: pyramid level, 0 is the coarsest.
      levels: number of levels.
      iteration: iterations done at this level.
      iterations: iterations planned at this level.
      decoded: rounds of match and decode done at this level, before its iterations.
      image: the picture at the level's size, sRGB, not clipped, [h, w, 3].
      value: energy of the picture that the iteration started from; not a number, and
        without terms, before the first iteration of a level.
      terms: weighted terms of that energy by name.
      gradient_norm: Euclidean norm of its gradient.
      exact_matches: share of matches that are the nearest style patches of all, of the
        worse layer; known after the last iteration of a level if `run` is asked to judge
        matches, else not a number.
      original: the content picture, None in un-guided synthesis.
      mask: where the picture may change, in 0 to 1; None: everywhere.
      shape: (height, width) of the finished picture.
      config: settings of the run.
      finish: colors that the finished picture is brought to; None: it keeps its own.
      undecodable: whether the decoder has made something that is not finite, which was
        left out.
    """

    level: int
    levels: int
    iteration: int
    iterations: int
    decoded: int
    image: Float[Array | np.ndarray, "h w 3"]
    value: float
    terms: dict[str, float]
    gradient_norm: float
    exact_matches: float
    original: Float[Array | np.ndarray, "_ _ 3"] | None
    mask: Float[Array | np.ndarray, "_ _"] | None
    shape: Shape
    config: Config
    finish: color.Finish | None = None
    undecodable: bool = False

    @property
    def painted(self) -> bool:
        """Whether any iteration or round was done, at this level or a coarser one."""
        return self.level > 0 or self.iteration > 0 or self.decoded > 0

    @property
    def complete(self) -> bool:
        """Whether this is the last record of its level."""
        return self.iteration == self.iterations and (self.iteration > 0 or self.decoded > 0)

    def picture(self) -> Float[Array, "height width 3"]:
        """Returns the picture as it would be delivered now: final size, sRGB in 0 to 1."""
        image = enlarged(jnp.asarray(self.image), self.shape, tileable=self.config.tileable)
        image = jnp.clip(image, 0.0, 1.0)
        if self.original is None:
            return image
        original = at_size(jnp.asarray(self.original), self.shape)
        if self.config.color == "keep":
            image = color.with_chrominance_of(image, original)
        where = None if self.mask is None else mask_at(jnp.asarray(self.mask), self.shape)
        if self.finish is not None:
            image = _finished(image, self.finish, self.config.final_strength(), where)
        if where is not None:
            image = jnp.where(where, image, original)
        return image

    def on_host(self) -> "Progress":
        """Returns the record without arrays on a device, the photograph at the final size.

        So that many results can be kept.
        """
        original, mask = self.original, self.mask
        if original is not None:
            original = np.asarray(at_size(jnp.asarray(original), self.shape))
        if mask is not None:
            mask = np.asarray(mask)
        image = np.asarray(self.image)
        return dataclasses.replace(self, image=image, original=original, mask=mask)


NOTHING_SEEN = {
    "value": math.nan,
    "terms": {},
    "gradient_norm": math.nan,
    "exact_matches": math.nan,
}
_finished = jax.jit(color.finished)
