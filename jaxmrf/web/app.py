"""The routes of the page: form, pictures, runs, and one stream of events."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from jaxmrf.core.presets import SET_BY_ALPHA
from jaxmrf.core.run.plan import MAX_STYLES
from jaxmrf.errors import ConfigError
from jaxmrf.files import decode
from jaxmrf.web import form, reader, uploads, zipped
from jaxmrf.web.queue import Queue, QueueError
from jaxmrf.web.runs import ROLES, SEVERAL, Run
from jaxmrf.web.uploads import Pictures, Upload, UploadError

MAX_BODY = 64_000
"""Bytes of a request that is no upload."""

MAX_GROUP = 36
"""Runs that can be asked for together."""

EVENT_SECONDS = 0.1
"""Least time between two messages of an event stream."""

HEARTBEAT_SECONDS = 15.0

REAP_SECONDS = 3600.0

DRAIN_BYTES, DRAIN_SECONDS = 4 * 2**30, 120.0
"""How much of an upload that is refused is read and thrown away: a client that is still
sending would not see the answer."""

MAX_STREAMS = 100
"""Event streams at the same time."""

EXAMPLES = {
    "nasa-astronaut-1993.jpg": "content",
    "cat-chelsea-cc0.jpg": "content",
    "coffee-cc0.jpg": "content",
    "vangogh-pere-tanguy-1887.jpg": "style",
    "vangogh-road-to-tarascon-1888.jpg": "style",
    "vangogh-night-cafe-1888.jpg": "style",
    "vangogh-church-at-auvers-1890.jpg": "style",
    "vangogh-langlois-bridge-1888.jpg": "style",
}
"""Example pictures (docs/images, see NOTICE), and which of the two they are."""

_SPOKEN = {
    "content": "photograph",
    "style": "painting",
    "content_guide": "guide",
    "style_guide": "guide",
    "mask": "mask",
}

STATIC = resources.files("jaxmrf") / "web" / "static"
"""The page itself: what is in this folder is served, under its own name."""

_PAGE = "index.html"

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}


def example_paths() -> dict[str, Path]:
    """Returns the examples, in the wheel or in a checkout."""
    installed = Path(str(resources.files("jaxmrf"))) / "web" / "examples"
    checkout = Path(__file__).resolve().parent.parent.parent / "docs" / "images"
    folder = installed if installed.exists() else checkout
    return {name: folder / name for name in EXAMPLES if (folder / name).exists()}


def make_app(
    store: Pictures,
    queue: Queue,
    controls: Sequence[form.Control],
    closing: asyncio.Event,
) -> Starlette:
    """Returns the application, without the guard before it.

    Args:
      store: the pictures.
      queue: the runs; it is served as long as the application.
      controls: of the page.
      closing: set when the server is about to end, so that event streams end.
    """
    page = _Page(store, queue, controls, closing)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(queue.serve()), asyncio.create_task(_reap(store))]
        await store.reader.start()
        yield
        await store.reader.stop()
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    routes = [_static(file) for file in STATIC.iterdir() if Path(file.name).suffix in _MEDIA_TYPES]
    routes += [
        Route("/api/form", page.form),
        Route("/api/events", page.events),
        Route("/api/pictures", page.upload, methods=["POST"]),
        Route("/api/pictures/{id}", page.picture),
        Route("/api/pictures/{id}/whole", page.whole_picture),
        Route("/api/results.zip", page.results),
        Route("/api/prepare", page.prepare, methods=["POST"]),
        Route("/api/runs", page.submit, methods=["POST"]),
        Route("/api/groups", page.submit_group, methods=["POST"]),
        Route("/api/groups/{group}/cancel", page.cancel_group, methods=["POST"]),
        Route("/api/runs/{id}", page.run),
        Route("/api/runs/{id}", page.remove, methods=["DELETE"]),
        Route("/api/runs/{id}/cancel", page.cancel, methods=["POST"]),
        Route("/api/runs/{id}/preview", page.preview),
        Route("/api/runs/{id}/thumbnail", page.thumbnail),
        Route("/api/runs/{id}/result", page.result),
        Route("/api/runs/{id}/inputs/{role}/{number:int}", page.input),
    ]
    # Any: each of them takes errors of the kind that it stands under.
    handlers: dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
        HTTPException: _http_error,
        ConfigError: page.settings_error,
        UploadError: _refusal,
        QueueError: _refusal,
        ClientDisconnect: _gone,
    }
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)


async def _reap(store: Pictures) -> None:
    """Removes pictures that nobody uses, now and every hour."""
    while True:
        store.reap()
        await asyncio.sleep(REAP_SECONDS)


class _Page:
    """The answers to the requests of the page."""

    def __init__(
        self,
        store: Pictures,
        queue: Queue,
        controls: Sequence[form.Control],
        closing: asyncio.Event,
    ) -> None:
        self._store, self._queue, self._controls = store, queue, controls
        self._closing = closing
        self._streams = 0

    async def form(self, request: Request) -> Response:
        examples = [
            {**_shown(upload), "kind": EXAMPLES[upload.title]} for upload in self._store.examples()
        ]
        return JSONResponse(
            {
                "controls": [dataclasses.asdict(control) for control in self._controls],
                "presets": form.presets(self._controls),
                "examples": examples,
                "max_bytes": uploads.MAX_BYTES,
                "max_pixels": reader.MAX_PIXELS,
                "max_group": MAX_GROUP,
                "set_by_alpha": SET_BY_ALPHA,
                "synthesis": form.synthesis(self._controls),
            }
        )

    async def upload(self, request: Request) -> Response:
        title, chunks = request.query_params.get("name", ""), request.stream()
        try:
            if _declared_length(request) > uploads.MAX_BYTES:
                raise uploads.too_large()
            upload = await self._store.receive(chunks, title[:1000])
        except UploadError as error:
            # One that waits to be asked for the body sees the answer without sending it.
            if error.status == 413 and "expect" not in request.headers:
                await _drain(chunks)
            raise
        return JSONResponse(_shown(upload), 201)

    async def picture(self, request: Request) -> Response:
        return _file(self._upload(request).view, "image/jpeg", lasting=True)

    async def whole_picture(self, request: Request) -> Response:
        """Gives a picture with all its pixels, where browsers can show it."""
        upload = self._upload(request)
        if upload.path.suffix == ".png":
            return _file(upload.path, "image/png", lasting=True)
        return _file(upload.view, "image/jpeg", lasting=True)

    def _upload(self, request: Request) -> Upload:
        upload = self._store.find(request.path_params["id"])
        if upload is None:
            raise HTTPException(404, "there is no such picture")
        return upload

    async def prepare(self, request: Request) -> Response:
        self._queue.prepare(await self._new_run(await _json_body(request)))
        return Response(status_code=202)

    async def submit(self, request: Request) -> Response:
        run = await self._new_run(await _json_body(request))
        self._queue.submit([run])
        return JSONResponse(self._queue.summary(run), 201)

    async def submit_group(self, request: Request) -> Response:
        """Takes several runs, or none of them if one cannot be had."""
        wanted = (await _json_body(request)).get("runs")
        if not isinstance(wanted, list) or not all(isinstance(body, dict) for body in wanted):
            raise HTTPException(422, "runs must be a list of objects")
        if not 1 <= len(wanted) <= MAX_GROUP:
            raise HTTPException(422, f"these are {len(wanted)} pictures; there may be {MAX_GROUP}")
        group = [await self._new_run(body) for body in wanted]
        self._queue.submit(group)
        return JSONResponse([self._queue.summary(run) for run in group], 201)

    async def cancel_group(self, request: Request) -> Response:
        """Cancels what has not ended of a group, those that wait first, or they would begin."""
        name = request.path_params["group"]
        group = [run for run in self._queue.runs.values() if run.group == name]
        if not group:
            raise HTTPException(404, "there is no such group")
        for run in sorted(group, key=lambda run: run.state != "waiting"):
            self._queue.cancel(run)
        return Response(status_code=202)

    async def run(self, request: Request) -> Response:
        return JSONResponse(self._queue.summary(self._run(request)))

    async def cancel(self, request: Request) -> Response:
        run = self._run(request)
        self._queue.cancel(run)
        return JSONResponse(self._queue.summary(run), 202)

    async def remove(self, request: Request) -> Response:
        self._queue.remove(self._run(request))
        return Response(status_code=204)

    async def preview(self, request: Request) -> Response:
        return _file(self._queue.file(self._run(request), "preview.jpg"), "image/jpeg")

    async def thumbnail(self, request: Request) -> Response:
        path = self._queue.file(self._run(request), "thumbnail.jpg")
        return _file(path, "image/jpeg", lasting=True)

    async def result(self, request: Request) -> Response:
        run = self._run(request)
        download = f"{run.name}.png"
        kept = None if request.query_params.get("show") else download
        return _file(self._queue.file(run, "out.png"), "image/png", download=kept, lasting=True)

    async def results(self, request: Request) -> Response:
        """Gives all pictures, or those of a group, as a zip file with their command lines."""
        group = request.query_params.get("group")
        chosen = [run for run in self._queue.runs.values() if group in (None, run.group)]
        painted = sorted(
            (run for run in chosen if run.ended and self._queue.file(run, "out.png").exists()),
            key=lambda run: run.created,
        )
        if not painted:
            raise HTTPException(404, "there is no such picture yet")
        names = form.file_names([(run.id, f"{run.name}.png") for run in painted])
        commands = "".join(
            f"{name}:\n{run.command}\n\n" for name, run in zip(names, painted, strict=True)
        )
        entries = [
            zipped.Entry(name, self._queue.file(run, "out.png"), run.created)
            for name, run in zip(names, painted, strict=True)
        ]
        entries.append(zipped.Entry("commands.txt", commands.encode(), painted[-1].created))
        headers = {"Content-Disposition": 'attachment; filename="jaxmrf.zip"'}
        content = zipped.stream(entries)
        return StreamingResponse(content, media_type="application/zip", headers=headers)

    async def input(self, request: Request) -> Response:
        """Gives a picture that a run was made of, under the name that its command line has."""
        run, role = self._run(request), request.path_params["role"]
        number = request.path_params["number"]
        names = run.inputs.get(role, [])
        upload = self._store.find(names[number]) if number < len(names) else None
        if upload is None:
            raise HTTPException(404, "this picture is no longer kept")
        title = run.titles[role][number]
        return _file(upload.path, "application/octet-stream", download=title, lasting=True)

    async def events(self, request: Request) -> Response:
        if self._streams >= MAX_STREAMS:
            raise HTTPException(503, "too many pages are open")
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def settings_error(self, request: Request, error: ConfigError) -> Response:
        names = {control.name for control in self._controls}
        control = error.option if error.option in (*names, *ROLES) else None
        return JSONResponse({"message": str(error), "control": control}, 422)

    async def _stream(self) -> AsyncIterator[str]:
        """Yields all runs, then each that changes; what comes too fast is told once."""
        self._streams += 1
        listener = self._queue.listen()
        numbers = itertools.count(1)
        try:
            everything = list(map(self._queue.summary, self._queue.runs.values()))
            yield _event(next(numbers), "runs", everything)
            while not self._closing.is_set():
                if not await _either(listener.news, self._closing, HEARTBEAT_SECONDS):
                    yield ": still here\n\n"
                listener.news.clear()
                changed, listener.changed = listener.changed, set()
                for name in changed:
                    run = self._queue.runs.get(name)
                    told = {"id": name, "gone": True} if run is None else self._queue.summary(run)
                    yield _event(next(numbers), "run", told)
                await asyncio.sleep(EVENT_SECONDS)
        finally:
            self._streams -= 1
            self._queue.leave(listener)

    async def _new_run(self, body: Mapping[str, Any]) -> Run:
        """Returns the run of the options and pictures that a request names."""
        values, inputs = _options(body), self._inputs(body)
        # Reading weights and following the network's layers takes up to a second.
        return await asyncio.to_thread(self._queue.new_run, values, inputs)

    def _inputs(self, body: Mapping[str, Any]) -> dict[str, list[Upload]]:
        """Returns the pictures that a request names, by what they are for.

        ``command`` is ``synthesize`` where there is to be no photograph.
        """
        needed = ["style"] if body.get("command") == "synthesize" else ["content", "style"]
        inputs: dict[str, list[Upload]] = {}
        for role in ROLES:
            names = body.get(role) or []
            names = names if isinstance(names, list) else [names]
            most = MAX_STYLES if role in SEVERAL else 1
            if len(names) > most:
                raise UploadError(422, f"{len(names)} are more than {most}", control=role)
            uploads = [self._store.find(name) for name in names]
            if None in uploads:
                raise UploadError(
                    422, f"this {_SPOKEN[role]} is no longer kept; choose it again", control=role
                )
            if not uploads and role in needed:
                raise UploadError(422, f"choose a {_SPOKEN[role]} first", control=role)
            if uploads:
                inputs[role] = [upload for upload in uploads if upload is not None]
        if "content" not in needed and "content" in inputs:
            raise UploadError(422, "a synthesis has no photograph", control="content")
        return inputs

    def _run(self, request: Request) -> Run:
        run = self._queue.runs.get(request.path_params["id"])
        if run is None:
            raise HTTPException(404, "there is no such run")
        return run


def _options(body: Mapping[str, Any]) -> dict[str, object]:
    options = body.get("options", {})
    if not isinstance(options, dict):
        raise HTTPException(422, "options must be an object")
    return options


def _static(file: Traversable) -> Route:
    """Returns the route of a file of the page."""
    media_type = _MEDIA_TYPES[Path(file.name).suffix]
    content = file.read_bytes()
    if file.name == _PAGE:
        content = content.replace(b"KINDS-OF-PICTURES", decode.accepted().encode())

    async def answer(request: Request) -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return Route("/" if file.name == _PAGE else f"/{file.name}", answer)


def _file(
    path: Path, media_type: str, *, download: str | None = None, lasting: bool = False
) -> Response:
    """Returns a file of ours, read at once unless it is `lasting` and never replaced."""
    cache = "private, max-age=31536000, immutable" if lasting else "no-store"
    headers = {"Cache-Control": cache}
    try:
        if not lasting:
            return Response(path.read_bytes(), media_type=media_type, headers=headers)
        path.stat()
    except FileNotFoundError:
        raise HTTPException(404, "there is no such picture yet") from None
    return FileResponse(path, media_type=media_type, filename=download, headers=headers)


def _shown(upload: Upload) -> dict[str, Any]:
    names = ("id", "title", "width", "height")
    return {name: getattr(upload, name) for name in names}


def _declared_length(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Reads the rest of a body without keeping it."""
    drained = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in chunks:
                drained += len(chunk)
                if drained > DRAIN_BYTES:
                    return


async def _json_body(request: Request) -> dict[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, "this request is too large")
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "this is not JSON") from None
    if not isinstance(values, dict):
        raise HTTPException(422, "this must be an object")
    return values


async def _either(first: asyncio.Event, second: asyncio.Event, seconds: float) -> bool:
    """Waits until one of two events is set; returns whether that was in time."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (first, second)]
    try:
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for task in waiting:
            task.cancel()


def _event(number: int, name: str, data: object) -> str:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"


async def _http_error(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"message": error.detail, "control": None}, error.status_code)


async def _refusal(request: Request, error: UploadError | QueueError) -> Response:
    control = getattr(error, "control", None)
    return JSONResponse({"message": str(error), "control": control}, error.status)


async def _gone(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=400)  # nobody is there to read it
