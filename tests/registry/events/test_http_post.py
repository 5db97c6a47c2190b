"""One request: only http and https, no redirect, no answer read, and no part of a URL shown but its origin."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from raie.registry import InvalidValue
from raie.registry.errors import EventRefused, ReceiverUnreachable
from raie.registry.events.http_post import checked_url, is_confidential, origin, post
from tests.registry.events.receiver import Service


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/x",
        "gopher://host",
        "//host/path",
        "host/path",
        "https://",
        "https://host:70000/",
        "https://host/a b",
        "https://host/\r\nX: y",
        "https://user:hunter2@host/",
        "https://hunter2@host/",
        "http://[::1",
        "",
    ],
)
def test_what_is_no_plain_http_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        checked_url(url)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_origin_has_no_path_and_a_token_goes_only_where_nobody_can_read_it() -> None:
    assert (
        checked_url("https://hooks.example.org:8443/T0/s3cret?key=1")
        == "https://hooks.example.org:8443/T0/s3cret?key=1"
    )
    assert origin("https://hooks.example.org:8443/T0/s3cret?key=1") == "https://hooks.example.org:8443"
    assert [
        is_confidential(url) for url in ("https://a/", "http://a/", "http://localhost:1/", "http://127.0.0.1/")
    ] == [
        True,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("status", "error"), [(400, EventRefused), (401, EventRefused), (429, ReceiverUnreachable)]
)
def test_a_status_says_whether_the_event_is_refused_or_is_to_come_back_later(
    status: int, error: type[Exception]
) -> None:
    service = Service(status=status)
    with service.running(), pytest.raises(error, match=f"found {status}") as raised:
        post(service.url, b"{}", {})
    assert "s3cretpath" not in str(raised.value)


def test_a_redirect_is_refused_and_its_target_never_asked() -> None:
    target = Service()
    service = Service(status=302, headers={"Location": target.url})
    with (
        target.running(),
        service.running(),
        pytest.raises(EventRefused, match="a redirect, which is not followed"),
    ):
        post(service.url, b"{}", {})
    assert target.requests == []


def test_an_answer_that_comes_byte_by_byte_is_waited_for_no_longer_than_the_whole_request_may_take() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            for byte in b"HTTP/1.1 200 OK\r\n" * 100:
                if done.wait(0.05):
                    return
                connection.sendall(bytes([byte]))

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    with listener, pytest.raises(ReceiverUnreachable, match=r"none within 0\.3 s"):
        post(f"http://127.0.0.1:{listener.getsockname()[1]}/", b"{}", {}, timeout_s=0.3)
    assert time.monotonic() - began < 2
    done.set()
    thread.join()


def test_what_is_no_http_at_all_is_an_outage_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answer = threading.Thread(target=lambda: listener.accept()[0].close())
        answer.start()
        with pytest.raises(ReceiverUnreachable, match=r"a broken connection \(\w+\)"):
            post(f"http://127.0.0.1:{listener.getsockname()[1]}/", b"{}", {}, timeout_s=5)
        answer.join()
