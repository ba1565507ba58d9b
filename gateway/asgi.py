"""The gateway's side of ASGI: the message types, and what stands in front of FastAPI."""

from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException

from gateway.auth import KeyRing
from gateway.errors import AuthenticationFailed, GatewayError, InvalidRequest, MethodNotAllowed

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def guarded(
    api: Application,
    keys: KeyRing,
    only_post: Collection[str],
    max_body_bytes: int,
    larger: Mapping[str, int],
) -> Application:
    """Return `api` behind what must be known before a body is read.

    Args:
        api: The application.
        keys: Who may call what lies under `/v1/`; FastAPI would read the body first.
        only_post: Paths whose POST never comes this way: 405.
        max_body_bytes: Largest body.
        larger: Paths that take larger bodies, which they do not keep in memory.
    """

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            error = _objection(scope, keys, only_post)
            if error is not None:
                await _refuse(error, send)
                return
            receive = limited(receive, larger.get(scope["path"], max_body_bytes))
        await api(scope, receive, send)

    return application


def _objection(scope: Scope, keys: KeyRing, only_post: Collection[str]) -> GatewayError | None:
    path = scope["path"]
    if path in only_post:
        return MethodNotAllowed(f"{path} takes POST.", code="method_not_allowed")
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(given) > 1:
        return InvalidRequest("More than one Authorization.", code="invalid_http")
    if scope["method"] in ("GET", "HEAD", "OPTIONS") or not path.startswith("/v1/"):
        return None
    try:
        keys.authenticate(given[0] if given else None)
    except AuthenticationFailed as error:
        return error
    return None


async def _refuse(error: GatewayError, send: Send) -> None:
    body = error.body()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *error.headers(),
    ]
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def limited(receive: Receive, limit: int) -> Receive:
    """Return a `receive` that refuses a body of more than `limit` bytes with 413."""
    size = 0

    async def receive_limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise HTTPException(413, f"The body is larger than {limit} bytes.")
        return message

    return receive_limited
