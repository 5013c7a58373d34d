"""The cache of compiled programs on disk."""

import os
from importlib.metadata import EntryPoint

import jax
import pytest

from jaxmrf.machine import device


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A cache of four programs of ten bytes; the one that was written first was read last."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = device.cache_folder()
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
    device.prune(programs, max_bytes)
    assert names(programs) == kept


def test_the_cache_is_pruned_when_a_command_starts_and_not_by_jax(programs, monkeypatch):
    changed = {}
    monkeypatch.setattr(type(jax.config), "update", lambda _, *change: changed.update([change]))
    monkeypatch.setattr(device, "MAX_CACHE_BYTES", 20)
    device.enable_program_cache()
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
