"""The console as an application of its own, mounted at `/console`: pages, errors, headers."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from gateway.console import (
    compare,
    data,
    documents,
    drift,
    jobs,
    keys,
    login,
    overview,
    playground,
    releases,
    rollouts,
    traffic,
)
from gateway.console.access import NotLoggedIn, viewer_of
from gateway.console.guarding import guard
from gateway.console.pages import STATIC
from gateway.console.parts import Parts
from gateway.errors import GatewayError
from gateway.store.database import StoreError

_PAGES = (
    login,
    overview,
    releases,
    rollouts,
    drift,
    traffic,
    data,
    compare,
    jobs,
    keys,
    playground,
    documents,
)
_FOR_LONG = "public, max-age=31536000, immutable"


def create_console(parts: Parts) -> FastAPI:
    """Return the console."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.keys, app.state.sealer = parts.keys, parts.sealer
    for page in _PAGES:
        app.include_router(page.router(parts))
    app.mount("/static", StaticFiles(directory=STATIC))

    def failed(request: Request, status: int, title: str, why: str) -> Response:
        try:
            viewer = viewer_of(request)
        except NotLoggedIn:
            viewer = None
        template = "part_error.html" if request.headers.get("hx-request") else "error.html"
        return parts.pages.show(request, viewer, template, status, title=title, why=why)

    guard(app, failed)

    @app.middleware("http")
    async def kept(
        request: Request, answer_of: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        answer = await answer_of(request)
        if request.url.path.startswith("/console/static/") and answer.status_code == 200:
            answer.headers["cache-control"] = _FOR_LONG if request.url.query else "no-cache"
        return answer

    @app.exception_handler(NotLoggedIn)
    def not_logged_in(request: Request, _: NotLoggedIn) -> Response:
        return login.ask_to_log_in(parts, request)

    @app.exception_handler(GatewayError)
    def gateway_error(request: Request, error: GatewayError) -> Response:
        titles = {403: "Not allowed", 404: "Not found", 409: "It has moved on"}
        title = titles.get(error.status, "That did not work")
        return failed(request, error.status, title, error.message)

    @app.exception_handler(StoreError)
    def store_error(request: Request, _: StoreError) -> Response:
        why = "The store does not answer. Answers to clients go on; try again in a moment."
        return failed(request, 503, "The store is away", why)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = str(first["loc"][-1]) if first["loc"] else ""
        return failed(request, 422, "That cannot be read", f"{field}: {first['msg']}.")

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> Response:
        titles = {404: "Not found", 405: "Not allowed", 413: "Too large"}
        why = "There is no such page." if error.status_code == 404 else str(error.detail)
        return failed(request, error.status_code, titles.get(error.status_code, "Error"), why)

    return app
