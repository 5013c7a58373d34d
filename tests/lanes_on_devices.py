"""Prints energies and pictures' differences of lanes on 1 and 4 devices; run as a process."""

import dataclasses
import json
import sys

import jax
import numpy as np

import jaxmrf
from jaxmrf.core.config import Config
from jaxmrf.core.features import Network
from jaxmrf.core.run import lanes, programs
from jaxmrf.core.run.loop import run
from jaxmrf.core.run.plan import make_plan
from jaxmrf.core.settings import resolve
from tests.common import ToyNetwork, picture, toy_params

TOY = Network(ToyNetwork(), toy_params())
CONFIG = Config(
    size=48,
    coarsest=16,
    layers=("deep",),
    content_layer="deep",
    iterations=(4, 3),
    history=2,
    preconditioner="none",  # the choice that "auto" makes follows from the start
)


def transfers(count, config=CONFIG):
    """Yields content, style and settings that differ in all that lanes may differ in."""
    for seed in range(count):
        config = dataclasses.replace(
            config, content_weight=0.2 + 0.1 * seed, seed=seed, init=("content", "noise")[seed % 2]
        )
        yield picture(seed, 48, 36), picture(50 + seed, 40, 40), config


def planned(count, config=CONFIG):
    """Returns plan and key of `transfers`, and each as content, style and its own settings."""
    jobs = [(c, s, resolve(config, TOY)) for c, s, config in transfers(count, config)]
    plan = make_plan((48, 36), [(40, 40)], TOY, resolve(config, TOY))
    keys = {lanes.key_of(plan, settings, labeled=False, masked=False) for *_, settings in jobs}
    [key] = keys  # they run together
    return plan, key, jobs


def main():
    """The snapshots of test_lanes.py run through both levels; one is enough here."""
    found = {"devices": len(jax.devices())}
    config = dataclasses.replace(CONFIG, levels=1, iterations=(7,), preconditioner="spectral")
    plan, key, jobs = planned(4, config)
    made = [lanes.make_lane(c, [s], None, plan, settings) for c, s, settings in jobs]
    single = [
        [progress for progress in run(TOY, c, [s], plan, settings) if progress.iteration]
        for c, s, settings in jobs
    ]
    pixels = {}
    for devices, count in ((1, 1), (1, 3), (4, 4)):
        mesh = programs.make_mesh(jax.devices()[:devices])
        stages = [
            stage for stage in lanes.run(made[:count], key, TOY, mesh=mesh) if stage.iteration
        ]
        first, last = 0.0, 0.0
        for lane, records in enumerate(single[:count]):
            first = max(first, abs(stages[0].value[lane] / records[0].value - 1))
            picture_of_one = np.asarray(records[0].image)
            moved = np.asarray(stages[0].images[lane]) - picture_of_one
            first = max(first, np.linalg.norm(moved) / np.linalg.norm(picture_of_one))
            last = max(last, abs(stages[-1].value[lane] / records[-1].value - 1))
        found[f"{devices} devices, {count} lanes"] = [float(first), float(last)]
        pixels[devices, count] = np.asarray(stages[-1].images)
    mesh = programs.make_mesh(jax.devices()[:1])
    other = [made[index] for index in (2, 0, 3)]
    again = list(lanes.run(other, key, TOY, mesh=mesh))[-1].images
    found["bytes with other neighbors"] = bool(
        np.array_equal(np.asarray(again)[1], pixels[1, 3][0])
    )
    contents = [np.asarray(content) for content, *_ in jobs[:3]]
    pairs, options = [(content, jobs[0][1]) for content in contents], {"network": TOY}
    many = jaxmrf.transfer_many(pairs, config, **options)
    alone = jaxmrf.transfer(*pairs[2], config, **options)
    found["many"] = float(np.abs(many[2].image - alone.image).mean())
    mesh = programs.make_mesh(jax.devices())
    network = programs.placed(TOY, mesh, programs.SHARED)  # as runs have it
    found["program"] = lanes.program_text(made, key, network, mesh)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
