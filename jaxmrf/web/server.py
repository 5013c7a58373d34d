"""The server of the page, put together from its parts and run until Ctrl-C."""

import asyncio
import contextlib
import dataclasses
import shutil
import socket
import time
from pathlib import Path
from types import FrameType

import uvicorn

from jaxmrf.web import addresses, form, security
from jaxmrf.web.app import example_paths, make_app
from jaxmrf.web.messages import Setup
from jaxmrf.web.queue import Queue
from jaxmrf.web.reader import Reader
from jaxmrf.web.runs import Archive
from jaxmrf.web.uploads import Pictures

MAX_CONNECTIONS = 500
"""Requests at the same time; more are answered with 503."""

SPARE_BYTES = 500_000_000
"""Bytes that are left to the rest of the disk."""


@dataclasses.dataclass(frozen=True)
class Site:
    """A server to be: its address, its folder, and what it was told.

    Attributes:
      host: address it is bound to, as it was asked for.
      listening: the bound socket.
      folder: where pictures and runs are kept.
      disk: bytes that they may take.
      token: of the printed URL.
      setup: weights and device of the process that computes.
    """

    host: str
    listening: socket.socket
    folder: Path
    disk: int
    token: str
    setup: Setup


def serve(site: Site) -> None:
    """Serves the page until Ctrl-C."""
    controls = form.controls()
    room = _Room(site.folder, site.disk)
    closing = asyncio.Event()
    store = Pictures(site.folder / "pictures", room, Reader(), example_paths())
    queue = Queue(Archive(site.folder / "runs"), store, controls, site.setup)
    guarded = security.Guard(
        make_app(store, queue, controls, closing),
        port=site.listening.getsockname()[1],
        hosts=security.own_names(site.host),
        remote=not addresses.is_loopback(site.host),
        token=site.token,
        secret=security.folder_secret(site.folder),
    )
    config = uvicorn.Config(
        guarded,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        limit_concurrency=MAX_CONNECTIONS,
    )
    with contextlib.suppress(KeyboardInterrupt):
        _Server(config, closing).run(sockets=[site.listening])


class _Server(uvicorn.Server):
    """Tells the event streams to end when the server does, which waits for them."""

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event) -> None:
        super().__init__(config)
        self._closing = closing

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._closing.set()
        super().handle_exit(sig, frame)


class _Room:
    """How many bytes may still be written to a folder; looked up once a second, or anew."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._known, self._until = 0, 0.0

    def __call__(self, *, fresh: bool = False) -> int:
        if fresh or time.monotonic() > self._until:
            used = 0
            for path in self._folder.rglob("*"):
                with contextlib.suppress(OSError):
                    used += path.stat().st_size
            free = shutil.disk_usage(self._folder).free - SPARE_BYTES
            self._known = min(self._limit - used, free)
            self._until = time.monotonic() + 1.0
        return self._known
