"""Who may see the app in a browser: those who have the token, from pages of this server alone.

Any program and any web page on the machine can reach a port of loopback. So a fresh token a start
stands in the printed address and becomes a cookie; `Host` has to be a name of this machine, as a
page elsewhere can have a name of its own led here (DNS rebinding), and `Origin` this very server,
as a page of another port has our cookie sent along.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable
from importlib.resources import files
from urllib.parse import urlsplit

from aiohttp import web
from textual_serve import server as textual_serve
from textual_serve.app_service import AppService

CLOSING_SECONDS = 1.0
"""How long pages are waited for at the end; their apps are then told to quit."""
FONT_SIZE = 16
APP = shlex.join([sys.executable, "-P", "-m", "traindeck.tui.web.shown"])

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ShownApp(AppService):
    """textual-serve's, which ends after its process, not after that process's last word.

    A loop that closes in between leaves the process's pipes to be closed without one: a traceback
    at the end of the server.
    """

    async def run(self) -> None:
        await super().run()
        assert self._process is not None
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


vars(textual_serve)["AppService"] = ShownApp  # the name by which the server makes one


class GuardedServer(textual_serve.Server):
    """textual-serve's, with a page that asks nothing of the network, behind a token."""

    def __init__(self, host: str, port: int, said: Callable[[str], None]) -> None:
        super().__init__(f"exec {APP}", host, port, title="traindeck")
        self._token = secrets.token_urlsafe(32)
        self._cookie = f"traindeck-{port}"  # cookies are of a machine, not of a port
        self._names = {"localhost", host.lower()}
        self._beyond = not is_loopback(host)
        if self._beyond:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self._said = said
        self._page = files(__package__).joinpath("page.html").read_text()

    @property
    def address(self) -> str:
        shown = "localhost" if self.host in ("", "0.0.0.0", "::") else self.host
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}/?token={self._token}"

    def serve_on(self, listening: socket.socket) -> None:
        """Until SIGINT or SIGTERM. No log of requests: the first would have the token in it."""
        web.run_app(
            self._make_app(),
            sock=listening,
            access_log=None,
            print=None,
            shutdown_timeout=CLOSING_SECONDS,
        )

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard)
        app.on_response_prepare.append(self._harden)
        return app

    async def on_startup(self, app: web.Application) -> None:
        self._said(self.address)

    async def handle_index(self, request: web.Request) -> web.Response:
        size = request.query.get("fontsize", "")
        shown = size if size.isascii() and size.isdigit() and len(size) <= 2 else str(FONT_SIZE)
        text = self._page.replace("HOST", request.host).replace("FONT_SIZE", shown)
        return web.Response(text=text, content_type="text/html")

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if not self._is_ours(request.host):
            raise web.HTTPForbidden(text=f"{request.host} is no name of this server\n")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text=f"not for pages of {origin}\n")
        in_address = request.query.get("token", "")
        given = in_address or request.cookies.get(self._cookie, "")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            raise web.HTTPUnauthorized(text="open the address that `traindeck web` printed\n")
        if not in_address or request.path != "/":
            return await handler(request)
        seen = web.HTTPFound("/")  # the token is not to stay in the address, nor in the history
        # Lax: with Strict the page would not open from a link that another page shows.
        seen.set_cookie(self._cookie, self._token, httponly=True, samesite="Lax")
        raise seen

    def _is_ours(self, host: str) -> bool:
        """Whether a `Host` leads here by itself: an address does, and a name of this machine."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or (is_address(name) if self._beyond else is_loopback(name))

    async def _harden(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(
            {
                "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
                "style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; "
                f"connect-src 'self' ws://{request.host}; base-uri 'none'; form-action 'none'; "
                "frame-ancestors 'none'",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
            }
        )


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)
