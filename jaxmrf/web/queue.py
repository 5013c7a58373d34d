"""Whose turn it is: hands runs to the process that computes, and hears how they go."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from jaxmrf.errors import ConfigError, WeightsError
from jaxmrf.jobs import options
from jaxmrf.web import checks, form, runs
from jaxmrf.web.messages import Cancel, Order, Painting, Progress, Setup, Told
from jaxmrf.web.networks import Networks, shapes_of
from jaxmrf.web.runs import Archive, FileName, Run, State
from jaxmrf.web.uploads import Pictures, Upload

MAX_WAITING = 50
"""Runs that may wait at the same time."""

MAX_KEPT = 1000
"""Runs that the gallery holds."""

RUN_BYTES = 20_000_000
"""Bytes that a run takes on disk beside its picture."""

GRACE = 60.0
"""Seconds that a canceled run has to hand over its picture before its process is ended."""

FIRST_RATE = 2.7e-6
"""Seconds per unit of cost, before any run was measured."""

START_SECONDS = 6.0
"""Seconds that a run takes beside its iterations."""

WARM_UP = {"size": "64"}
"""Options of the run that the process that computes is warmed up with."""

RETELL_SECONDS = 1.0
"""Least time between two expected times that runs in line are told while another goes on, and
time between two that a run is told while nothing is heard of it."""


class QueueError(Exception):
    """A run that is not taken, or something that cannot be done with it.

    Attributes:
      status: HTTP status that says why.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Listener:
    """What one client has not been told yet."""

    def __init__(self) -> None:
        self.changed: set[str] = set()
        self.news = asyncio.Event()

    def notice(self, name: str) -> None:
        """Notes that a run has changed, or is gone."""
        self.changed.add(name)
        self.news.set()


class Queue:
    """The runs, and the process that computes them.

    Args:
      archive: where runs are kept.
      pictures: what they are made of.
      controls: of the page.
      setup: weights and device of the process that computes.
    """

    def __init__(
        self,
        archive: Archive,
        pictures: Pictures,
        controls: Sequence[form.Control],
        setup: Setup,
    ) -> None:
        self._archive, self._pictures, self._controls = archive, pictures, controls
        self._setup = setup
        weights_file = None if setup["weights"] is None else Path(setup["weights"])
        self._networks = Networks(weights_file, shapes_of)
        pictures.used = self._used
        self._process: asyncio.subprocess.Process | None = None
        self._active: list[Run] = []
        self._lanes = 1
        self._listeners: set[Listener] = set()
        self._stopping: dict[str, asyncio.TimerHandle | None] = {}
        self._rate = runs.usual_rate(archive.runs.values())
        self._retold = 0.0
        self._heard: dict[str, float] = {}
        archive.resume()

    @property
    def runs(self) -> Mapping[str, Run]:
        """All runs by id."""
        return self._archive.runs

    def file(self, run: Run, name: FileName) -> Path:
        """Returns the path of a file of a run."""
        return self._archive.file(run, name)

    def submit(self, new: Sequence[Run]) -> None:
        """Puts runs from `new_run` in line, all of them or none; several are a group.

        Raises:
          QueueError: if the queue is full.
          UploadError: if the disk is.
        """
        waiting = sum(other.state == "waiting" for other in self.runs.values())
        if waiting + len(new) > MAX_WAITING:
            told = f"{waiting} runs are waiting already, and there may be {MAX_WAITING}"
            raise QueueError(429, f"{told}; cancel some of them")
        if len(self.runs) + len(new) > MAX_KEPT:
            raise QueueError(507, f"the gallery is full with {MAX_KEPT} runs; delete some of them")
        self._pictures.make_room(sum(RUN_BYTES + 4 * run.width * run.height for run in new))
        group = runs.new_id() if len(new) > 1 else ""
        for place, run in enumerate(new):
            run.group = group
            try:
                self._archive.add(run)
            except OSError as error:
                for added in new[:place]:
                    self._archive.remove(added)
                raise QueueError(507, f"cannot store the run: {error.strerror}") from None
        for run in new:
            self._changed(run)
        self._dispatch()
        self._retell()

    def prepare(self, run: Run) -> None:
        """Compiles, while nothing else is to do, what a run from `new_run` would start with."""
        if not self._active:
            self._send({"do": "prepare", "runs": [self._painting(run)]})

    def cancel(self, run: Run) -> None:
        """Takes a run out of the line, or stops it; what is painted is kept."""
        if run.state == "waiting":
            self._end(run, "canceled", "")
        elif run in self._active and run.id not in self._stopping:
            run.message = "stopping"
            self._send({"do": "cancel", "id": run.id})
            self._stopping[run.id] = None
            if run.state != "paused":
                self._lose_patience(run)
            self._changed(run)

    def remove(self, run: Run) -> None:
        """Deletes a run that has ended.

        Raises:
          QueueError: if it has not.
        """
        if not run.ended:
            raise QueueError(409, "this run has not ended; cancel it first")
        self._archive.remove(run)
        self._pictures.reap()
        self._changed(run)

    def summary(self, run: Run) -> dict[str, Any]:
        """Returns what the page shows of a run."""
        shown = dataclasses.asdict(run)
        shown["left"] = self._left(run)
        shown["ended"] = run.ended
        shown["result"] = run.ended and self.file(run, "out.png").exists()
        shown["thumbnail"] = shown["result"] and self.file(run, "thumbnail.jpg").exists()
        shown["place"] = shown["starts_in"] = None
        if run.state == "waiting":
            line = runs.in_line(self.runs)
            place = line.index(run)
            shown["place"] = place + 1
            # A quick run starts at once, between two iterations of a run that is not.
            before = [other for other in self._active if other.quick or not run.quick]
            shown["starts_in"] = sum(self._share(other) for other in [*before, *line[:place]])
        return shown

    def listen(self) -> Listener:
        """Returns a listener; give it to `leave` when the client is gone."""
        listener = Listener()
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Forgets a listener."""
        self._listeners.discard(listener)

    async def serve(self) -> None:
        """Keeps a process that computes, until it is canceled."""
        pause = 0.5
        counting = asyncio.create_task(self._count_down())
        try:
            while True:
                started = time.monotonic()
                self._process = process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "jaxmrf.web.worker"),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is for the server
                )
                self._send(self._setup)
                if not runs.in_line(self.runs):  # else those would wait for it
                    await self._warm_up()
                self._dispatch()
                if process.stdout is not None:
                    async for line in process.stdout:
                        self._hear(json.loads(line))
                await process.wait()
                self._lost()
                pause = 0.5 if time.monotonic() - started > 30 else min(2 * pause, 30.0)
                await asyncio.sleep(pause)
        finally:
            counting.cancel()
            self._end_process()
            for run in self._active:  # it is not to blame that the server was ended
                run.attempts -= 1
                self._changed(run, save=True)

    def new_run(self, values: Mapping[str, object], inputs: Mapping[str, Sequence[Upload]]) -> Run:
        """Returns a run that would not be refused; for any thread.

        Args:
          values: options that a client chose.
          inputs: its pictures by what they are for, see `runs.ROLES`.

        Raises:
          ConfigError: if it would be refused; its `option` says what can mend it.
        """
        accepted = form.accept(self._controls, values)
        names = {name: value for name, value in accepted.items() if name != "network"}
        paths = {role: [str(picture.path) for picture in inputs[role]] for role in inputs}
        job = options.job({**names, **runs.as_options(paths), "output": form.OUTPUT})
        try:
            network = self._networks.get(accepted.get("network", "auto"))
        except WeightsError as error:
            raise ConfigError(str(error), "network") from None
        shapes = {
            role: [(picture.height, picture.width) for picture in pictures]
            for role, pictures in inputs.items()
        }
        content = next(iter(shapes.get("content", ())), None)
        planned = checks.planned(names, job, network, content, shapes["style"])
        titles = titles_of(inputs)
        by_path = {
            picture.path: title
            for role, pictures in inputs.items()
            for picture, title in zip(pictures, titles[role], strict=True)
        }
        sizes = checks.Sizes(job.shape, content, tuple(shapes["style"]))
        checks.labels(job, sizes, by_path)
        height, width = planned.plan.shapes[-1]
        own = {name: self._setup[name] for name in ("weights", "device")}
        more = [f"--{name}={value}" for name, value in own.items() if value]
        return Run(
            id=runs.new_id(),
            created=time.time(),
            inputs={role: [picture.id for picture in inputs[role]] for role in inputs},
            titles=titles,
            values=accepted,
            command=form.command_line(accepted, titles, more),
            width=width,
            height=height,
            cost=sum(level.total for level in runs.level_costs(planned)),
            quick=max(width, height) <= runs.QUICK_SIDE,
            program=checks.program_of(planned, job),
        )

    def _painting(self, run: Run) -> Painting:
        """Returns what the process that computes has to know of a run."""
        inputs: dict[str, list[str]] = {}
        titles: dict[str, str] = {}
        others = self.runs.values()
        for role, names in run.inputs.items():
            pictures = [self._pictures.find(name) for name in names]
            inputs[role] = ["" if picture is None else str(picture.path) for picture in pictures]
            titles |= zip(inputs[role], run.titles[role], strict=True)
        return {
            "id": run.id,
            "values": run.values,
            "inputs": inputs,
            "titles": titles,
            "output": str(self.file(run, "out.png")),
            "preview": str(self.file(run, "preview.jpg")),
            "rate": self._rate,
            # What is said of the pictures of a group is said once.
            "advise": not any(run.group == other.group != "" and other.ended for other in others),
        }

    async def _count_down(self) -> None:
        """Tells the time that is left also where a step takes long, until it is canceled."""
        while True:
            await asyncio.sleep(RETELL_SECONDS)
            for run in self._active:
                if run.left is not None:
                    self._changed(run)

    async def _warm_up(self) -> None:
        """Lets the process load the network and start what takes long the first time.

        With a small picture: programs for sizes that nobody chose would be in the way of those
        for pictures that somebody chooses meanwhile, since compiling cannot be interrupted.
        """
        examples = self._pictures.examples()
        if len(examples) > 1:
            with contextlib.suppress(ConfigError):  # the weights may be missing
                pair = {"content": examples[:1], "style": examples[-1:]}
                run = await asyncio.to_thread(self.new_run, WARM_UP, pair)
                self.prepare(run)

    def _dispatch(self) -> None:
        """Hands over the next run if it is its turn, with those that are computed beside it."""
        line = runs.in_line(self.runs)
        if self._process is None or not line or any(run.quick for run in self._active):
            return
        first = line[0]
        if self._active and not first.quick:
            return
        together = runs.beside(first, line)[: self._lanes]
        for run in together:
            run.state, run.message = "running", ""
            run.attempts += 1
            self._active.append(run)
            self._changed(run, save=True)
        what = "quick" if first.quick else "run"
        self._send({"do": what, "runs": [self._painting(run) for run in together]})

    def _hear(self, told: Told) -> None:
        """Takes in a message of the process that computes."""
        if told["told"] == "ready":
            self._lanes = told["lanes"]
            return
        run = self.runs.get(told["id"])
        if run is None:
            return
        match told:
            case {"told": "progress"}:
                self._advance(run, told)
                if time.monotonic() < self._retold + RETELL_SECONDS:
                    self._changed(run)
                    return
            case {"told": "compiling"}:
                run.compiling, run.ready_in = True, told["ready_in"]
            case {"told": "advice"}:
                run.advice = told["text"]
            case {"told": "paused"}:
                run.left = self._left(run)
                run.state = "paused"
                self._be_patient(run)
            case {"told": "resumed"}:
                run.state = "running"
                self._heard[run.id] = time.monotonic()
                if run.id in self._stopping:
                    self._lose_patience(run)
            case {"told": "end"}:
                run.control, run.lanes = told["control"], told["lanes"]
                self._end(run, told["state"], told["message"])
        self._changed(run)
        self._retell()

    def _retell(self) -> None:
        """Tells the runs that wait anew: their place or expected time is another now."""
        self._retold = time.monotonic()
        for run in runs.in_line(self.runs):
            self._changed(run)

    def _lose_patience(self, run: Run) -> None:
        """Ends the process that computes unless a canceled run ends soon."""
        loop = asyncio.get_running_loop()
        self._stopping[run.id] = loop.call_later(GRACE, self._end_process)

    def _be_patient(self, run: Run) -> None:
        """Gives a canceled run all its time again: another one is being computed."""
        timer = self._stopping.get(run.id)
        if timer is not None:
            timer.cancel()
            self._stopping[run.id] = None

    def _advance(self, run: Run, told: Progress) -> None:
        if told["position"]["level"] != run.level:
            run.level_starts.append(run.all_iterations)
        for name, value in told["position"].items():
            setattr(run, name, value)
        run.compiling, run.ready_in = False, None
        self._heard[run.id] = time.monotonic()
        if told["energy"] is not None:
            run.all_iterations += 1
            run.add_point(run.all_iterations, told["energy"])

    def _end(self, run: Run, state: State, message: str) -> None:
        """Notes that a run has ended, and lets the next one begin."""
        run.state, run.message, run.left, run.finished = state, message, None, time.time()
        run.compiling, run.ready_in = False, None
        if run in self._active:
            self._active.remove(run)
        self._heard.pop(run.id, None)
        self._be_patient(run)
        self._stopping.pop(run.id, None)
        self._rate = runs.usual_rate(self.runs.values())
        self._changed(run, save=True)
        self._dispatch()
        self._retell()

    def _lost(self) -> None:
        """Deals with the end of the process that computes, whatever it was."""
        self._process = None
        for run in list(self._active):
            self._active.remove(run)
            if run.id in self._stopping:
                self._end(run, "stopped" if self._keep_preview(run) else "canceled", "")
                continue
            if run.state == "paused":
                run.attempts -= 1  # it was not this one
            runs.restart(run, "the computing process ended; perhaps memory ran out")
            self._changed(run, save=True)

    def _keep_preview(self, run: Run) -> bool:
        """Makes the latest preview the picture of a run; returns whether there is one."""
        with contextlib.suppress(OSError), Image.open(self.file(run, "preview.jpg")) as preview:
            preview.save(self.file(run, "out.png"))
            shutil.copy(self.file(run, "preview.jpg"), self.file(run, "thumbnail.jpg"))
            return True
        return False

    def _end_process(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _send(self, message: Setup | Order | Cancel) -> None:
        stdin = None if self._process is None else self._process.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(json.dumps(message).encode() + b"\n")

    def _left(self, run: Run) -> float | None:
        """Returns the seconds that a run has left, by what was last heard of it."""
        if run.left is None or run.state != "running":
            return run.left
        now = time.monotonic()
        return max(0.0, run.left - (now - self._heard.get(run.id, now)))

    def _expected(self, run: Run) -> float:
        """Returns the seconds that a run will still take."""
        if (left := self._left(run)) is not None:
            return left
        rate = FIRST_RATE if self._rate is None else self._rate
        return START_SECONDS + run.cost * rate * (1.0 - run.done)

    def _share(self, run: Run) -> float:
        """Returns the seconds for which a run will keep those behind it waiting."""
        return self._expected(run) / (self._lanes if run.group else 1)

    def _changed(self, run: Run, *, save: bool = False) -> None:
        if save:
            with contextlib.suppress(OSError):  # a full disk must not stop what computes
                self._archive.save(run)
        for listener in self._listeners:
            listener.notice(run.id)

    def _used(self) -> set[str]:
        of_runs = (run.inputs.values() for run in self.runs.values())
        return set(itertools.chain.from_iterable(itertools.chain.from_iterable(of_runs)))


def titles_of(inputs: Mapping[str, Sequence[Upload]]) -> dict[str, list[str]]:
    """Returns the names of pictures on the command line, by what they are for."""
    names = iter(
        form.file_names(
            [(picture.id, picture.title) for pictures in inputs.values() for picture in pictures]
        )
    )
    return {role: list(itertools.islice(names, len(inputs[role]))) for role in inputs}
