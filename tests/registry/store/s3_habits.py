"""Servers that speak S3 with habits of their own: a real one behind a proxy that answers some requests in another way.

A habit is a function of a request and of what passes it on. `Proxy` breaks connections and bytes; this one understands
HTTP, for what it changes is the meaning of an answer.
"""

from __future__ import annotations

import http.client
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

__all__ = [
    "REFUSED",
    "TOGETHER",
    "WORKING",
    "Answer",
    "Forward",
    "Habit",
    "Request",
    "a_web_page",
    "as_it_is",
    "error",
    "served",
]


@dataclass(frozen=True)
class Request:
    """What a client asks.  key: of the object, empty for the bucket.  served: the folder that the real server serves."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    served: Path

    @property
    def key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

    @property
    def query(self) -> dict[str, str]:
        read = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        return {name: values[0] for name, values in read.items()}

    @property
    def lists(self) -> bool:
        """Whether a list of objects is asked for."""
        return self.method == "GET" and not self.key and "uploads" not in self.query

    @property
    def there(self) -> bool:
        """Whether the object is there."""
        return (self.served / "models" / self.key).is_file()


@dataclass(frozen=True)
class Answer:
    """What the client gets; chunked: without saying how long it is."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False


Forward = Callable[[Request], Answer]
Habit = Callable[[Request, Forward], Answer]


def error(status: int, code: str) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}, says the test</Message></Error>"
    return Answer(status, body.encode(), {"Content-Type": "application/xml"})


HTML = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><p>It works!</p></body></html>\n"


def page(status: int) -> Answer:
    """What a web server says, or a login page between here and the server."""
    return Answer(status, HTML, {"Content-Type": "text/html; charset=utf-8"})


# What works


def as_it_is(request: Request, forward: Forward) -> Answer:
    return forward(request)


def absent_is_an_error(request: Request, forward: Forward) -> Answer:
    return error(404, "NoSuchKey") if request.method == "DELETE" and not request.there else forward(request)


def no_list_of_uploads(status: int, code: str) -> Habit:
    return lambda request, forward: error(status, code) if "uploads" in request.query else forward(request)


def uploads_are_a_web_page(request: Request, forward: Forward) -> Answer:
    return page(200) if "uploads" in request.query else forward(request)


def no_length(request: Request, forward: Forward) -> Answer:
    answer = forward(request)
    return replace(answer, chunked=request.method == "GET" and bool(request.key))


def listing(parts: list[str], truncated: bool, **more: str) -> Answer:
    tags = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in more.items())
    tags += f"<IsTruncated>{str(truncated).lower()}</IsTruncated>{''.join(parts)}"
    body = f"<ListBucketResult>{tags}</ListBucketResult>"
    return Answer(200, body.encode(), {"Content-Type": "application/xml"})


def key_of(part: str) -> str:
    read = re.search(r"<Key>(.*?)</Key>", part)
    assert read
    return read[1]


def older_list(request: Request, forward: Forward) -> Answer:
    """Version 1 whatever is asked for, in pages of two; a page goes on after a key and has no token."""
    if not request.lists:
        return forward(request)
    parts = [part for part in unsigned(request) if key_of(part) > request.query.get("marker", "")]
    return listing(parts[:2], len(parts) > 2)


def unsigned(request: Request) -> list[str]:
    """The list that the real server would answer, read from its folder: a changed request has no valid signature."""
    root = request.served / "models"
    keys = {file.relative_to(root).as_posix(): file.stat().st_size for file in root.rglob("*") if file.is_file()}
    return [part(key, keys[key]) for key in sorted(keys) if key.startswith(request.query.get("prefix", ""))]


def part(key: str, size: int) -> str:
    """An object in a list."""
    tags = f"<Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>{size}</Size>"
    return f"<Contents>{tags}</Contents>"


def newer_list_refused(status: int) -> Habit:
    def habit(request: Request, forward: Forward) -> Answer:
        if request.lists and "list-type" in request.query:
            return error(status, "NotImplemented")
        return older_list(request, forward)

    return habit


def encoded_keys(request: Request, forward: Forward) -> Answer:
    """Keys are URL-encoded, slashes too, and nothing in the answer says so."""
    if not request.lists:
        return forward(request)
    parts = [
        re.sub(r"<Key>(.*?)</Key>", lambda m: f"<Key>{quote(m[1], safe='')}</Key>", p) for p in unsigned(request)
    ]
    return listing(parts, False)


def folders_in_the_list(request: Request, forward: Forward) -> Answer:
    if not request.lists:
        return forward(request)
    return listing([part(request.query.get("prefix", ""), 0), *unsigned(request)], False)


def absent_is_forbidden(request: Request, forward: Forward) -> Answer:
    return Answer(403) if request.method == "HEAD" and not request.there else forward(request)


def no_head(request: Request, forward: Forward) -> Answer:
    return Answer(405) if request.method == "HEAD" else forward(request)


def no_md5(request: Request, forward: Forward) -> Answer:
    known = {name.lower() for name in request.headers}
    return error(501, "NotImplemented") if "content-md5" in known else forward(request)


def no_etag(request: Request, forward: Forward) -> Answer:
    answer = forward(request)
    return replace(answer, headers={n: v for n, v in answer.headers.items() if n.lower() != "etag"})


def no_delete_for_editors(request: Request, forward: Forward) -> Answer:
    return error(403, "AccessDenied") if request.method == "DELETE" else forward(request)


WORKING: dict[str, Habit] = {
    "as it is": as_it_is,
    "404 for a DELETE of what is not there": absent_is_an_error,
    "501 for ListMultipartUploads": no_list_of_uploads(501, "NotImplemented"),
    "403 for ListMultipartUploads": no_list_of_uploads(403, "AccessDenied"),
    "a web page for ListMultipartUploads": uploads_are_a_web_page,
    "GET without Content-Length": no_length,
    "version 1 of the list for version 2": older_list,
    "400 for version 2 of the list": newer_list_refused(400),
    "501 for version 2 of the list": newer_list_refused(501),
    "URL-encoded keys": encoded_keys,
    "folders in the list": folders_in_the_list,
    "403 for a HEAD of what is not there": absent_is_forbidden,
    "405 for HEAD": no_head,
    "501 for Content-MD5": no_md5,
    "no ETag": no_etag,
}
"""Habits with which everything works."""


def all_of(*names: str) -> Habit:
    """Several habits at once, the first one asked first."""

    def habit(request: Request, forward: Forward) -> Answer:
        for name in reversed(names):
            forward = partial(WORKING[name], forward=forward)
        return forward(request)

    return habit


TOGETHER: dict[str, Habit] = {
    "an old gateway": all_of(
        "404 for a DELETE of what is not there",
        "501 for ListMultipartUploads",
        "GET without Content-Length",
        "version 1 of the list for version 2",
        "403 for a HEAD of what is not there",
        "no ETag",
    ),
    "a strict proxy": all_of(
        "403 for ListMultipartUploads", "400 for version 2 of the list", "405 for HEAD", "501 for Content-MD5"
    ),
    "a server of files": all_of("a web page for ListMultipartUploads", "URL-encoded keys"),
}
"""The same in few servers, for a suite that has to be quick."""


# What cannot work


def a_web_page(status: int) -> Habit:
    return lambda request, forward: page(status)


def stuck_list(request: Request, forward: Forward) -> Answer:
    """Says that the list goes on, and never goes on."""
    return listing(unsigned(request)[:2], len(unsigned(request)) > 2) if request.lists else forward(request)


def silent_list(request: Request, forward: Forward) -> Answer:
    """Two objects, and not a word that there are more."""
    return listing(unsigned(request)[:2], False) if request.lists else forward(request)


def empty_list(request: Request, forward: Forward) -> Answer:
    return listing([], False) if request.lists else forward(request)


def packed(request: Request, forward: Forward) -> Answer:
    answer = forward(request)
    return replace(answer, headers=answer.headers | {"Content-Encoding": "gzip"}) if request.key else answer


def forgetful(request: Request, forward: Forward) -> Answer:
    return Answer(200) if request.method == "PUT" else forward(request)


def clinging(request: Request, forward: Forward) -> Answer:
    return Answer(204) if request.method == "DELETE" else forward(request)


def forbidding(method: str) -> Habit:
    return lambda request, forward: error(403, "AccessDenied") if request.method == method else forward(request)


def list_forbidden(request: Request, forward: Forward) -> Answer:
    return error(403, "AccessDenied") if request.lists else forward(request)


REFUSED: dict[str, tuple[Habit, str]] = {
    "a web page with 200 for anything": (a_web_page(200), "web page"),
    "a web page with 404 for anything": (a_web_page(404), "404"),
    "a list that never goes on": (stuck_list, "the same page again"),
    "a list that is silently cut off": (silent_list, "list 3 objects"),
    "a list that is always empty": (empty_list, "list 3 objects"),
    "a proxy that packs": (packed, "Content-Encoding 'gzip'"),
    "a PUT that keeps nothing": (forgetful, "read what was just put"),
    "a DELETE that deletes nothing": (clinging, "delete an object"),
    "403 for PUT": (forbidding("PUT"), "AccessDenied"),
    "403 for GET": (forbidding("GET"), "AccessDenied"),
    "403 for a list": (list_forbidden, "AccessDenied"),
}
"""Habits with which nothing can work, and a part of the line that says so."""


@contextmanager
def habitual(habit: Habit, endpoint: str, served: Path) -> Iterator[str]:
    """The address of a server with a habit, in front of the one at an endpoint, which serves a folder."""
    server = _Server(habit, urlsplit(endpoint).netloc, served)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, habit: Habit, behind: str, served: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.habit, self.behind, self.served = habit, behind, served


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        assert isinstance(self.server, _Server)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, dict(self.headers.items()), body, self.server.served)
        self._send(self.server.habit(request, self._forward))

    # The names that http.server asks for.
    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any  # noqa: N815

    def _forward(self, request: Request) -> Answer:
        assert isinstance(self.server, _Server)
        behind = http.client.HTTPConnection(self.server.behind, timeout=30)
        try:
            headers = {name: text for name, text in request.headers.items() if name.lower() != "expect"}
            behind.request(request.method, request.path, request.body or None, headers)
            read = behind.getresponse()
            return Answer(read.status, read.read(), dict(read.getheaders()))
        finally:
            behind.close()

    def _send(self, answer: Answer) -> None:
        own = {"content-length", "transfer-encoding", "connection", "date", "server"}
        self.send_response(answer.status)
        for name, text in answer.headers.items():
            # The length that a HEAD records is that of another body than its own.
            if name.lower() not in own or (self.command == "HEAD" and name.lower() == "content-length"):
                self.send_header(name, text)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            parts = [answer.body[i : i + 7] for i in range(0, len(answer.body), 7)]
            self.wfile.write(b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n")
            return
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None:
        """Nothing: a test shows what it asserts."""


@contextmanager
def served(habit: Habit, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stores that are opened while the block runs are on a server of this habit."""
    with habitual(habit, os.environ["AWS_ENDPOINT_URL"], folder) as endpoint:
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        yield
