"""A real browser that tests look at pages with: Debian's Chromium, over its DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/ says what the commands and events are.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import pytest

from servers import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM: Final = "chromium"
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_KEYS: Final = {
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    " ": 32,
}


def require_browser() -> None:
    if shutil.which(PROGRAM) is not None:
        return
    if os.environ.get("LOOKER_REQUIRE_REAL_SERVERS") == "1":
        pytest.fail(f"{PROGRAM} is not on PATH, and LOOKER_REQUIRE_REAL_SERVERS=1")
    pytest.skip(f"{PROGRAM} is not on PATH")


class Browser:
    """One browser with an empty profile of its own; pages are opened one after the other."""

    def __init__(self) -> None:
        self._profile = Path(tempfile.mkdtemp(prefix="looker-browser-"))
        self._loop = asyncio.new_event_loop()
        self._session: aiohttp.ClientSession | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [PROGRAM, *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        told = self._profile / "DevToolsActivePort"
        wait_until(lambda: told.exists() and "\n" in told.read_text(), "the browser's port")
        self.address = f"http://127.0.0.1:{told.read_text().split()[0]}"
        self._session = self.wait(_session())
        return self

    def __exit__(self, *error: object) -> None:
        if self._session is not None:
            self.wait(self._session.close())
        self._loop.close()
        if self._process is not None:
            # its own session: the renderers end with it
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE_S)
        shutil.rmtree(self._profile, ignore_errors=True)

    def wait(self, what: Any) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(what, PATIENCE_S))

    @contextlib.contextmanager
    def page(
        self, path: Path, *, width: int = 1280, height: int = 900, scheme: str = "light"
    ) -> Iterator[Page]:
        """Open a file in a tab of its own."""
        assert self._session is not None
        session = self._session

        async def opened() -> tuple[str, Any]:
            async with session.put(f"{self.address}/json/new?about:blank") as answer:
                tab = await answer.json(content_type=None)
            return tab["id"], await session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)

        tab, socket = self.wait(opened())
        page = Page(self, socket)
        try:
            page.open(path, width, height, scheme)
            yield page
        finally:
            self.wait(socket.close())
            self.wait(self._closed(tab))

    async def _closed(self, tab: str) -> None:
        assert self._session is not None
        async with self._session.get(f"{self.address}/json/close/{tab}") as answer:
            await answer.read()


class Page:
    """A tab: what it said, what it asked the network for, and what a person does with it."""

    def __init__(self, browser: Browser, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._browser = browser
        self._socket = socket
        self._numbers = itertools.count(1)
        self._loaded = False
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def open(self, path: Path, width: int, height: int, scheme: str) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self.send("Page.navigate", url=path.as_uri())
        self._browser.wait(self._load())
        # the mouse is where the last tab had left it, and would hover over what is there now
        self.move_to(1, 1)

    async def _load(self) -> None:
        while not self._loaded:
            message = json.loads((await self._socket.receive()).data)
            self._heard(message.get("method"), message.get("params"))

    def send(self, method: str, **parameters: Any) -> Any:
        return self._browser.wait(self._sent(method, parameters))

    async def _sent(self, method: str, parameters: dict[str, Any]) -> Any:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = json.loads((await self._socket.receive()).data)
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._heard(message.get("method"), message.get("params"))

    def _heard(self, method: str | None, parameters: Any) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(parameters["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(json.dumps(parameters["entry"]))

    def evaluate(self, code: str) -> Any:
        """Return the JSON-ready value of an expression; what a promise comes to."""
        answer = self.send(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, code: str) -> Any:
        return wait_until(lambda: self.evaluate(code), code)

    def draw_all(self) -> None:
        """Look at the page from top to bottom, so that every chart that is open is drawn."""
        self.evaluate(
            "(async () => { for (const plot of document.querySelectorAll('.plot')) {"
            " if (plot.closest('details:not([open])')) continue; plot.scrollIntoView();"
            " while (!plot.querySelector('.main-svg'))"
            " await new Promise(requestAnimationFrame); } scrollTo(0, 0); })()"
        )

    def press(self, key: str) -> None:
        common = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        text = {"Enter": "\r", " ": " "}.get(key)
        down = {"type": "keyDown" if text else "rawKeyDown", **common}
        self.send("Input.dispatchKeyEvent", **down, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def write(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def move_to(self, x: float, y: float) -> None:
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def middle(self, selector: str) -> tuple[float, float]:
        box = self.evaluate(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            " one.scrollIntoView({block: 'center'});"
            " const box = one.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        return box[0], box[1]

    def pdf(self) -> bytes:
        """Return the page as it is printed on A4."""
        answer = self.send(
            "Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69
        )
        return base64.b64decode(answer["data"])

    def picture(self, *, whole: bool = True) -> bytes:
        """Return a picture of the page, as PNG."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()
