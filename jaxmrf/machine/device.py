"""The device that computes, and what is set before it is there."""

import contextlib
import ctypes
import importlib.metadata
import os

import jax

from jaxmrf.errors import DeviceError

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


def current() -> jax.Device:  # pyright: ignore[reportInvalidTypeForm]  # no stub
    """Returns the device that computes by default."""
    return chosen() or jax.devices()[0]


def accelerates() -> bool:
    """Returns whether what computes by default is an accelerator and no CPU."""
    return current().platform != "cpu"


def keep_freed_memory() -> None:
    """Keeps memory that a program frees for the next one; to be called before any other here.

    Else every iteration gets its memory from the system anew, page by page, all zeros: 8 % of
    a transfer at 384 pixels on a CPU (docs/experiments.md). Programs that take more than is kept
    are not helped by it; without effect where memory is not allocated by glibc.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for setting, value in MALLOC_SETTINGS.items():
            mallopt(setting, value)
