"""MLflow's pages after a sync, by clicks only: from the model to a version, to a region's version and to its run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raie.registry.mlflow.client import answers
from raie.workspace import Workspace
from tests.chromium import Page, running_chromium
from tests.conftest import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def address(workspace: Workspace) -> Iterator[str]:
    """Where `raie mlflow ui` serves the workspace's records, as its own words say it."""
    command = [sys.executable, "-m", "raie.cli.main", "--workspace", str(workspace.folder), "mlflow"]
    subprocess.run([*command, "sync"], cwd=ROOT, check=True, capture_output=True, timeout=200)
    port = free_port()
    serving = [*command, "ui", "--port", str(port), "--no-open"]
    with (workspace.folder / "ui.log").open("w+") as log:
        server = subprocess.Popen(serving, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + 120
            while not answers(f"http://127.0.0.1:{port}"):
                assert server.poll() is None, (workspace.folder / "ui.log").read_text()
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.2)
            said = (workspace.folder / "ui.log").read_text()
            yield said.split("serving at ")[1].split()[0]
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)


REGIONS = (
    "[...document.querySelectorAll('table')].find(t => t.innerText.includes('Here since'))"
    ".innerText.split('\\n').slice(1).map(row => row.split('\\t').map(cell => cell.trim()))"
)
"""The rows of the table of regions."""


def link(text: str, path: str) -> str:
    """The link with this text whose address holds the path."""
    return f"[...document.querySelectorAll('a')].find(a => a.innerText.trim() === {text!r} && a.href.includes({path!r}))"


def reads(text: str) -> str:
    """Whether the page shows a text."""
    return f"document.body.innerText.includes({text!r})"


def follow(page: Page, element: str) -> None:
    """Clicks on a link, in this tab where it would open another."""
    page.until(f"{element} != null")
    page.run(f"{element}.removeAttribute('target')")
    page.click_on(element)


def test_clicks_lead_from_the_models_page_to_each_regions_version_and_the_run_that_made_it(
    address: str, tmp_path: Path
) -> None:
    blank = tmp_path / "blank.html"
    blank.write_text("<title>blank</title>")
    with running_chromium() as browser, browser.page(blank, width=1600, height=1100) as page:
        page.visit(address)
        page.until(reads("Its whole history on one page"))
        page.until(reads("Edit 6"))
        page.picture(tmp_path / "model.png")

        follow(page, link("Version 6", "/models/recsys/versions/6"))
        page.until(reads("Here since"))
        page.picture(tmp_path / "version.png")
        assert page.run(REGIONS) == [
            ["1", "reverted", "v1", "edit 1", "this edit"],
            ["0", "unchanged", "v2", "edit 3", "edit 3"],
            ["2", "unchanged", "v2", "edit 5", "edit 5"],
            ["3", "unchanged", "v1", "edit 3", "edit 3"],
        ]

        follow(page, link("v2", "/models/m-"))
        page.until(reads("Version before"))
        page.until(reads("recsys-region-0-v2"))
        page.picture(tmp_path / "region.png")
        follow(page, link("v1", "/models/m-"))
        page.until(reads("recsys-region-0-v1"))
        page.until(reads("none: this is the first"))

        page.visit(address)
        follow(page, link("Version 6", "/models/recsys/versions/6"))
        follow(page, link("edit 5", "/models/recsys/versions/5"))
        page.until(reads("Version 5"))
        follow(page, link("edit 3", "/runs/"))
        page.until(reads("region 0: update"))
        page.until(reads("Parent run"))
        # MLflow asks its own server for what this one has not.
        assert [text for text in page.complaints if "Failed to load resource" not in text] == []
