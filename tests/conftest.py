"""What all tests run with: quick programs, what hypothesis tries, fixtures of several files.

The process that hands out the tests to others imports this, too, but neither JAX nor what is
tested: the others would wait for it.
"""

import gc
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

COMPILE_QUICKLY = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_multi_thread_eigen=false",
)

UNUSUAL = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
"""What containers set and users do not: with the first, dozens of processes compile the same files;
the second hides what Python cannot write at its end."""


def pytest_configure(config):
    """Lets all tests, and the processes they start, compile quickly and only once.

    They spend most of their time compiling; so it is a quarter of that. And lets them be like those
    of a user, whatever started them: `nohup` and shells ignore signals for all below them.
    """
    is_worker = hasattr(config, "workerinput")
    if not is_worker:
        folder = tempfile.TemporaryDirectory()
        config.add_cleanup(folder.cleanup)
        os.environ["XDG_CACHE_HOME"] = folder.name
        for name in UNUSUAL:
            os.environ.pop(name, None)
        os.environ.setdefault("XLA_FLAGS", " ".join(COMPILE_QUICKLY))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if is_worker or config.getoption("dist", "no") == "no":
        _prepare_process()


def _prepare_process():
    """Prepares a process that runs tests."""
    from hypothesis import settings

    from jaxmrf.machine import program_cache

    settings.register_profile("jaxmrf", deadline=None, max_examples=25, derandomize=True)
    settings.load_profile("jaxmrf")
    program_cache.enable()
    # JAX keeps all programs of the tests; to search them for garbage takes a tenth of the time.
    gc.set_threshold(100_000, 50, 100)


def pytest_collection_modifyitems(items):
    """Lets tests of the page be the first, so that they stay with the first of two workers.

    A worker that has no tests left takes the last ones of another: it would start a server, and a
    browser, of its own.
    """
    items.sort(key=lambda item: not item.path.stem.startswith("test_web"))


@pytest.fixture
def own_parts(monkeypatch):
    """Lets the losses, optimizers and matchers that a test registers be forgotten."""
    from jaxmrf.core.losses import style_losses
    from jaxmrf.core.matching import matchers
    from jaxmrf.core.optimize import optimizers

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
    from tests.common import toy_network

    return toy_network()
