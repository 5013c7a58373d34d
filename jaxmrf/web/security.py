"""Who may speak to the server: Host, Origin and token are checked before anything else.

The token of the printed URL is exchanged for a cookie, because pictures, downloads and
event streams are fetched by the browser itself, which can send no header of ours.
HttpOnly: no script reads it. SameSite=Strict: no request that another site starts has it.
Cookies know neither ports nor schemes, so its name has the port, and requests that
another page on the same host starts are recognized by Origin and Sec-Fetch-Site. It holds
a secret of the folder, not the token, so open pages live through a restart of the server.
"""

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxmrf.web import addresses

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_ENTRANCE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>jaxmrf</title>
<link rel="icon" href="/icon.svg"><meta http-equiv="refresh" content="0;url=/">
<p><a href="/">Enter</a></p></html>"""

_STRANGER = """<!doctype html><html lang="en"><meta charset="utf-8"><title>jaxmrf</title>
<h1>This page needs its key</h1>
<p>Open the address that <code>jaxmrf serve</code> printed when it started; it ends in
<code>?token=</code> and the key.</p></html>"""


class Guard:
    """Middleware that lets through only requests of the page itself.

    Args:
      app: the application.
      port: of the server.
      hosts: names under which the server is known, without port.
      remote: whether every address of this machine will do as a name.
      token: of the printed URL, also taken as ``Authorization: Bearer``.
      secret: content of the cookie.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        port: int,
        hosts: Collection[str],
        remote: bool,
        token: str,
        secret: str,
    ) -> None:
        self._app, self._port, self._remote = app, port, remote
        self._hosts = {host.lower() for host in hosts}
        self._token, self._secret = token, secret
        self._cookie = f"jaxmrf-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request itself or passes it on; every answer gets the security headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._answer(scope)
        await (answer or self._app)(scope, receive, send_with_headers)

    def _answer(self, scope: Scope) -> Response | None:
        """Returns the answer to a request that is not to be passed on."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return PlainTextResponse("This host name is not served here.", 400)
        if self._is_entrance(scope):
            entrance = HTMLResponse(_ENTRANCE)
            entrance.set_cookie(self._cookie, self._secret, httponly=True, samesite="strict")
            return entrance
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            return PlainTextResponse("Requests of other sites are not answered.", 403)
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return PlainTextResponse("Requests of other sites are not answered.", 403)
        if not self._is_known(headers):
            return HTMLResponse(_STRANGER, 401)
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header is one of ours; any other may be a rebound name."""
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname or "", parts.port or 80
        except ValueError:
            return False
        if port != self._port or parts.username or parts.path:
            return False
        return name in self._hosts or (self._remote and _is_address(name))

    def _is_entrance(self, scope: Scope) -> bool:
        if scope["path"] != "/" or scope["method"] != "GET":
            return False
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return len(tokens) == 1 and _same(tokens[0], self._token)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(token, self._token):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return cookie is not None and _same(cookie.value, self._secret)


def folder_secret(folder: Path) -> str:
    """Returns the secret of a folder, made when there is none yet; only its owner may read it."""
    path = folder / "secret"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32), encoding="ascii")
    return path.read_text(encoding="ascii")


def own_names(host: str) -> set[str]:
    """Returns the names under which a server bound to `host` is known."""
    if addresses.is_loopback(host):
        return {"localhost", "127.0.0.1", "::1", host}
    return {"localhost", host, socket.gethostname(), socket.getfqdn()}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same(received: str, expected: str) -> bool:
    return hmac.compare_digest(received.encode(), expected.encode())
