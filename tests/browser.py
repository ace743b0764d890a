"""A headless Chromium that a test drives by its DevTools protocol."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import PATIENCE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


class Tab:
    """One page, and all that it did: requests, errors, frames of websockets."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, **given: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": given})
        async with asyncio.timeout(PATIENCE):
            while (said := await self._socket.receive_json()).get("id") != self._number:
                self.events.append(said)
        assert "error" not in said, said
        result: dict[str, Any] = said["result"]
        return result

    async def open(self, address: str) -> None:
        for domain in ("Log", "Runtime", "Network", "Page"):
            await self.call(f"{domain}.enable")
        assert "errorText" not in await self.call("Page.navigate", url=address)

    async def says(self, script: str) -> Any:
        """The value of some JavaScript in the page."""
        said = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def wait(self, method: str, holding: str = "") -> None:
        """Until the page has had such an event, its words among what came with it."""
        async with asyncio.timeout(PATIENCE):
            while not any(
                one["method"] == method and holding in json.dumps(one) for one in self.events
            ):
                self.events.append(await self._socket.receive_json())

    def asked(self) -> list[str]:
        requests = [e for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [str(one["params"]["request"]["url"]) for one in requests]

    def wrong(self) -> list[dict[str, Any]]:
        """Exceptions, and what the browser refused or missed; an icon may be missed."""
        entries = [e for e in self.events if e["method"] == "Log.entryAdded"]
        return [e for e in self.events if e["method"] == "Runtime.exceptionThrown"] + [
            e
            for e in entries
            if e["params"]["entry"]["level"] == "error"
            and "favicon" not in e["params"]["entry"].get("url", "")
        ]


@contextlib.asynccontextmanager
async def tab(folder: Path) -> AsyncIterator[Tab]:
    """A page of a browser whose profile lies in `folder`."""
    assert CHROMIUM
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")
    port = folder / "DevToolsActivePort"
    with subprocess.Popen(
        [CHROMIUM, *flags, f"--user-data-dir={folder}", "--window-size=1200,700", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            async with aiohttp.ClientSession() as session, asyncio.timeout(2 * PATIENCE):
                while not (port.exists() and port.read_text().count("\n")):
                    await asyncio.sleep(0.05)
                listed = f"http://127.0.0.1:{port.read_text().split()[0]}/json"
                pages: list[dict[str, Any]] = []
                while not pages:
                    async with session.get(listed) as answer:
                        pages = [one for one in await answer.json() if one["type"] == "page"]
                address = pages[0]["webSocketDebuggerUrl"]
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    yield Tab(socket)
        finally:
            process.terminate()
