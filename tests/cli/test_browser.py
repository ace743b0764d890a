"""What is shown in a browser, in a real one."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("textual_serve")

from tests.browser import Tab, needs_chromium, tab
from tests.cli.test_web import Server
from tests.core.versus.compared import DEVICES, made_mistakes, made_steps, made_twins
from tests.tui.homes import make_run
from traindeck.core.base.home import Home
from traindeck.core.versus.page import html
from traindeck.core.versus.pairs import suite
from traindeck.core.versus.report import make

pytestmark = [pytest.mark.slow, needs_chromium]


def written(page: Tab) -> str:
    """What the app wrote to the page's terminal."""
    frames = [e for e in page.events if e["method"] == "Network.webSocketFrameReceived"]
    data = [one["params"]["response"] for one in frames]
    return b"".join(
        base64.b64decode(one["payloadData"]) for one in data if one["opcode"] == 2
    ).decode()


async def test_the_app_is_painted_and_takes_keys(home: Home, tmp_path: Path) -> None:
    make_run(home, 1, name="wide-net")
    server = Server()
    try:
        async with tab(tmp_path / "profile") as page:
            await page.open(server.address)
            await page.wait("Network.webSocketFrameReceived")
            while "wide-net" not in written(page):
                await page.says("1")
            # The token has left the address, and no script of the page can read the cookie.
            assert await page.says("location.href") == f"{server.base}/"
            assert await page.says("document.cookie") == ""
            assert await page.says("document.querySelector('.xterm-screen').offsetWidth") > 600
            fonts = "document.fonts.ready.then(() => [...document.fonts].map(f => f.status))"
            said = await page.call("Runtime.evaluate", expression=fonts, awaitPromise=True)
            assert said["result"]["type"] == "object"
            assert {
                url for url in page.asked() if not url.startswith((server.base, "data:"))
            } == set()
            assert page.wrong() == []
            await page.says("document.querySelector('.xterm-helper-textarea').focus()")
            for kind in ("keyDown", "keyUp"):
                await page.call(
                    "Input.dispatchKeyEvent", type=kind, key="q", code="KeyQ",
                    text="q" if kind == "keyDown" else "", windowsVirtualKeyCode=81,
                )  # fmt: skip
            await page.wait("Network.webSocketClosed")
    finally:
        assert "Traceback" not in server.end()


async def test_the_report_needs_no_network(home: Home, tmp_path: Path) -> None:
    made_twins(home)
    made_steps(home)
    made_mistakes(home)
    path = tmp_path / "report.html"
    path.write_text(html(make(home, suite(home, None, {}), devices=lambda: DEVICES)))
    async with tab(tmp_path / "profile") as page:
        await page.open(path.as_uri())
        await page.wait("Page.loadEventFired")
        boxes = "[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().width)"
        widths = await page.says(boxes)
        assert len(widths) > 10 and min(widths) > 40
        lines = "[...document.querySelectorAll('polyline')].map(l => l.getBBox().width)"
        assert max(await page.says(lines)) > 100
        wide = "document.documentElement.scrollWidth <= innerWidth"
        assert await page.says(wide), "the page is wider than its window"
        assert page.asked() == [path.as_uri()]
        assert page.wrong() == [], json.dumps(page.wrong())
