"""Shared pieces of the tests."""

import dataclasses
import functools
import gc
import os
import signal
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from jaxmrf.core.features import Network
from jaxmrf.core.losses import style_losses
from jaxmrf.core.matching import matchers
from jaxmrf.core.optimize import optimizers
from jaxmrf.machine import program_cache
from jaxmrf.networks import architectures

COMPILE_QUICKLY = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_multi_thread_eigen=false",
)


def pytest_configure(config):
    """Lets all tests, and the processes they start, compile quickly and only once.

    They spend most of their time compiling; so it is a quarter of that. And lets them be
    interrupted, whatever started them: `nohup` and shells ignore signals for all below them.
    """
    if not hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory()
        config.add_cleanup(folder.cleanup)
        os.environ["XDG_CACHE_HOME"] = folder.name
        os.environ.setdefault("XLA_FLAGS", " ".join(COMPILE_QUICKLY))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    program_cache.enable()
    # JAX keeps all programs of the tests; to search them for garbage takes a tenth of the time.
    gc.set_threshold(100_000, 50, 100)


def pytest_collection_modifyitems(items):
    """Lets tests of the page be the first, so that they stay with the first of two workers.

    A worker that has no tests left takes the last ones of another: it would start a server, and a
    browser, of its own.
    """
    items.sort(key=lambda item: not item.path.stem.startswith("test_web"))


settings.register_profile("jaxmrf", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("jaxmrf")


@dataclasses.dataclass(frozen=True)
class ToyNetwork:
    """Two rectified convolutions with a subsampling between: a network in miniature.

    Attributes:
      gains: factors of the two layers, for tests of scale.
    """

    gains: tuple[float, float] = (1.0, 1.0)

    def __call__(self, params, image):
        return dict(zip(("shallow", "deep"), _toy_layers(params, image, self.gains), strict=True))


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _toy_layers(params, image, gains):
    """Returns the layers; jit so that outside of programs they are one."""

    def convolve(x, kernel, stride):
        numbers = ("NHWC", "HWIO", "NHWC")
        out = jax.lax.conv_general_dilated(
            x[None], kernel, (stride, stride), "SAME", dimension_numbers=numbers
        )
        return jax.nn.relu(out[0])

    first = convolve(image, params["first"], 1)
    second = convolve(first, params["second"], 2)
    return gains[0] * first, gains[1] * second


def toy_params(dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(7))
    return {
        "first": 0.5 * jax.random.normal(keys[0], (3, 3, 3, 6), dtype),
        "second": 0.3 * jax.random.normal(keys[1], (3, 3, 6, 8), dtype),
    }


def toy_network(gains: tuple[float, float] = (1.0, 1.0), dtype=jnp.float32) -> Network:
    """Returns the network in miniature with its parameters; it has no decoder."""
    return Network(ToyNetwork(gains), toy_params(dtype))


def vgg_params(features, seed=0):
    """Returns random parameters of a VGG network; NumPy makes them without compiling."""
    generator, params = np.random.default_rng(seed), {}
    shapes = architectures.kernel_shapes(features.architecture)
    for name in (layer.replace("relu", "conv") for layer in features.layers):
        kernel = generator.standard_normal(shapes[name], np.float32)
        kernel *= np.float32(np.sqrt(2 / (9 * kernel.shape[2])))
        params[name] = jax.tree.map(
            jnp.asarray, {"kernel": kernel, "bias": np.zeros(kernel.shape[3], np.float32)}
        )
    return params


def write_anew(path, content):
    """Writes a new file in the place of one.

    One that is written over is brought to the disk at once by some file systems, so that a kill
    cannot leave it empty: for thousands of files, seconds.
    """
    path.unlink(missing_ok=True)
    path.write_bytes(content)


SHALLOW = {
    "size": "64",
    "levels": "1",
    "iterations": "2",
    "layers": "relu2_1",
    "content_layer": "relu2_1",
    "optimizer": "adam",
}
"""Options, as words, of little of VGG without decoder and with a plain optimizer: programs that are
compiled in no time. Runs that differ in sizes or kinds of pictures have programs of their own."""

BRIEFLY = {
    "size": 32, "levels": 1, "iterations": 2, "layers": "deep", "content_layer": "deep",
    "optimizer": "adam",
}  # fmt: skip
"""Options of the library's calls with the network in miniature, which compile soon."""


class NamedAsVGG(ToyNetwork):
    """The network in miniature with the names of VGG's layers: what is default finds them."""

    def __call__(self, params, image):
        deep = super().__call__(params, image)["deep"]
        return {"relu3_1": deep, "relu4_1": deep[::2, ::2], "relu4_2": deep[::2, ::2]}


def picture(seed: int, height: int, width: int) -> jax.Array:
    """Returns a smooth random picture with some structure, sRGB in 0 to 1."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((max(2, height // 8), max(2, width // 8), 3), np.float32)
    smooth = [
        Image.fromarray(channel).resize((width, height), Image.Resampling.BICUBIC)
        for channel in np.moveaxis(coarse, -1, 0)
    ]
    noisy = np.stack(smooth, axis=-1) + 0.05 * generator.standard_normal((height, width, 3))
    return jnp.asarray(np.clip(noisy, 0, 1), jnp.float32)


@pytest.fixture
def own_parts(monkeypatch):
    """Lets the losses, optimizers and matchers that a test registers be forgotten."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    registries = (style_losses.STYLE_LOSSES, optimizers.OPTIMIZERS, matchers.MATCHERS)
    before = [dict(registry) for registry in registries]
    for path in (Path(__file__).resolve().parent.parent / "docs" / "examples").glob("*.py"):
        sys.modules.pop(path.stem, None)  # who imports it registers what is in it
    yield
    for registry, parts in zip(registries, before, strict=True):
        registry.clear()
        registry.update(parts)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The server of the page: one for all tests, that leave it without runs."""
    from tests.serving import Server

    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    assert server.end() == 0


@pytest.fixture
def toy():
    return toy_network()
