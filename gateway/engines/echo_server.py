"""The echo engine's server: OpenAI's wire exactly as vLLM speaks it, without a model.

It answers with the last user message (or the prompt) word by word; a word is a token. The usual
fields act as they do on a real engine: `stream`, `stream_options.include_usage`, `n`, `stop`,
`max_tokens`, `logprobs`, a forced `tool_choice` (arguments "{}"), `response_format` (a minimal
JSON document). Two entries of the request's `metadata` make it slow:

- `echo_first_delay_s`: seconds before the first byte of the answer;
- `echo_delay_s`: seconds before each word (an unstreamed answer waits for all of them).

`POST /v1/load_lora_adapter` and `/v1/unload_lora_adapter` let it answer to further names; the
adapter's folder must have an `adapter_config.json`.

A completion's id follows the header `X-Request-Id`. A client that leaves ends its request at
once, which `GET /metrics` shows as the gauge `vllm:num_requests_running`.
"""

import asyncio
import math
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import msgspec

from gateway.engines import echo_answers
from gateway.engines.echo_answers import Frames, Json
from gateway.engines.echo_requests import (
    ChatRequest,
    CompletionRequest,
    Request,
    ResponsesRequest,
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_MAX_BODY_BYTES = 64 * 2**20
_LONGEST_DELAY_S = 3600.0
_STATUS_NAMES = {400: "BadRequestError", 404: "NotFoundError", 413: "BadRequestError"}


class _Refused(Exception):
    """A request that is answered with an error in vLLM's shape."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param


class _ClientLeft(Exception):
    """The client closed its connection."""


class _Adapter(msgspec.Struct):
    """An adapter by its name; to load it, its folder too."""

    lora_name: str
    lora_path: str = ""


class EchoServer:
    """An ASGI application that serves one model.

    Args:
        model: The only name that it answers to, as vLLM's `--served-model-name`.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._adapters: dict[str, str] = {}  # path by name
        self._running = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            await self._route(scope, receive, send)
        except _ClientLeft:
            return
        except _Refused as refused:
            error = {
                "message": str(refused),
                "type": _STATUS_NAMES.get(refused.status, "BadRequestError"),
                "param": refused.param,
                "code": refused.status,
            }
            await _send_json(send, {"error": error}, refused.status)

    async def _route(self, scope: Message, receive: Receive, send: Send) -> None:
        match scope["method"], scope["path"]:
            case "GET", "/health":
                await _send(send, b"", b"text/plain")
            case "GET", "/metrics":
                await _send(send, self._metrics(), b"text/plain; version=0.0.4")
            case "GET", "/v1/models":
                await _send_json(send, self._models())
            case "POST", "/v1/load_lora_adapter":
                await self._load(send, _adapter(await _body(receive)))
            case "POST", "/v1/unload_lora_adapter":
                await self._unload(send, _adapter(await _body(receive)))
            case "POST", "/v1/chat/completions":
                await self._generate(scope, receive, send, ChatRequest, "chatcmpl-")
            case "POST", "/v1/completions":
                await self._generate(scope, receive, send, CompletionRequest, "cmpl-")
            case "POST", "/v1/responses":
                await self._generate(scope, receive, send, ResponsesRequest, "resp_")
            case _:
                await _send_json(send, {"detail": "Not Found"}, 404)

    async def _generate(
        self, scope: Message, receive: Receive, send: Send, kind: type[Request], prefix: str
    ) -> None:
        request = _parsed(await _body(receive), kind)
        model = request.model or self._model
        if model != self._model and model not in self._adapters:
            raise _Refused(404, f"The model `{request.model}` does not exist.", "model")
        first_delay = _delay(request, "echo_first_delay_s")
        delay = _delay(request, "echo_delay_s")
        id = prefix + (_header(scope, b"x-request-id") or uuid.uuid4().hex)
        # Only the client's leaving is left to receive.
        left = asyncio.ensure_future(_until_left(receive))
        self._running += 1
        try:
            await _sleep(first_delay, left)
            if request.stream:
                await self._stream(send, _frames(request, id, model), delay, left)
            else:
                body, words = _whole(request, id, model)
                await _sleep(delay * words, left)
                await _send_json(send, body)
        finally:
            self._running -= 1
            left.cancel()

    async def _stream(
        self, send: Send, frames: Frames, delay: float, left: asyncio.Future[None]
    ) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for frame, words in frames:
            await _sleep(delay * words, left)
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _load(self, send: Send, adapter: _Adapter) -> None:
        name, path = adapter.lora_name, adapter.lora_path
        if name in self._adapters:
            raise _Refused(400, f"The lora adapter '{name}' has already been loaded.", "lora_name")
        if not (Path(path) / "adapter_config.json").is_file():
            raise _Refused(404, f"Loading lora {name} failed: no adapter found for {path}")
        self._adapters[name] = path
        loaded = f"Success: LoRA adapter '{name}' added successfully."
        await _send(send, loaded.encode(), b"text/plain")

    async def _unload(self, send: Send, adapter: _Adapter) -> None:
        name = adapter.lora_name
        if self._adapters.pop(name, None) is None:
            raise _Refused(404, f"The lora adapter '{name}' cannot be found.", "lora_name")
        gone = f"Success: LoRA adapter '{name}' removed successfully."
        await _send(send, gone.encode(), b"text/plain")

    def _metrics(self) -> bytes:
        name = "vllm:num_requests_running"
        return (
            f"# HELP {name} Number of requests in model execution batches.\n"
            f"# TYPE {name} gauge\n"
            f'{name}{{engine="0",model_name="{self._model}"}} {float(self._running)}\n'
        ).encode()

    def _models(self) -> Json:
        def card(id: str, root: str, parent: str | None) -> Json:
            return {
                "id": id,
                "object": "model",
                "created": int(time.time()),
                "owned_by": "vllm",
                "root": root,
                "parent": parent,
                "max_model_len": None,
            }

        adapters = [card(name, path, self._model) for name, path in self._adapters.items()]
        return {"object": "list", "data": [card(self._model, self._model, None), *adapters]}


def _whole(request: Request, id: str, model: str) -> tuple[Json, int]:
    if isinstance(request, ChatRequest):
        return echo_answers.chat(request, id, model)
    if isinstance(request, CompletionRequest):
        return echo_answers.completion(request, id, model)
    assert isinstance(request, ResponsesRequest)  # noqa: S101 - narrows the type
    return echo_answers.response(request, id, model)


def _frames(request: Request, id: str, model: str) -> Frames:
    if isinstance(request, ChatRequest):
        return echo_answers.chat_frames(request, id, model)
    if isinstance(request, CompletionRequest):
        return echo_answers.completion_frames(request, id, model)
    assert isinstance(request, ResponsesRequest)  # noqa: S101 - narrows the type
    return echo_answers.response_frames(request, id, model)


def _parsed(body: bytes, kind: type[Request]) -> Request:
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Refused(400, f"1 validation error: {error}") from error


def _adapter(body: bytes) -> _Adapter:
    try:
        return msgspec.json.decode(body, type=_Adapter)
    except msgspec.DecodeError as error:
        raise _Refused(400, f"1 validation error: {error}") from error


def _delay(request: Request, name: str) -> float:
    text = (request.metadata or {}).get(name, "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _LONGEST_DELAY_S:
        raise _Refused(400, f"metadata.{name} must be seconds between 0 and 3600", "metadata")
    return seconds


def _header(scope: Message, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def _body(receive: Receive) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > _MAX_BODY_BYTES:
            raise _Refused(413, "the request body is too large")
        if not message.get("more_body", False):
            return b"".join(parts)


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _sleep(seconds: float, left: asyncio.Future[None]) -> None:
    """Wait, or raise _ClientLeft as soon as the client leaves."""
    if seconds > 0:
        await asyncio.wait({left}, timeout=seconds)
    if left.done():
        raise _ClientLeft


async def _send_json(send: Send, value: Json, status: int = 200) -> None:
    await _send(send, msgspec.json.encode(value), b"application/json", status)


async def _send(send: Send, body: bytes, content_type: bytes, status: int = 200) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
