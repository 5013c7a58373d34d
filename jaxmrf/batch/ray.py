"""A batch on Ray actors, each with an accelerator of its own; needs the extra ray.

Every actor runs the same `Batch` as `--engine local` on the lines that it is handed. The
ledger in the folder of the outputs, which all machines must see, keeps what is done: lines
of an actor that died go to another one, which skips what is there.
"""

import collections
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from jaxmrf.batch import runner
from jaxmrf.batch.events import BatchOptions, Event
from jaxmrf.batch.groups import group
from jaxmrf.batch.ledger import Ledger
from jaxmrf.batch.lines import Line
from jaxmrf.errors import AddressError, ConfigError, FullError, MissingExtraError, StoppedError
from jaxmrf.machine import device as devices
from jaxmrf.machine import program_cache
from jaxmrf.networks import weights
from jaxmrf.networks.weights import Loaded

LINES_AT_ONCE = 4
"""Lines that an actor is handed for each of its lanes, so that it can read ahead."""

MOST_DEATHS = 3
"""Deaths of actors over the same lines until those lines fail."""

POLL_SECONDS = 0.5

CONNECT_SECONDS = 10
"""Time until a cluster that does not answer counts as not there."""


class Worker:
    """The part of a batch that runs in an actor."""

    def __init__(
        self, start: str, folder: str, weights_file: str, bucket: int, device: str
    ) -> None:
        """Loads the network once for all lines to come.

        Args:
          start: folder that relative paths of lines, and the others here, are relative to.
          folder: of the outputs.
          weights_file: of the network.
          bucket: as of the batch.
          device: kind of device, as for `device.choose`.
        """
        from pathlib import Path

        os.chdir(start)  # actors of a cluster start where it was started
        if device != "auto":
            devices.choose(device)
        program_cache.enable()
        self._loaded = weights.load(file=Path(weights_file))
        self._ledger = Ledger(Path(folder), self._loaded, bucket)

    def process(self) -> int:
        """Returns the process number."""
        return os.getpid()

    def paint(
        self, lines: list[Line], options: BatchOptions
    ) -> tuple[list[Event], list[str], str | None]:
        """Paints lines; returns what happened, messages, and what ended it early, if so."""
        events: list[Event] = []
        messages: list[str] = []
        run = runner.Batch(
            self._ledger,
            self._loaded,
            options,
            on_event=events.append,
            on_message=messages.append,
        )
        try:
            run.run(lines)
        except FullError:
            return events, messages, str(self._ledger.folder)
        return events, messages, None


def run(
    lines: Sequence[Line],
    ledger: Ledger,
    loaded: Loaded,
    options: BatchOptions,
    *,
    device: str = "auto",
    address: str | None = None,
    workers: int | None = None,
    on_event: Callable[[Event], Any] = lambda event: None,
    on_message: Callable[[str], Any] = lambda message: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Paints lines on Ray actors, until all are done or failed.

    Args:
      lines: of the batch; their paths and `ledger`'s folder are seen by all machines.
      ledger: of the folder of outputs.
      loaded: from `weights.load`; its file is read by every actor.
      options: as of a local batch; the number of lanes is that of each actor.
      device: kind of device, as for `device.choose`.
      address: of a cluster; None starts Ray on this machine.
      workers: number of actors; None: one for each accelerator of the cluster, or one.
      on_event: called for every line.
      on_message: called with a line of text for the user.
      stop: asked every now and then whether to stop.

    Raises:
      MissingExtraError: if Ray is not installed.
      AddressError: if the cluster cannot be reached.
      ConfigError: if there are more workers than accelerators.
      StoppedError: if `stop` said so.
      FullError: if the disk is full.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtraError("--engine ray", "ray") from None
    if address is not None:
        check_address(address)
    try:
        # Where Ray is not installed, pyright takes this very file for it.
        ray.init(  # pyright: ignore[reportAttributeAccessIssue]
            address=address, ignore_reinit_error=True, log_to_driver=False
        )
    except ConnectionError as error:
        raise AddressError(f"cannot reach the Ray cluster {address}: {error}") from None
    try:
        _Engine(ray, ledger, loaded, options, device, on_event, on_message).run(
            lines, workers, stop
        )
    finally:
        ray.shutdown()  # pyright: ignore[reportAttributeAccessIssue]


def check_address(address: str) -> None:
    """Checks that something listens at ``host:port``; Ray would try for minutes.

    Raises:
      AddressError: if nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return  # such as auto
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise AddressError(f"cannot reach the Ray cluster {address}: {error}") from None


class _Engine:
    """The part of a batch that hands lines to actors and hears what becomes of them."""

    def __init__(
        self,
        ray: Any,
        ledger: Ledger,
        loaded: Loaded,
        options: BatchOptions,
        device: str,
        on_event: Callable[[Event], Any],
        on_message: Callable[[str], Any],
    ) -> None:
        self._ray, self._options, self._ledger = ray, options, ledger
        self._loaded, self._on_event, self._say = loaded, on_event, on_message
        places = os.getcwd(), str(ledger.folder.resolve()), str(loaded.path.resolve())
        self._arguments = *places, options.bucket, device
        resources = ray.cluster_resources()
        self._cpus = resources.get("CPU", 1)
        self._accelerators = {kind: resources.get(kind, 0) for kind in ("GPU", "TPU")}
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}  # actors, by what tells that they are ready
        self._running: dict[Any, tuple[Any, list[Line], int]] = {}
        self._failed_starts = 0

    def run(self, lines: Sequence[Line], workers: int | None, stop: Callable[[], bool]) -> None:
        self._waiting = collections.deque(self._parts(lines))
        accelerators = int(sum(self._accelerators.values()))
        if workers is not None and accelerators and workers > accelerators:
            raise ConfigError(
                f"the cluster has {accelerators} accelerator(s) for {workers} workers"
            )
        self._workers = min(workers or max(1, accelerators), len(self._waiting))
        self._say(f"{self._workers} Ray workers")
        for _ in range(self._workers):
            self._start()
        while self._waiting or self._running:
            ready, _ = self._ray.wait([*self._running, *self._starting], timeout=POLL_SECONDS)
            for future in ready:
                if future in self._starting:
                    self._started(future)
                else:
                    self._painted(future)
            while self._waiting and self._idle:
                part, deaths = self._waiting.popleft()
                actor = self._idle.pop()
                future = actor.paint.remote(part, self._options)
                self._running[future] = actor, part, deaths
            if stop():
                raise StoppedError

    def _start(self) -> None:
        """Starts another actor: while no machine has room for it, the others go on."""
        actor = self._actor()
        self._starting[actor.process.remote()] = actor

    def _started(self, future: Any) -> None:
        """Takes notice of an actor that is ready, or died before it was."""
        actor = self._starting.pop(future)
        try:
            self._ray.get(future)
        except self._ray.exceptions.RayActorError:
            self._failed_starts += 1
            if self._failed_starts == MOST_DEATHS:
                raise
            self._start()
            return
        self._failed_starts = 0
        self._idle.append(actor)

    def _painted(self, future: Any) -> None:
        """Takes notice of what became of the lines that an actor was handed."""
        actor, part, deaths = self._running.pop(future)
        try:
            events, messages, full = self._ray.get(future)
        except self._ray.exceptions.RayActorError:
            self._start()
            self._retry(part, deaths + 1)
            return
        self._idle.append(actor)
        for event in events:
            self._on_event(event)
        for message in messages:
            self._say(message)
        if full is not None:
            raise FullError(full)

    def _parts(self, lines: Sequence[Line]) -> list[tuple[list[Line], int]]:
        """Returns the lines of each shape in parts for one actor each."""

        def fail(line: Line, error: Exception) -> None:
            record = self._ledger.record(line)
            if record is not None and not self._options.retry:
                self._on_event(Event("skipped", line, record))
            else:
                self._fail(line, str(error))

        size = LINES_AT_ONCE * (self._options.lanes or LINES_AT_ONCE)
        groups = group(lines, self._loaded, self._options.bucket, fail)
        return [
            (members.lines[start : start + size], 0)
            for members in groups
            for start in range(0, len(members.lines), size)
        ]

    def _retry(self, part: list[Line], deaths: int) -> None:
        if deaths < MOST_DEATHS:
            self._say(f"a Ray worker died; its {len(part)} pictures go to another one")
            self._waiting.appendleft((part, deaths))
            return
        self._ledger.refresh()
        for line in part:
            record = self._ledger.record(line)
            if record is not None and "error" not in record:
                self._on_event(Event("done", line, record))
            else:
                self._fail(line, f"{deaths} Ray workers died over it")

    def _fail(self, line: Line, error: str) -> None:
        with contextlib.suppress(OSError):
            self._on_event(Event("failed", line, self._ledger.write_failure(line, error)))

    def _actor(self) -> Any:
        # More actors than processors share them, or the last ones would wait for ever.
        actor_options: dict[str, Any] = {
            "num_cpus": min(1, self._cpus / self._workers),
            "max_restarts": 0,
        }
        if self._accelerators["GPU"]:
            actor_options["num_gpus"] = 1
        elif self._accelerators["TPU"]:
            actor_options["resources"] = {"TPU": 1}
        return self._ray.remote(**actor_options)(Worker).remote(*self._arguments)
