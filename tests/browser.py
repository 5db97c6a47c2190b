"""A real headless Chromium for the tests of pages, driven over two pipes: no port, no driver, no network.

`open_page` skips the test where the machine has no Chromium; Debian's package is `chromium`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the tests may run as root, for whom Chromium has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_PATIENCE_S = 120.0
"""For all that a test does with a page, on a machine that other tests keep busy."""


@dataclass
class Page:
    """One page of a browser.

    Attributes:
        messages: What the console showed and what the page threw, as text.
        requests: The addresses that the page asked for, its own among them.
    """

    _commands: BinaryIO
    _answers: BinaryIO
    _session: str = ""
    _number: int = 0
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _loaded: bool = False

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol; AssertionError where it fails."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded."""
        self._loaded = False
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self._loaded:
            self._next()

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key: its name, its key code and the text that it types."""
        both = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **both, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **both)

    def prefer(self, scheme: str) -> None:
        """Let the system prefer "light" or "dark" colours."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def _next(self) -> dict[str, Any]:
        """The next message of the browser."""
        message: dict[str, Any] = json.loads(_read_message(self._answers))
        method, values = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled":
            self.messages.append(" ".join(str(value.get("value")) for value in values["args"]))
        elif method == "Runtime.exceptionThrown":
            self.messages.append(str(values["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.messages.append(str(values["entry"]["text"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(str(values["request"]["url"]))
        elif method == "Page.loadEventFired":
            self._loaded = True
        return message


def _read_message(answers: BinaryIO) -> bytes:
    """The bytes up to the next zero; AssertionError where the browser has gone."""
    data = bytearray()
    while not data.endswith(b"\0"):
        byte = answers.read(1)
        assert byte, "Chromium ended, or was ended because it took too long"
        data += byte
    return bytes(data[:-1])


@contextmanager
def open_page(path: Path) -> Iterator[Page]:
    """A file in a browser of its own, which ends with the block."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium: install Debian's package chromium")
    to_browser, commands = os.pipe()
    answers, from_browser = os.pipe()
    with tempfile.TemporaryDirectory(prefix="raie-chromium-", ignore_cleanup_errors=True) as folder:
        # Chromium reads commands from descriptor 3 and answers on 4, whatever numbers the pipes have here.
        script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", program, *_FLAGS, f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        limit = threading.Timer(_PATIENCE_S, _end, [process])
        limit.start()
        with open(commands, "wb", buffering=0) as writing, open(answers, "rb") as reading:
            page = Page(writing, reading)
            try:
                _attach(page)
                page.open(path)
                yield page
            finally:
                limit.cancel()
                _end(process)
                process.wait(30)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a browser with all its processes, which are a group of their own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _attach(page: Page) -> None:
    """Make the page one of the browser's own, whose events it hears."""
    target = page.call("Target.createTarget", url="about:blank")["targetId"]
    page._session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        page.call(f"{domain}.enable")
