"""A headless Chromium that opens pages from files, clicks, types and takes pictures; driven over two pipes."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Browser", "Page", "require_chromium", "running_chromium"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
)
_PATIENCE_S = 60
_KEYS = {
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
}
_KEYS |= {"ArrowDown": (40, ""), "Home": (36, ""), "End": (35, ""), "Tab": (9, "")}


def require_chromium() -> str:
    """The path of a Chromium; skips the test where there is none."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"no Chromium on the path ({', '.join(_NAMES)}); Debian's package is chromium")
    return path


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """A browser with an empty profile, while the block runs."""
    path = require_chromium()
    to_browser, from_test = os.pipe()
    to_test, from_browser = os.pipe()

    def hand_over() -> None:
        # Beyond 3 and 4 first, where the pipes might lie already.
        first, second = os.dup(to_browser), os.dup(from_browser)
        os.dup2(first, 3)
        os.dup2(second, 4)

    with tempfile.TemporaryDirectory(prefix="raie-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [path, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=hand_over,
            close_fds=False,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        try:
            with os.fdopen(from_test, "wb", 0) as out, os.fdopen(to_test, "rb", 0) as back:
                yield Browser(out, back)
        finally:
            # The browser and all its processes, which are a group of their own.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@dataclass
class Browser:
    """The two pipes of a browser, and what it said that nobody has asked for yet."""

    out: Any
    back: Any
    number: int = 0
    said: list[dict[str, Any]] = field(default_factory=list)
    pending: bytes = b""

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """Calls a method of the browser or of one page; what else it says meanwhile is kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        self.out.write(json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while (answer := self.read()).get("id") != self.number:
            self.said.append(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def read(self) -> dict[str, Any]:
        """The next message."""
        while b"\0" not in self.pending:
            ready, _, _ = select.select([self.back], [], [], _PATIENCE_S)
            assert ready, f"the browser said nothing for {_PATIENCE_S} s"
            part = self.back.read(1 << 20)
            assert part, "the browser has ended"
            self.pending += part
        message, _, self.pending = self.pending.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed

    @contextmanager
    def page(self, file: Path, *, width: int = 1280, height: int = 800, dark: bool = False) -> Iterator[Page]:
        """A page of its own with this file, once it is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        page.scheme("dark" if dark else "light")
        page.open(file)
        try:
            yield page
        finally:
            self.call("Target.closeTarget", targetId=target)


@dataclass
class Page:
    """One open page."""

    browser: Browser
    session: str

    def call(self, method: str, **parameters: Any) -> Any:
        """Calls a method of this page."""
        return self.browser.call(method, self.session, **parameters)

    def open(self, file: Path) -> None:
        """Loads a file, and waits until it is there."""
        self.call("Page.navigate", url=file.resolve().as_uri())
        self.until("location.protocol === 'file:' && document.readyState === 'complete'")

    def visit(self, url: str) -> None:
        """Goes to an address of this machine; what its scripts then make of the page is waited for with `until`."""
        self.call("Page.navigate", url=url)
        self.until("location.protocol === 'http:' && document.readyState === 'complete'")

    def click_on(self, element: str) -> None:
        """Clicks on the middle of the element that a JavaScript expression gives, once it is there and in the window."""
        self.until(f"{element} != null")
        self.run(f"{element}.scrollIntoView({{block: 'center'}})")
        box = self.run(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({element}.getBoundingClientRect())"
        )
        self.click(*box)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, condition: str) -> None:
        """Waits until a JavaScript condition holds."""
        for _ in range(400):
            if self.run(condition):
                return
            time.sleep(0.02)
        raise AssertionError(f"never true: {condition}")

    def press(self, *keys: str) -> None:
        """Presses keys one after the other: a name as of KeyboardEvent.key, or a character."""
        for key in keys:
            code, text = _KEYS.get(key, (0, key))
            event = {"key": key, "windowsVirtualKeyCode": code, "text": text}
            self.call("Input.dispatchKeyEvent", type="keyDown", **event)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def write(self, text: str) -> None:
        """Types a text into what has the focus."""
        self.call("Input.insertText", text=text)

    def click(self, x: float, y: float) -> None:
        """Presses and releases the left button at a point of the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def scheme(self, name: str) -> None:
        """What the reader's system prefers: "light" or "dark"."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, file: Path) -> None:
        """Writes what the window shows as a PNG."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    @property
    def complaints(self) -> list[str]:
        """What the console shows of this page: errors, warnings, and what its policy refused."""
        self.run("0")
        mine = [said for said in self.browser.said if said.get("sessionId") == self.session]
        return [text for said in mine if (text := _complaint(said["method"], said["params"]))]


def _complaint(method: str, values: dict[str, Any]) -> str:
    if method == "Runtime.exceptionThrown":
        details = values["exceptionDetails"]
        return str(details.get("exception", {}).get("description") or details["text"])
    if method == "Log.entryAdded":
        return f"{values['entry']['level']}: {values['entry']['text']}"
    if method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
        return f"{values['type']}: {values['args']}"
    return ""
