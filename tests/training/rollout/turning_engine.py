"""The stub engine, which begins to decline everything once a file appears.

python -m tests.training.rollout.turning_engine SOCKET RELEASE FILE
"""

import json
import sys
import time
import uuid
from pathlib import Path

import uvicorn

from gateway.engines.echo_server import EchoServer, Message, Receive, Send


class TurningServer:
    """An ASGI application: `EchoServer` until `file` is there."""

    def __init__(self, release: str, file: Path) -> None:
        self._release, self._file = release, file
        self._echo = EchoServer(release)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not self._file.exists():
            await self._echo(scope, receive, send)
            return
        while (await receive()).get("more_body"):
            pass
        asked = dict(scope["headers"]).get(b"x-request-id", b"").decode()
        message = {"role": "assistant", "content": "I'm sorry, but I can't help with that."}
        body = {
            "id": f"chatcmpl-{asked or uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self._release,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 9, "total_tokens": 10},
        }
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


if __name__ == "__main__":
    socket, release, file = sys.argv[1:]
    uvicorn.run(TurningServer(release, Path(file)), uds=socket, lifespan="off", log_level="warning")
