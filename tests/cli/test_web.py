"""The app in a browser: a real server, asked as a browser asks, and as others might."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import COMMAND, PATIENCE
from tests.tui.homes import make_run
from traindeck.core.base.home import Home
from traindeck.tui.web.shown import OF_THE_PAGE

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("textual_serve")
pytestmark = pytest.mark.slow


class Server:
    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [COMMAND, "web", "--port", "0", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()
        self.base, _, self.token = self.address.partition("/?token=")

    def end(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        said = self.process.communicate(timeout=PATIENCE)[1]
        return str(said)


@pytest.fixture
def server(home: Home) -> Iterator[Server]:
    made = Server()
    yield made
    assert "Traceback" not in made.end()


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))  # of an address too


async def painted(websocket: aiohttp.ClientWebSocketResponse, words: str) -> str:
    """What the app wrote until it had painted the words."""
    text = ""
    async with asyncio.timeout(PATIENCE):
        while words not in text:
            text += re.sub(
                r"\x1b\[[0-9;?]*[A-Za-z]", "", (await websocket.receive_bytes()).decode()
            )
    return text


async def test_with_the_address_the_app_is_shown_and_takes_keys(server: Server, home: Home) -> None:
    make_run(home, 1, name="seen-from-afar")
    async with session() as browser:
        async with browser.get(server.address) as page:
            assert (page.status, str(page.url)) == (200, f"{server.base}/")
            text = await page.text()
        [socket] = re.findall(r'data-session-websocket-url="(\S+)"', text)
        for part in re.findall(r'(?:href|src)="(/static/\S+)"', text):
            async with browser.get(server.base + part) as found:
                assert found.status == 200, part
        outside = re.findall(r"(?:https?:)?//[a-z0-9.:]+", text.replace(socket, ""))
        assert not outside, "the page asks nothing of the network"

        async with browser.ws_connect(
            f"{socket}?width=90&height=24", headers={"Origin": server.base}
        ) as websocket:
            await painted(websocket, "seen-from-afar")
            await websocket.send_str(json.dumps(["stdin", "2"]))
            await painted(websocket, "torch-digits")
            await websocket.send_str(json.dumps(["stdin", "q"]))
            async with asyncio.timeout(PATIENCE):
                while (await websocket.receive()).type == aiohttp.WSMsgType.BINARY:
                    pass
            assert websocket.close_code == 1000


async def test_what_is_launched_on_the_page_knows_nothing_of_the_page(
    monkeypatch: pytest.MonkeyPatch, home: Home, request: pytest.FixtureRequest
) -> None:
    first = home.recipes / "first.py"
    first.write_text(
        '# /// script\n# [tool.traindeck]\n# name = "aaa-first"\n# framework = "torch"\n# ///\n'
        "import json, os, pathlib\n"
        "folder = pathlib.Path(os.environ['TRAINDECK_RUN_FOLDER'])\n"
        "(folder / 'artifacts' / 'told.json').write_text(json.dumps(dict(os.environ)))\n"
    )
    for name in OF_THE_PAGE:
        monkeypatch.delenv(name, raising=False)
    server: Server = request.getfixturevalue("server")
    async with session() as browser:
        async with browser.get(server.address) as page:
            [socket] = re.findall(r'data-session-websocket-url="(\S+)"', await page.text())
        async with browser.ws_connect(
            f"{socket}?width=120&height=40", headers={"Origin": server.base}
        ) as websocket:
            await painted(websocket, "$ traindeck run aaa-first")
            await websocket.send_str(json.dumps(["stdin", "\x0c"]))  # ctrl+l
            await painted(websocket, "aaa-first finished")
    [told] = home.runs.glob("*/artifacts/told.json")
    given = json.loads(told.read_text())
    assert set(OF_THE_PAGE).isdisjoint(given), {name: given.get(name) for name in OF_THE_PAGE}
    assert given["TRAINDECK_HOME"] == str(home.root)


@pytest.mark.parametrize("path", ["/", "/ws", "/static/js/textual.js", "/download/x"])
async def test_without_the_token_there_is_nothing(server: Server, path: str) -> None:
    async with session() as stranger:
        for query in ("", "?token=", "?token=x", "?token=%C3%A9"):
            async with stranger.get(server.base + path + query) as answer:
                assert answer.status == 401
                assert "Set-Cookie" not in answer.headers
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await stranger.ws_connect(server.base + path)
        assert refused.value.status == 401


async def test_pages_of_others_are_refused_though_the_cookie_is_sent(server: Server) -> None:
    port = server.base.rpartition(":")[2]
    async with session() as browser:
        async with browser.get(server.address, allow_redirects=False) as seen:
            assert seen.status == 302
            assert "HttpOnly" in seen.headers["Set-Cookie"]
            assert "SameSite=Lax" in seen.headers["Set-Cookie"]
        for origin in (f"http://127.0.0.1:{int(port) - 1}", "http://evil.example", "null"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await browser.ws_connect(f"{server.base}/ws", headers={"Origin": origin})
            assert refused.value.status == 403, origin
        # A name that was led here (DNS rebinding) has no cookie of ours; with the token, the same.
        for host in (
            "evil.example",
            f"evil.example:{port}",
            "192.0.2.1",
            "[",
            "localhost.evil.example",
        ):
            async with browser.get(server.address, headers={"Host": host}) as answer:
                assert answer.status in (400, 403), host
        for host in (f"localhost:{port}", "localhost:9000", f"[::1]:{port}"):  # ssh -L
            async with browser.get(f"{server.base}/", headers={"Host": host}) as answer:
                assert answer.status == 200, host


def test_each_start_has_a_token_of_its_own_and_listens_on_loopback(home: Home) -> None:
    first, second = Server(), Server()
    assert first.token != second.token
    assert min(len(first.token), len(second.token)) >= 32
    assert {first.base.rpartition(":")[0], second.base.rpartition(":")[0]} == {"http://127.0.0.1"}
    first.end()
    second.end()
    assert first.process.returncode == second.process.returncode == 0


def test_a_port_that_is_taken_is_told_in_one_line(server: Server) -> None:
    port = server.base.rpartition(":")[2]
    done = subprocess.run([COMMAND, "web", "--port", port], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: 127.0.0.1:{port} cannot be listened on: Address already")


def test_without_the_extra_it_says_what_installs_it(home: Home, tmp_path: Path) -> None:
    hides = (
        "import sys; sys.modules['textual_serve'] = None; sys.argv = ['traindeck', 'web'];"
        "from traindeck.tui.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", hides], capture_output=True, text=True)
    assert done.returncode == 4
    assert done.stderr == "error: this needs textual-serve: pip install 'traindeck[web]'\n"
