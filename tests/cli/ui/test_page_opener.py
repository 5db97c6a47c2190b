"""A page opens once its server answers, and never where there is no server or no desktop."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from raie.cli.ui.page_opener import has_browser, open_once_served
from tests.conftest import free_port


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which this machine's browser writes the address that it opens."""
    browser, file = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {file}.new && mv {file}.new {file}\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    return file


def test_the_page_opens_once_its_server_answers_and_not_before(opened: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/#/models/recsys?workflowType=machine_learning"
    open_once_served(url)
    time.sleep(0.5)
    assert not opened.exists()
    with http.server.HTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        deadline = time.monotonic() + 20
        while not opened.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        server.shutdown()
    assert opened.read_text().strip() == url


def test_the_opener_ends_with_a_server_that_never_answers(opened: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/?{time.time_ns()}"
    code = f"from raie.cli.ui.page_opener import open_once_served as opens; opens({url!r})"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    deadline = time.monotonic() + 20
    while _runs(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(url)
    assert not opened.exists()


def _runs(argument: str) -> bool:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return argument in listed


def test_a_machine_without_a_desktop_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert not has_browser()
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_browser()
