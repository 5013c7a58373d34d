"""Which runs can share a program, and how they become its lanes: of lists and of arrays."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from jaxmrf.core import pyramid
from jaxmrf.core.config import Shape
from jaxmrf.core.features import Network
from jaxmrf.core.run import lanes, programs
from jaxmrf.core.run.lanes import Lane, ProgramKey, Snapshot, Stage
from jaxmrf.core.run.plan import Plan, make_plan
from jaxmrf.core.settings import Settings
from jaxmrf.errors import ConfigError
from jaxmrf.files.sources import InputPictures
from jaxmrf.machine import device, memory
from jaxmrf.planning import with_pooling

MOST_LANES = 64
"""Lanes of a device that are chosen at most; more gain nothing on an accelerator."""

SHARE = 0.8
"""Share of the device's memory that the lanes may take by the estimate."""

NO_MEMORY = "there is not enough memory for one picture"


class Ready(NamedTuple):
    """A run that can become a lane.

    Attributes:
      lane: its pictures.
      settings: with every choice made.
      shape: (height, width) of the result.
      alpha: of the photograph; None: it has none.
    """

    lane: Lane
    settings: Settings
    shape: Shape
    alpha: Float[np.ndarray, "h w"] | None


class Planner:
    """Finds the keys of runs; plans of equal pictures and settings are made once.

    Args:
      network: of all runs.
      bucket: sides are rounded up to a multiple of this to share programs; 1: not.
    """

    def __init__(self, network: Network, bucket: int = 1) -> None:
        self._network, self._bucket = network, bucket
        self._plans: dict[tuple[Shape, tuple[Shape, ...], Settings], Plan] = {}

    def key(
        self,
        shape: Shape,
        style_shapes: Sequence[Shape],
        settings: Settings,
        *,
        labeled: bool,
        masked: bool,
    ) -> ProgramKey:
        """Returns the key of a run, which those that can run beside it share.

        Args:
          shape: (height, width) of the result.
          style_shapes: (height, width) of each style picture as it is.
          settings: with every choice made.
          labeled: whether there are guides.
          masked: whether there is a mask.

        Raises:
          ConfigError: if a setting cannot be used with these pictures.
        """
        bucket = self._bucket
        rounded = tuple(-(-side // bucket) * bucket for side in shape)
        styles = tuple(style_shapes)
        if bucket > 1:
            longest = max(1, round(max(rounded) * settings.config.style_scale))
            fitted = (pyramid.fit(height, width, longest) for height, width in styles)
            styles = tuple(
                tuple(max(1, round(side / bucket)) * bucket for side in style) for style in fitted
            )
        # The seed has no part in it.
        plain = dataclasses.replace(settings, config=dataclasses.replace(settings.config, seed=0))
        asked = rounded, styles, plain
        if asked not in self._plans:
            network = with_pooling(self._network, settings.config)
            self._plans[asked] = make_plan(rounded, styles, network, plain)
        return lanes.key_of(self._plans[asked], settings, labeled=labeled, masked=masked)


def prepare(inputs: InputPictures, shape: Shape, key: ProgramKey, settings: Settings) -> Ready:
    """Returns a run ready for its lane, its pictures continued to the sides of its bucket.

    Args:
      inputs: its pictures.
      shape: (height, width) of the result.
      key: from `Planner.key`.
      settings: with every choice made.
    """
    finest, guides, mask, pixels = key.plan.shapes[-1], inputs.guides, inputs.mask, inputs.pixels
    if guides is not None:
        guides = guides._replace(picture=padded(np.asarray(guides.picture), shape, finest))
    if mask is not None:
        mask = padded(mask[..., None], shape, finest)[..., 0]
    if pixels is not None:
        pixels = padded(pixels, shape, finest)
    lane = lanes.make_lane(
        pixels, inputs.styles, inputs.initial, key.plan, settings, guides=guides, mask=mask
    )
    return Ready(lane, settings, shape, None if inputs.content is None else inputs.content.alpha)


def padded(pixels: np.ndarray, final: Shape, shape: Shape) -> np.ndarray:
    """Returns a picture continued by its mirror image to the proportions of its bucket.

    So the output is cut from the painted picture, not resampled or distorted.
    """
    if final == tuple(shape):
        return pixels
    missing = [
        round(side * wide / exact) - side
        for side, exact, wide in zip(pixels.shape[:2], final, shape, strict=True)
    ]
    return np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


def local_mesh() -> Mesh:
    """Returns the devices of this process that lanes are divided among."""
    default = device.chosen()
    backend = None if default is None else default.platform
    return programs.make_mesh(jax.local_devices(backend=backend))


def whole(count: int, device_count: int) -> int:
    """Returns a number of lanes rounded up to the same number on every device.

    Example:
      >>> whole(5, 4), whole(0, 4)
      (8, 4)
    """
    return max(1, -(-count // device_count)) * device_count


def lane_count(
    key: ProgramKey,
    settings: Settings,
    network: Network,
    mesh: Mesh,
    members: int,
    wanted: int | None = None,
) -> int:
    """Returns how many lanes a group runs with: as many as are wanted, or as memory allows.

    Args:
      key: of the group.
      settings: of one of its runs.
      network: the network.
      mesh: of the devices.
      members: of the group.
      wanted: rounded up to the same number on every device; None: by the estimate of memory.
    """
    if wanted is not None:
        return whole(wanted, mesh.size)
    most = most_lanes(mesh)
    if most == mesh.size:
        return most
    needed = memory.OVERHEAD * memory.memory_needed(key.plan, network, settings)
    fitting = max(1, int(SHARE * memory.available() / needed)) * mesh.size
    return whole(min(most, fitting, members), mesh.size)


def most_lanes(mesh: Mesh) -> int:
    """Returns how many lanes gain anything: more than one a device do not make a CPU faster."""
    return mesh.size * (1 if mesh.devices.flat[0].platform == "cpu" else MOST_LANES)


def run(
    ready: Sequence[Ready | None],
    key: ProgramKey,
    network: Network,
    *,
    mesh: Mesh,
    count: int,
    resume: Snapshot | None = None,
) -> Iterator[Stage]:
    """Runs the lanes; see `lanes.run`.

    Args:
      ready: the runs, `count` at most; None is an idle lane, and one at least is not.
      key: of all of them.
      network: the network.
      mesh: of the devices.
      count: number of lanes, from `whole`.
      resume: state to go on from instead of the start.
    """
    good = next(run for run in ready if run is not None)
    # Idle lanes are copies: a picture's bytes are those of the program of all lanes.
    full = [run or good for run in ready] + [good] * (count - len(ready))
    return lanes.run([run.lane for run in full], key, network, mesh=mesh, resume=resume)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device has no more memory, so that fewer lanes may do."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def check_number(name: str, value: int | None, least: int) -> None:
    """Checks a number of lanes or the like; None is automatic.

    Raises:
      ConfigError: if it is too small.
    """
    if value is not None and value < least:
        raise ConfigError(f"{name} is {value}; it must be at least {least}")
