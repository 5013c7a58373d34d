"""The device that computes, and the cache of compiled programs on disk."""

import dataclasses
import os
import warnings
import zlib
from importlib.metadata import EntryPoint
from pathlib import Path

import jax
import pytest

from jaxmrf import planning
from jaxmrf.core.config import Config
from jaxmrf.core.features import Network
from jaxmrf.core.settings import PatchSettings
from jaxmrf.machine import device, program_cache, score_precision
from jaxmrf.networks import vgg


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A cache of four programs of ten bytes; the one that was written first was read last."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = program_cache.folder()
    folder.mkdir(parents=True)
    for number, (read, written) in enumerate(((9, 1), (2, 2), (3, 3), (4, 4)), start=1):
        (folder / str(number)).write_bytes(b"x" * 10)
        os.utime(folder / str(number), (read, written))
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("max_bytes", "kept"),
    [(40, ["1", "2", "3", "4"]), (39, ["1", "3", "4"]), (20, ["1", "4"]), (0, [])],
)
def test_what_was_not_used_for_longest_goes(programs, max_bytes, kept):
    program_cache.prune(programs, max_bytes)
    assert names(programs) == kept


def test_the_cache_is_pruned_when_a_command_starts_and_not_by_jax(programs, monkeypatch):
    changed = {}
    monkeypatch.setattr(type(jax.config), "update", lambda _, *change: changed.update([change]))
    monkeypatch.setattr(program_cache, "MAX_BYTES", 20)
    program_cache.enable()
    assert changed["jax_compilation_cache_dir"] == str(programs)
    assert names(programs) == ["1", "4"]
    assert jax.config.jax_compilation_cache_max_size == -1


@pytest.mark.parametrize(
    ("plugins", "before", "after"),
    [
        ([], "", ""),
        (["xla_cuda12"], "", device.QUICK_COMPILING),
        (["xla_cuda13"], "--xla_a=1", f"--xla_a=1 {device.QUICK_COMPILING}"),
        (["xla_cuda13"], "--xla_gpu_enable_triton_gemm=true", "--xla_gpu_enable_triton_gemm=true"),
    ],
)
def test_on_cuda_matrix_products_are_not_tried_out(plugins, before, after, monkeypatch):
    entries = [EntryPoint(name, f"jax_plugins.{name}", "jax_plugins") for name in plugins]
    monkeypatch.setattr(device.importlib.metadata, "entry_points", lambda group: entries)
    monkeypatch.setenv("XLA_FLAGS", before)
    device.compile_quickly()
    assert os.environ["XLA_FLAGS"] == after


@pytest.mark.parametrize("cut", [lambda whole: whole[: len(whole) // 2], lambda _: b""])
def test_an_entry_that_was_cut_off_is_made_again_without_a_word(cut, tmp_path, monkeypatch):
    cache = jax.config.jax_compilation_cache_dir

    @jax.jit
    def doubled_and_one_more(x):
        return 2 * x + 1

    def compiled():
        doubled_and_one_more.clear_cache()  # that of other tests' programs stays
        return float(doubled_and_one_more(3.0))

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warnings.showwarning = program_cache.show_others
        compiled()
        monkeypatch.setattr(program_cache, "folder", lambda: Path(cache))
        (entry,) = Path(cache).glob("jit_doubled_and_one_more-*")
        whole = entry.read_bytes()
        entry.write_bytes(cut(whole))
        assert compiled() == 7.0
        assert zlib.decompress(entry.read_bytes())
        assert compiled() == 7.0
    assert told == []


def test_other_warnings_are_shown(monkeypatch):
    shown = []
    monkeypatch.setattr(program_cache, "_show", lambda message, *_: shown.append(message))
    program_cache.show_others("mind the step", UserWarning, "stairs.py", 3)
    assert shown == ["mind the step"]


def test_a_read_only_cache_is_used_and_one_that_all_may_write_is_not(programs, monkeypatch):
    changed = {}
    monkeypatch.setattr(type(jax.config), "update", lambda _, *change: changed.update([change]))
    monkeypatch.setattr(Path, "chmod", lambda *_: (_ for _ in ()).throw(PermissionError))
    program_cache.enable()
    assert changed["jax_compilation_cache_dir"] == str(programs)
    changed.clear()
    os.chmod(programs, 0o777)
    program_cache.enable()
    assert changed == {}


@pytest.mark.parametrize(
    ("accelerates", "chosen", "used"),
    [(False, "auto", "auto"), (True, "auto", "exact"), (True, "mine", "mine")],
)
def test_accelerators_compare_all_pairs_unless_told_otherwise(
    accelerates, chosen, used, network, monkeypatch
):
    monkeypatch.setattr(device, "accelerates", lambda: accelerates)
    _, settings = planning.resolved(Config(matching=chosen), network, (64, 64))
    patches = settings.program.patches
    assert patches.matching == used
    assert (patches.tile_bytes > PatchSettings.tile_bytes) == accelerates
    _, settings = planning.resolved(Config(matching=chosen), network, (64, 64), here=False)
    assert settings.program.patches.matching == chosen
    assert settings.config.matching == chosen


@pytest.fixture
def network():
    features = vgg.VGGFeatures("vgg16")
    return Network(features, jax.eval_shape(features.random_params, jax.random.key(0)))


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Lets every precision have its seconds for a pair; returns the list of measurements."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    measurements = []

    def measure(accelerates):
        measurements.append(accelerates)
        return {"float32": 3e-9, "tf32": 2e-9, "bfloat16": 1e-9}

    monkeypatch.setattr(score_precision, "_measured", measure)
    return measurements


def test_the_fastest_precision_of_scores_is_measured_once_and_remembered(measured, tmp_path):
    assert score_precision.fastest(2e9, accelerates=False) == "bfloat16"
    assert score_precision.fastest(0.9e9, accelerates=False) == "float32"  # saves under 2 s
    assert measured == [False]
    (file,) = (tmp_path / "jaxmrf").glob("seconds-of-a-pair-*.json")
    file.write_text("{}")
    assert score_precision.fastest(2e9, accelerates=False) == "bfloat16"
    assert measured == [False, False]


def test_where_few_pairs_are_compared_no_precision_is_measured(measured, network):
    assert score_precision.fastest(1e8, accelerates=False) == "float32"
    _, settings = planning.resolved(Config(size=2000), network, (2000, 2000))  # by clusters
    assert settings.program.patches.score_precision == "float32"
    assert measured == []
    exact = Config(size=2000, matching="exact")
    _, settings = planning.resolved(exact, network, (2000, 2000))
    assert settings.program.patches.score_precision == "bfloat16"
    told = dataclasses.replace(exact, score_precision="tf32")
    _, settings = planning.resolved(told, network, (2000, 2000))
    assert settings.program.patches.score_precision == "tf32"
    assert measured == [False]


def test_precisions_are_measured_by_matching(monkeypatch):
    monkeypatch.setattr(score_precision, "SIDES", {False: 6})
    monkeypatch.setattr(score_precision, "PROMISING", 0.0)
    taken = score_precision._measured(accelerates=False)
    assert taken.keys() == {"float32", "tf32", "bfloat16"}
    assert all(seconds > 0 for seconds in taken.values())
    monkeypatch.setattr(score_precision, "PROMISING", float("inf"))
    assert score_precision._measured(accelerates=False) == {"float32": 0.0}
