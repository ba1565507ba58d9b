"""What all users do alike: ask for a chat completion, streamed or whole, and measure it."""

import os
import time
from collections.abc import Mapping
from typing import Any

from locust import HttpUser, between

from loadtests.prompts import prompts
from loadtests.users.options import option
from loadtests.users.samples import Kind, fire
from loadtests.users.stream import read_stream

_PATH = "/v1/chat/completions"
_FAILED = "status {status}: {text}"


class AskingUser(HttpUser):  # type: ignore[misc]
    """Asks with the key in DRIFTGATE_API_KEY; each user has its own place in the prompts."""

    abstract = True
    host = "http://127.0.0.1:8080"
    wait_time = between(0.2, 1.0)
    started = 0

    def on_start(self) -> None:
        """Choose the key and the first prompt."""
        AskingUser.started += 1
        self.prompts = prompts(option(self.environment, "data"))
        self.asked = 37 * AskingUser.started
        self.client.headers["authorization"] = f"Bearer {self.key()}"

    def key(self) -> str:
        """Return the key to ask with."""
        return os.environ["DRIFTGATE_API_KEY"]

    def refused(self, answer: Any) -> bool:
        """Return whether a status other than 200 was to be expected; then it is counted apart."""
        return False

    def stream(self, name: str, fields: Mapping[str, object] = {}) -> None:
        """Ask for a stream; time to first token and between tokens are metrics of their own."""
        body = self._body(stream=True) | dict(fields)
        started = time.perf_counter()
        with self.client.post(
            _PATH, json=body, stream=True, catch_response=True, name=name
        ) as answer:
            if self._went_wrong(answer, name):
                return
            try:
                timed = read_stream(answer.iter_lines())
            except (ValueError, OSError) as error:
                answer.failure(str(error))
            else:
                fire(self.environment, Kind.TTFT, name, (timed.first - started) * 1000)
                for gap in timed.gaps:
                    fire(self.environment, Kind.INTER_TOKEN, name, gap * 1000)
            # Locust's own figure for a stream ends with the headers.
            answer.request_meta["response_time"] = (time.perf_counter() - started) * 1000

    def whole(self, name: str, fields: Mapping[str, object] = {}) -> None:
        """Ask for an answer in one piece."""
        body = self._body(stream=False) | dict(fields)
        with self.client.post(_PATH, json=body, catch_response=True, name=name) as answer:
            if self._went_wrong(answer, name):
                return
            if not answer.json()["choices"][0]["message"]["content"]:
                answer.failure("no text")

    def question(self) -> str:
        """Return the next prompt."""
        self.asked += 1
        return self.prompts[self.asked % len(self.prompts)]

    def _went_wrong(self, answer: Any, name: str) -> bool:
        if answer.status_code == 200:
            return False
        if self.refused(answer):
            meta = answer.request_meta
            meta["request_type"], meta["name"] = Kind.REFUSED.value, f"{name} {Kind.REFUSED.value}"
            answer.success()
        else:
            answer.failure(_FAILED.format(status=answer.status_code, text=answer.text[:200]))
        return True

    def _body(self, *, stream: bool) -> dict[str, object]:
        return {
            "model": option(self.environment, "model"),
            "messages": [{"role": "user", "content": self.question()}],
            "max_tokens": int(option(self.environment, "max_answer_tokens")),
            "stream": stream,
        }
