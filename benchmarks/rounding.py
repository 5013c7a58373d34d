"""How far energies of the same transfer part by rounding alone, and those of lanes.

Runs are not smooth in their start: a match that is nearly a tie falls the other way, and from
there two pictures part. So the energies that lanes end with are compared with those of single
runs whose starts differ by a millionth.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxmrf import planning
from jaxmrf.core.config import Config
from jaxmrf.core.run import lanes, programs
from jaxmrf.core.run.inputs import make_pictures
from jaxmrf.core.run.loop import run
from jaxmrf.networks import weights

PERTURBATION = 1e-6


def spread(content: jax.Array, style: jax.Array, runs: int = 4) -> dict[str, float]:
    """Returns final energies over that of the plain single run.

    Args:
      content: picture, sRGB in 0 to 1.
      style: picture, sRGB in 0 to 1.
      runs: single runs with a perturbed start.
    """
    config = Config(size=max(content.shape[:2]), decoder_rounds=0)
    shapes = content.shape[:2], [style.shape[:2]]
    network, settings, plan = planning.plan_run(*shapes, config, weights.load("vgg16").network)
    start = make_pictures(content, [style], settings.config).content

    def energy(initial: jax.Array) -> float:
        for progress in run(network, content, [style], plan, settings, initial=initial):
            value = progress.value
        return value

    plain = energy(start)
    found = {}
    for seed in range(runs):
        noise = np.random.default_rng(seed).standard_normal(start.shape)
        moved = jnp.clip(start + jnp.asarray(PERTURBATION * noise, start.dtype), 0, 1)
        found[f"start moved by {PERTURBATION:g}, {seed + 1}"] = energy(moved) / plain
    key = lanes.key_of(plan, settings, labeled=False, masked=False)
    lane = lanes.make_lane(content, [style], None, plan, settings)
    mesh = programs.make_mesh(jax.devices()[:1])
    for count in (1, 3):
        for stage in lanes.run([lane] * count, key, network, mesh=mesh):
            value = stage.value[0]
        found[f"one of {count} lanes"] = float(value) / plain
    return found
