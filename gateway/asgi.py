"""The gateway's side of ASGI: the message types, the answer to a client, and its departure."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException

from gateway.errors import BodyTooLarge, GatewayError, RequestTimeout

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

# Most answers of a stub and none of a model end sooner than this; only then is the client watched,
# which costs a task.
_WATCH_AFTER_S = 0.02


class Client:
    """Watches whether the client is still there, and cancels the request where it left."""

    def __init__(self, receive: Receive) -> None:
        self.left = False
        self._receive = receive
        self._request = asyncio.current_task()
        self._watch: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_S, self._start)

    def forget(self) -> None:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if self.left and self._request is not None:
            self._request.uncancel()

    def _start(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        if self._request is not None:
            self._request.cancel()


class Reply:
    """Sends the answer to the client as ASGI messages."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id.encode()
        self._begun = False
        self.release = b""
        self.overhead_s = 0.0

    async def whole(self, status: int, content_type: bytes, body: bytes) -> None:
        length = str(len(body)).encode()
        headers = [(b"content-type", content_type), (b"content-length", length), *self._headers()]
        await self._begin(status, headers)
        await self._send({"type": "http.response.body", "body": body})

    async def start_stream(self) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),  # nginx would hold frames back
            *self._headers(),
        ]
        await self._begin(200, headers)

    async def frames(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def fail(self, error: GatewayError) -> None:
        """Send an error as the answer; after a begun answer there is only the log."""
        if self._begun:
            return
        body = error.body()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *error.headers(),
            *self._headers(),
        ]
        if isinstance(error, BodyTooLarge | RequestTimeout):
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        await self._begin(error.status, headers)
        await self._send({"type": "http.response.body", "body": body})

    async def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def _headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", self._request_id)]
        if self.release:
            headers.append((b"x-driftgate-release", self.release))
            headers.append((b"x-driftgate-overhead-ms", b"%.3f" % (self.overhead_s * 1000)))
        return headers


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
