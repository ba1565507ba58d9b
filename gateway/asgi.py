"""The gateway's side of ASGI: the message types, and what stands in front of FastAPI."""

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException

from gateway.errors import MethodNotAllowed

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def only_post(paths: Collection[str], api: Application, max_body_bytes: int) -> Application:
    """Return `api` with bounded bodies, and 405 for `paths`: their POST never comes this way."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["path"] in paths:
                await _refuse(scope["path"], send)
                return
            receive = limited(receive, max_body_bytes)
        await api(scope, receive, send)

    return application


async def _refuse(path: str, send: Send) -> None:
    error = MethodNotAllowed(f"{path} takes POST.", code="method_not_allowed")
    body = error.body()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"allow", b"POST"),
    ]
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
