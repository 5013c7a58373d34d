import dataclasses
import platform
import subprocess
import sys

import pytest

from jaxmrf.core.config import Config
from jaxmrf.core.run.plan import make_plan
from jaxmrf.core.settings import resolve
from jaxmrf.errors import ConfigError
from jaxmrf.machine import memory
from jaxmrf.networks import vgg, weights
from tests.common import vgg_params

# What compiles sooner than the default.
CONFIG = Config(
    layers=("relu2_1",), content_layer="relu2_1", levels=1, optimizer="adam", matching="exact"
)
SHAPE = (320, 200)


@pytest.fixture(scope="module")
def network():
    small = vgg.VGGFeatures("vgg16", "conv2_1")
    return dataclasses.replace(weights.load().network, features=small, params=vgg_params(small))


@pytest.fixture(scope="module", autouse=True)
def needed_once():
    """Lets what a run needs be found out once for all tests."""
    needed = {}

    def memory_needed(plan, network, settings):
        key = plan, network.features, settings
        if key not in needed:
            needed[key] = find_out(plan, network, settings)
        return needed[key]

    find_out = memory.memory_needed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "memory_needed", memory_needed)
        yield


def fit(network, budget, **more):
    settings = resolve(dataclasses.replace(CONFIG, **more), network)
    plan = make_plan(SHAPE, [(64, 64)], network, settings)
    return memory.fit(network, plan, settings, budget=budget), plan


def test_small_pictures_are_not_checked_and_large_budgets_change_nothing(network):
    assert fit(network, None)[0] is network
    assert fit(network, 10**12)[0] is network


def test_what_would_not_fit_is_computed_in_strips(network):
    plan = fit(network, None)[1]
    whole = memory.memory_needed(plan, network, resolve(CONFIG, network))
    needed = memory.BESIDE + int(memory.OVERHEAD * whole)
    assert fit(network, needed + 1)[0] is network
    found = fit(network, needed - 1)[0]
    assert found.features == dataclasses.replace(network.features, in_strips=True)
    assert found.params is network.params


def test_without_a_budget_a_run_in_strips_leaves_room_beside_it(network, monkeypatch):
    monkeypatch.setattr(memory, "UNCHECKED_PIXELS", 1)
    assert fit(network, None)[0] is network
    monkeypatch.setattr(memory, "comfortable", lambda: 1_000_000)
    assert fit(network, None)[0].features.in_strips
    assert fit(network, None, layers=("relu1_1",))[0] is network
    monkeypatch.setattr(memory, "available", lambda: memory.BESIDE + 1_000_000)
    with pytest.raises(ConfigError, match="GB are there; "):
        fit(network, None)


def test_what_does_not_fit_even_so_is_refused_with_a_size_that_does(network):
    with pytest.raises(ConfigError, match=r"200×320 pixels need about .* try --size \d+"):
        fit(network, memory.BESIDE + 25_000_000)
    with pytest.raises(ConfigError, match="there is no size that fits"):
        fit(network, memory.BESIDE + 100_000)


def test_what_cannot_even_be_compiled_is_refused_before(network, monkeypatch):
    monkeypatch.setattr(memory, "memory_needed", None)
    monkeypatch.setattr(memory, "available", lambda: memory.BESIDE - 1)
    with pytest.raises(ConfigError, match=r"any picture needs more than 0\.6 GB") as found:
        fit(network, None)
    assert found.value.option is None  # that could be mended by it
    with pytest.raises(ConfigError) as found:
        fit(network, memory.BESIDE - 1)
    assert found.value.option == "memory"


def test_little_memory_is_looked_at_for_small_pictures_too(network, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: memory.BESIDE + 1_000_000)
    with pytest.raises(ConfigError, match=r"200×320 pixels need about"):
        fit(network, None)


def test_strips_are_no_way_out_when_the_first_block_is_a_style_layer(network):
    with pytest.raises(ConfigError, match="GB are there"):
        fit(network, memory.BESIDE + 1_000_000, layers=("relu1_1",))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is not allocated by glibc")
def test_freed_memory_is_kept_for_the_next_program():
    """In a process of its own, since it holds for all of it."""
    program = """
import resource
from jaxmrf.machine import device
device.keep_freed_memory()
def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"1" * 10**8
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(page_faults(), page_faults())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    first, second = map(int, done.stdout.split())
    assert first > 10_000
    assert second < 100
