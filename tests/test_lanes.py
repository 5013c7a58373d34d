import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxmrf.core.run import lanes, programs
from tests.lanes_on_devices import TOY, planned


@pytest.fixture(scope="module")
def found():
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-m", "tests.lanes_on_devices"],
        cwd=Path(__file__).resolve().parent.parent,
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("devices", "count"), [(1, 1), (1, 3), (4, 4)])
def test_lanes_do_what_a_single_run_does(found, devices, count):
    assert found["devices"] == 4
    first, last = found[f"{devices} devices, {count} lanes"]
    assert first < 1e-5
    assert last < 0.01


def test_many_pairs_on_all_devices_are_what_a_single_one_is(found):
    assert found["many"] < 0.01


def test_neighbors_do_not_change_a_byte(found):
    assert found["bytes with other neighbors"]


def test_devices_exchange_nothing(found):
    assert "HloModule" in found["program"]
    assert not re.search("all-reduce|all-gather|all-to-all|collective", found["program"])


def test_lanes_of_another_pooling_are_another_program():
    plan, key, ((*_, settings),) = planned(1)
    config = dataclasses.replace(settings.config, pooling="average")
    other = dataclasses.replace(settings, config=config)
    assert lanes.key_of(plan, other, labeled=False, masked=False) != key


@pytest.fixture(scope="module")
def three():
    plan, key, jobs = planned(3)
    return [lanes.make_lane(c, [s], None, plan, settings) for c, s, settings in jobs], key


def iterations(three, made=None, resume=None):
    """Yields the stages after each iteration."""
    default, key = three
    mesh = programs.make_mesh(jax.devices()[:1])
    for stage in lanes.run(made or default, key, TOY, mesh=mesh, resume=resume):
        if stage.iteration:
            yield stage


def test_a_lane_that_is_not_finite_fails_alone(three):
    made = list(three[0])
    broken = made[1].levels[0]
    bad = broken._replace(weights=broken.weights._replace(style={"mrf": np.float32(np.inf)}))
    whole = list(iterations(three))
    made[1] = lanes.Lane((bad, *made[1].levels[1:]), made[1].start, made[1].original)
    found = list(iterations(three, made))
    assert found[-1].finite.tolist() == [True, False, True]
    for lane in (0, 2):
        assert np.array_equal(found[-1].images[lane], whole[-1].images[lane])


@pytest.mark.parametrize("at", [0, 2, 3, 4, 6])
def test_a_snapshot_goes_on_to_the_same_bytes(three, at):
    for done, stage in enumerate(iterations(three)):
        if done == at:
            saved = stage.snapshot()
            break
    whole, rest = list(iterations(three)), list(iterations(three, resume=saved))
    assert len(rest) == len(whole) - at - 1
    for resumed, expected in zip(rest, whole[at + 1 :], strict=True):
        assert (resumed.level, resumed.iteration) == (expected.level, expected.iteration)
    last = np.asarray(rest[-1].images) if rest else saved.arrays[0]
    assert last.tobytes() == np.asarray(whole[-1].images).tobytes()
