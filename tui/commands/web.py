"""`traindeck web`: the app in a browser."""

from __future__ import annotations

import signal
import socket
from importlib.util import find_spec
from typing import Annotated

import typer

from traindeck.core.base.errors import MissingError, UsageError
from traindeck.tui.commands.output import say

PORT = 8000


def register(app: typer.Typer) -> None:
    app.command("web")(web)


def web(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = PORT,
    host: Annotated[
        str, typer.Option(help="Where to listen; beyond loopback only if you ask for it.")
    ] = "127.0.0.1",
) -> None:
    """Show the app in a browser, until ctrl+c; runs go on.

    The address that is printed holds a token, new at each start: who has it can do in your name
    all that the app can. From another machine: ssh -L 8000:localhost:8000 THIS-MACHINE.
    """
    if any(find_spec(name) is None for name in ("textual_serve", "aiohttp")):
        raise MissingError("this needs textual-serve: pip install 'traindeck[web]'")
    from traindeck.tui.web.server import GuardedServer, is_loopback

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a browser that goes is no end of ours
    listening = _listening(host, port)
    server = GuardedServer(host, listening.getsockname()[1], _tell)
    if not is_loopback(host):
        say(
            "warning: whoever can read this network sees the token and all that is shown, as "
            "nothing is encrypted; safer: loopback, and ssh -L 8000:localhost:8000"
        )
    server.serve_on(listening)


def _listening(host: str, port: int) -> socket.socket:
    try:
        kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=kind)
    except OSError as error:
        other = "; --port 0 takes one that is free" if port else ""
        raise UsageError(f"{host}:{port} cannot be listened on: {error.strerror}{other}") from None


def _tell(address: str) -> None:
    print(address, flush=True)
    say("open it in a browser of this machine; ctrl+c ends it, and the runs go on")
