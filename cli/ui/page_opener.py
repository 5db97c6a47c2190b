"""Opens a page in the browser once its server answers, from a process of its own.

The command that starts a server becomes that server, so somebody else has to wait for it. The opener ends as soon as it
has opened the page, the server has ended, or too much time has passed; it is nobody's child, so it leaves nothing behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from urllib.parse import urldefrag

__all__ = ["has_browser", "open_once_served"]

_PATIENCE_S = 120.0
_LOOK_AGAIN_S = 0.2
_DESKTOPS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


def has_browser() -> bool:
    """Whether this machine has a desktop to open a page on: elsewhere a browser would take the terminal."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in _DESKTOPS)


def open_once_served(url: str) -> None:
    """Opens a page once its server, which this process will become, answers; returns at once.

    Args:
        url: of the page, on this machine.
    """
    # -P: a module of the current folder is not run in place of the installed one.
    command = [sys.executable, "-P", "-m", __name__, url, str(os.getpid())]
    quiet = subprocess.DEVNULL
    subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True, check=False)


def _wait_and_open(url: str, server: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and _is_alive(server):
        if _answers(url):
            webbrowser.open(url)
            return
        time.sleep(_LOOK_AGAIN_S)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(urldefrag(url).url, timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


if __name__ == "__main__" and os.fork() == 0:
    _wait_and_open(sys.argv[1], int(sys.argv[2]))
