"""The device that computes, and the cache of compiled programs in the user's folder."""

import contextlib
import ctypes
import importlib.metadata
import os
from pathlib import Path

import jax
import platformdirs

from jaxmrf.errors import DeviceError

MAX_CACHE_BYTES = 2**30
"""The least recently used programs go beyond this, when a command starts."""

MALLOC_SETTINGS = {-8: 1, -4: 0, -1: 2**31 - 1}
"""For `mallopt`, from glibc's malloc.h: M_ARENA_MAX, M_MMAP_MAX, M_TRIM_THRESHOLD. One heap,
nothing outside it, and up to 2 GB at its end are kept when they are freed."""


QUICK_COMPILING = "--xla_gpu_enable_triton_gemm=false"
"""For XLA on NVIDIA's devices: matrix products by cuBLAS alone. To try out which of its own is
fastest takes XLA 3 to 13 s for each program (docs/performance.md)."""


def compile_quickly() -> None:
    """Sets `QUICK_COMPILING` where NVIDIA's plugin is installed; to be called before any device.

    What the user set in ``XLA_FLAGS`` goes before.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    if any("cuda" in plugin.name for plugin in plugins) and "triton_gemm" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {QUICK_COMPILING}".strip()


def choose(kind: str) -> jax.Device:  # pyright: ignore[reportInvalidTypeForm]  # no stub
    """Makes the first device of a kind (``auto``, ``cpu``, ``gpu``, ``tpu``) the default.

    Raises:
      DeviceError: if there is none.
    """
    compile_quickly()
    if kind == "auto":
        return jax.devices()[0]
    try:
        device = jax.devices(kind)[0]
    except RuntimeError:
        platforms = ", ".join(sorted({device.platform for device in jax.devices()}))
        raise DeviceError(f"there is no device {kind!r}; found: {platforms}") from None
    jax.config.update("jax_default_device", device)
    return device


def chosen() -> jax.Device | None:  # pyright: ignore[reportInvalidTypeForm]  # no stub
    """Returns the device that was made the default; None if none was."""
    return jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]  # no stub


def cache_folder() -> Path:
    """Returns the folder of compiled programs, whether it exists or not."""
    return Path(platformdirs.user_cache_dir("jaxmrf")) / "programs"


def enable_program_cache() -> None:
    """Keeps compiled programs on disk, so that a second run starts quickly.

    Its entries are code that a later run trusts, so only the user may enter the folder.
    Without a writable cache folder programs are compiled anew.
    """
    folder = cache_folder()
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
        # JAX's own limit looks at all entries whenever it adds one, and lets nobody read meanwhile:
        # a fifth of a second for each program where there are four thousand.
        prune(folder, MAX_CACHE_BYTES)


def prune(folder: Path, max_bytes: int) -> None:
    """Removes the least recently used files of a folder until the others fit.

    When a file was read the file system notes once a day, or not at all; then its writing counts.

    Args:
      folder: the folder, which has no folders.
      max_bytes: what the files that stay may have together.

    Raises:
      OSError: if a file cannot be removed.
    """
    files = {path: path.stat() for path in folder.iterdir()}
    excess = sum(file.st_size for file in files.values()) - max_bytes
    for path, file in sorted(
        files.items(), key=lambda entry: max(entry[1].st_atime, entry[1].st_mtime)
    ):
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= file.st_size


def keep_freed_memory() -> None:
    """Keeps memory that a program frees for the next one; to be called before any other here.

    Else every iteration gets its memory from the system anew, page by page, all zeros: 8 % of
    a transfer at 384 pixels on a CPU (docs/performance.md). Programs that take more than is kept
    are not helped by it; without effect where memory is not allocated by glibc.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for setting, value in MALLOC_SETTINGS.items():
            mallopt(setting, value)
