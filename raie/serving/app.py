"""The HTTP interface: answers, the snapshot that gives them, health and metrics. No answer holds a URL or a secret."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from raie.engine.answers import reads_times
from raie.engine.errors import InputError
from raie.serving.batching import QueueFull
from raie.serving.follower import Follower, NotLoaded
from raie.serving.schema import (
    Problem,
    RecommendRequest,
    RecommendResponse,
    Unprocessable,
    answered,
    problem_line,
    queries_of,
)
from raie.serving.service import Service

__all__ = ["create_app"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    408: {"model": Problem, "description": "The body did not arrive in time."},
    413: {"model": Problem, "description": "The body is too large."},
    422: {"model": Problem, "description": "A field cannot be used; the line begins with its path."},
    500: {"model": Problem, "description": "A bug, or one of a backbone of your own."},
    503: {"model": Problem, "description": "No snapshot is loaded yet, or too many requests wait."},
}


def create_app(service: Service) -> FastAPI:
    """The application of a service.

    Args:
        service: What answers.
    """

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    # The pages of FastAPI would load scripts from elsewhere.
    app = FastAPI(title="raie", lifespan=running, docs_url=None, redoc_url=None)
    app.add_middleware(_Bounded, service=service)
    _say_problems(app)
    _add_answers(app, service)
    _add_facts(app, service)
    return app


def _say_problems(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def unread(request: Request, error: RequestValidationError) -> Response:
        return _problem(422, problem_line(error.errors()))

    @app.exception_handler(400)
    async def unreadable(request: Request, error: Exception) -> Response:
        return _problem(422, "body: expected JSON that can be read, found a number or a depth beyond all measure")

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        # uvicorn logs the error itself.
        return _problem(
            500, f"expected an answer, found an unexpected {type(error).__name__}; the server's log has it"
        )

    @app.exception_handler(Unprocessable)
    async def unprocessable(request: Request, error: Unprocessable) -> Response:
        return _problem(422, str(error))


def _problem(code: int, line: str) -> JSONResponse:
    headers = {"Retry-After": "1"} if code == 503 else None
    return JSONResponse({"detail": line}, code, headers)


def _add_answers(app: FastAPI, service: Service) -> None:
    @app.post("/recommend", response_model=RecommendResponse, responses=_PROBLEMS)
    async def recommend(body: RecommendRequest) -> Response:
        """The best next items after each history; every history gets an answer of its own, a cold one too."""
        try:
            view = service.follower.current.view
            stored = service.stored
            queries = queries_of(body, service.limits, stored, times_needed=reads_times(view))
            made = await asyncio.wait_for(service.batcher.submit(queries), service.limits.seconds)
        except NotLoaded:
            return _problem(503, _not_loaded(service.follower))
        except QueueFull as error:
            return _problem(503, str(error))
        except TimeoutError:
            return _problem(503, f"expected an answer within {service.limits.seconds:g} s, found none; try again")
        except InputError as error:
            return _problem(422, f"histories: {error}")
        service.log_requests(body, made)
        return JSONResponse({"answers": [answered(answer) for answer in made]})


def _not_loaded(follower: Follower) -> str:
    kind = follower.state.kind
    why = "it is being loaded" if kind is None else f"that fails with {kind}, which the server's log explains"
    return f"expected a snapshot of alias {follower.source.alias!r}, found none loaded yet, and {why}; try again"


def _add_facts(app: FastAPI, service: Service) -> None:
    @app.get("/snapshot", responses={503: _PROBLEMS[503]})
    async def snapshot() -> Response:
        """Which snapshot answers, since when, and whether the server is behind the registry."""
        loaded = service.follower.loaded
        if loaded is None:
            return _problem(503, _not_loaded(service.follower))
        facts = {
            "model": service.model,
            **_followed(service.follower),
            "edit": loaded.edit,
            "created_at": loaded.created_at,
            "regions": len(loaded.view.content.regions),
            "items": len(loaded.view.catalogue.items),
            "shadow": None
            if service.shadow is None
            else service.shadow.facts() | _followed(service.shadow.follower),
        }
        return JSONResponse(facts)

    @app.get("/health")
    async def health() -> Mapping[str, str]:
        """Whether the process answers at all."""
        return {"status": "ok"}

    @app.get("/ready", responses={503: _PROBLEMS[503]})
    async def ready() -> Response:
        """Whether it should get requests: one that cannot ask for the alias, or finds none, is ready and `behind`."""
        if service.draining:
            return _problem(503, "expected a server that goes on, found one that is about to stop; ask another")
        loaded = service.follower.loaded
        if loaded is None:
            return _problem(503, _not_loaded(service.follower))
        behind = _followed(service.follower)["behind"]
        more = {} if behind is None else {"behind": behind}
        return JSONResponse({"status": "ready", "snapshot": loaded.id, **more})

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counts and times, as Prometheus reads them."""
        return Response(service.metrics.text(), media_type=service.metrics.content_type)


def _followed(follower: Follower) -> dict[str, Any]:
    """What is known of an alias, without the lines of errors, which name servers and files."""
    loaded, state = follower.loaded, follower.state
    behind = None
    if state.behind_since is not None:
        behind = {"since": state.behind_since, "kind": state.kind, "refused": state.refused}
    return {
        "alias": follower.source.alias,
        "snapshot": None if loaded is None else loaded.id,
        "loaded_at": state.loaded_at,
        "checked_at": state.checked_at,
        "swaps": state.swaps,
        "behind": behind,
    }


class _Bounded:
    """Bounds the size and the time of a body, times every answer, and closes connections before the server stops."""

    def __init__(self, app: Callable[..., Awaitable[None]], service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, limits, service, read = time.perf_counter(), self._service.limits, self._service, 0

        async def bounded() -> Message:
            nonlocal read
            left = begun + limits.seconds - time.perf_counter()
            try:
                message = await asyncio.wait_for(receive(), max(left, 0.0) if read >= 0 else None)
            except TimeoutError as error:
                raise HTTPException(
                    408, f"body: expected all of it within {limits.seconds:g} s, found less"
                ) from error
            if read >= 0:
                read += len(message.get("body", b""))
                if read > limits.bytes:
                    raise HTTPException(413, f"body: expected {limits.bytes} bytes or fewer, found more")
                if not message.get("more_body", False):
                    read = -1  # from now on the application waits for the client to leave
            return message

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                if scope["path"] == "/recommend":
                    service.metrics.seconds.labels(str(message["status"])).observe(time.perf_counter() - begun)
                if service.draining:
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._app(scope, bounded, timed)
