"""The device that computes, and the cache of compiled programs in the user's folder."""

import contextlib
from pathlib import Path

import jax
import platformdirs

MAX_CACHE_BYTES = 2**30
"""The least recently used programs go beyond this."""


class DeviceError(RuntimeError):
    """A device that is not there; the message lists those that are."""


def choose(kind: str) -> jax.Device:
    """Makes the first device of a kind (``auto``, ``cpu``, ``gpu``, ``tpu``) the default.

    Raises:
      DeviceError: if there is none.
    """
    if kind == "auto":
        return jax.devices()[0]
    try:
        device = jax.devices(kind)[0]
    except RuntimeError:
        found = ", ".join(sorted({device.platform for device in jax.devices()}))
        raise DeviceError(f"there is no device {kind!r}; found: {found}") from None
    jax.config.update("jax_default_device", device)
    return device


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
        jax.config.update("jax_compilation_cache_max_size", MAX_CACHE_BYTES)
