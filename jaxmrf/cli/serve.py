"""The command `jaxmrf serve`: the page, on this machine."""

import contextlib
import importlib.util
import secrets
import socket
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import filelock
import platformdirs
import typer

from jaxmrf.cli.arguments import Device, WeightsFile
from jaxmrf.cli.terminal import say, user_errors
from jaxmrf.errors import EXTRAS, AddressError, ConfigError, FolderError, MissingExtraError
from jaxmrf.web import addresses
from jaxmrf.web.messages import Setup

LOOPBACK = "127.0.0.1"
PORT = 8262


def command(
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's are refused.")
    ] = LOOPBACK,
    port: Annotated[int, typer.Option(help="0: any that is free.", min=0, max=65535)] = PORT,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Take addresses that others can reach.")
    ] = False,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where pictures and runs are kept. [default: the user's data folder]"),
    ] = None,
    disk: Annotated[
        float, typer.Option(help="Gigabytes that pictures and runs may take.", min=0.1)
    ] = 5.0,
    weights_file: WeightsFile = None,
    device: Device = "auto",
    lanes: Annotated[
        int | None,
        typer.Option(
            help="Variations that are painted side by side. [default: as many as the device gains "
            "from, on a CPU one]",
            min=1,
        ),
    ] = None,
) -> None:
    """Shows a page where you drop two pictures and watch it paint."""
    with user_errors():
        _check_extra()
        _check_host(host, allow_remote)
        place = folder or Path(platformdirs.user_data_dir("jaxmrf")) / "page"
        with _locked(place), _bound(host, port) as listening:
            from jaxmrf.web import server

            token = secrets.token_urlsafe(24)
            address = _url(host, listening.getsockname()[1], token)
            setup: Setup = {
                "weights": None if weights_file is None else str(weights_file.resolve()),
                "device": None if device == "auto" else device,
                "lanes": lanes,
            }
            site = server.Site(host, listening, place, int(disk * 1e9), token, setup)
            say(f"pictures and runs are kept in {place}")
            print(f"open {address}", flush=True)
            if open_browser:
                webbrowser.open(address)
            server.serve(site)


def _check_extra() -> None:
    """Raises if the libraries of the page are not installed."""
    if any(importlib.util.find_spec(name) is None for name in EXTRAS["web"]):
        raise MissingExtraError("jaxmrf serve", "web")


def _check_host(host: str, allow_remote: bool) -> None:
    """Raises for an address that others can reach unless that was allowed; warns of it."""
    if addresses.is_loopback(host):
        return
    if not allow_remote:
        raise ConfigError(
            f"other machines can reach {host}; say --allow-remote if they shall use this one"
        )
    say(
        "warning: other machines can reach this page. Whoever has its address, or reads along "
        "on the network (it is not encrypted), can use this machine and see all pictures"
    )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Makes a folder that only its owner may enter, and holds it for this server."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / "lock", timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise FolderError(
            f"another jaxmrf serve keeps its runs in {folder}; choose another --folder"
        ) from None
    except OSError as error:
        raise FolderError(
            f"cannot keep anything in {folder}: {error.strerror}; choose another --folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """Binds a socket to an address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise AddressError(
            f"cannot listen on {host} port {port}: {error.strerror}; try --port 0"
        ) from None
    with listening:
        yield listening


def _url(host: str, port: int, token: str) -> str:
    name = LOOPBACK if host in ("0.0.0.0", "::") else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/?token={token}"
