"""Who may call a management route, and how its errors are shown."""

from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.params import Depends as Dependency
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from gateway.auth import KeyRing, Principal
from gateway.errors import (
    BodyTooLarge,
    GatewayError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Unavailable,
)
from gateway.store.database import StoreError

# Shows the scheme in the OpenAPI document; the key itself is checked by the key ring.
_BEARER = Depends(HTTPBearer(auto_error=False, description="A key of `driftgate keys create`."))


def principal_of(keys: KeyRing, scope: str, *others: str) -> Callable[..., Principal]:
    """Return a dependency that gives the caller, who must hold `scope` or one of `others`."""

    def authenticated(request: Request, _: Any = _BEARER) -> Principal:
        value = next((v for k, v in request.scope["headers"] if k == b"authorization"), None)
        principal = keys.authenticate(value)
        if not principal.scopes.intersection(others):
            keys.require(principal, scope)
        return principal

    return authenticated


def requires(keys: KeyRing, scope: str) -> Dependency:
    """Return a route dependency that admits callers with `scope`."""
    dependency: Dependency = Depends(principal_of(keys, scope))
    return dependency


def owner_of(principal: Principal) -> str | None:
    """Return whose files and jobs a caller may see: its own key's prefix, or None for all."""
    return None if "admin" in principal.scopes else principal.key_prefix


def install_error_handlers(api: FastAPI) -> None:
    """Give every error of `api` the one JSON shape."""

    @api.exception_handler(GatewayError)
    async def gateway_error(_: Request, error: GatewayError) -> Response:
        return _render(error)

    @api.exception_handler(RequestValidationError)
    async def validation_error(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        # The first part is `body`, `query` or `path`; a field may be called so, too.
        place = [str(part) for part in first["loc"][1:]]
        param = ".".join(place) or None
        if first["type"] == "json_invalid":
            return _render(InvalidRequest("The body is not valid JSON.", code="invalid_json"))
        named = f" in `{param}`" if param else ""
        return _render(InvalidRequest(f"{first['msg']}{named}.", code="invalid_type", param=param))

    @api.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        path = request.url.path
        kinds: dict[int, GatewayError] = {
            404: NotFound(f"There is no {path}.", code="route_not_found"),
            405: MethodNotAllowed(
                f"{path} does not take {request.method}.", code="method_not_allowed"
            ),
            413: BodyTooLarge(str(error.detail), code="body_too_large"),
        }
        known = kinds.get(error.status_code, InvalidRequest(str(error.detail), code="bad_request"))
        response = _render(known)
        response.headers.update(error.headers or {})
        return response

    @api.exception_handler(StoreError)
    async def store_error(_: Request, error: StoreError) -> Response:
        return _render(
            Unavailable("The store is away. Try again.", code="store_unavailable", retry_after=2)
        )

    @api.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> Response:
        return _render(GatewayError("The gateway failed; see its log.", code="internal"))


def _render(error: GatewayError) -> Response:
    headers = {name.decode(): value.decode() for name, value in error.headers()}
    return Response(error.body(), error.status, headers, "application/json")
