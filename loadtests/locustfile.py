"""Chat users for Locust, streamed and whole; TTFT is a metric of its own.

DRIFTGATE_API_KEY=dg-… locust -f loadtests/locustfile.py --headless -u 8 -r 2 -t 60s

`--host` names another gateway, DRIFTGATE_LOAD_MODEL another alias than `production`. A stream
that ends without `[DONE]`, without a token or with an error frame is a failure.
"""

import json
import os
import time
from collections.abc import Iterable

from locust import HttpUser, between, task

_PATH = "/v1/chat/completions"
_QUESTIONS = (
    "What is the capital of France?",
    "Explain in one sentence why the sky is blue.",
    "Write a short line about the sea.",
)


class ChatUser(HttpUser):  # type: ignore[misc]
    """Asks one of a few questions, waits a moment, asks again; three of four are streamed."""

    host = "http://127.0.0.1:8080"
    wait_time = between(0.5, 2.0)

    def on_start(self) -> None:
        self.client.headers["authorization"] = f"Bearer {os.environ['DRIFTGATE_API_KEY']}"
        self.asked = 0

    @task(3)  # type: ignore[untyped-decorator]
    def streamed(self) -> None:
        started = time.perf_counter()
        with self.client.post(
            _PATH,
            json=self._body(stream=True),
            stream=True,
            catch_response=True,
            name="chat stream",
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
                return
            try:
                first = read_stream(answer.iter_lines())
            except (ValueError, OSError) as error:
                answer.failure(str(error))
            else:
                self._report_first_token((first - started) * 1000)
            # Locust's own figure for a stream ends with the headers.
            answer.request_meta["response_time"] = (time.perf_counter() - started) * 1000

    @task(1)  # type: ignore[untyped-decorator]
    def whole(self) -> None:
        with self.client.post(
            _PATH, json=self._body(stream=False), catch_response=True, name="chat whole"
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
            elif not answer.json()["choices"][0]["message"]["content"]:
                answer.failure("no text")

    def _body(self, *, stream: bool) -> dict[str, object]:
        self.asked += 1
        question = _QUESTIONS[self.asked % len(_QUESTIONS)]
        return {
            "model": os.environ.get("DRIFTGATE_LOAD_MODEL", "production"),
            "messages": [{"role": "user", "content": question}],
            "max_tokens": 32,
            "stream": stream,
        }

    def _report_first_token(self, milliseconds: float) -> None:
        self.environment.events.request.fire(
            request_type="TTFT",
            name="chat stream",
            response_time=milliseconds,
            response_length=0,
            exception=None,
            context={},
        )


def read_stream(lines: Iterable[bytes]) -> float:
    """Read a stream to its end; returns when its first token came, by `time.perf_counter`.

    Raises:
        ValueError: The stream holds an error, no token, or no end.
    """
    first: float | None = None
    for line in lines:
        if not line.startswith(b"data:"):
            continue
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            if first is None:
                raise ValueError("no token")
            return first
        frame = json.loads(data)
        if "error" in frame:
            raise ValueError(f"error frame: {frame['error'].get('code')}")
        if first is None and any(c["delta"].get("content") for c in frame.get("choices", ())):
            first = time.perf_counter()
    raise ValueError("the stream has no end")
