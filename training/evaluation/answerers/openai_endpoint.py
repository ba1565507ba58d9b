"""Asks an OpenAI-compatible endpoint: `POST {base}/chat/completions`, streamed, for the TTFT.

Shapes: OpenAI's API reference, "Create chat completion" and "Streaming".
"""

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import httpx

from training.evaluation.answerers.base import Answer, AnswererError, Question, Sampling, System

_TRIES = 4
_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504})
# These are the same for every question: asking all of them would change nothing.
_FATAL = frozenset({401, 403, 404})
_LONGEST_PAUSE_S = 60.0


class _TryAgain(Exception):
    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class OpenAIEndpoint:
    """`Answerer` of an endpoint.

    Args:
        system: Its spec is `http://host:port/v1#model`.
        key: The API key, or empty.
        sampling: Sent as `temperature` and `seed`.
        concurrency: How many requests at once.
        timeout_s: The longest silence of a request.
    """

    served = True

    def __init__(
        self,
        system: System,
        key: str,
        sampling: Sampling,
        *,
        concurrency: int = 8,
        timeout_s: float = 120.0,
        pause_s: float = 0.5,
    ) -> None:
        self._url, self._model = split(system.spec)
        self._body = {
            "model": self._model,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            **system.extra_body,
        }
        self._concurrency = concurrency
        self._pause_s = pause_s
        self._stopped = threading.Event()
        self._answered = threading.Event()
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._timeout = httpx.Timeout(timeout_s, connect=10.0)

    @property
    def fingerprint(self) -> str:
        """Return the address and all that is sent with each question."""
        return f"{self._url} {json.dumps(self._body, sort_keys=True)}"

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Yield answers as they come.

        Raises:
            AnswererError: The endpoint knows no such key or model, or nobody listens.
        """
        self._stopped.clear()
        limits = httpx.Limits(max_connections=self._concurrency)
        client = httpx.Client(headers=self._headers, timeout=self._timeout, limits=limits)
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="ask")
        try:
            waiting = [pool.submit(self._ask, client, question) for question in questions]
            for done in as_completed(waiting):
                yield done.result()
        finally:
            self._stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            client.close()

    def _ask(self, client: httpx.Client, question: Question) -> Answer:
        reason = "not asked: the evaluation was stopped"
        for attempt in range(_TRIES):
            if self._stopped.is_set():
                break
            try:
                return self._once(client, question)
            except _TryAgain as again:
                reason = str(again)
                pause = self._pause_s * 2**attempt * random.uniform(0.5, 1)  # noqa: S311 - jitter
                if attempt + 1 < _TRIES:
                    self._stopped.wait(min(again.after_s or pause, _LONGEST_PAUSE_S))
        return Answer(question.id, error=reason)

    def _once(self, client: httpx.Client, question: Question) -> Answer:
        body = {"messages": list(question.messages), "max_tokens": question.max_tokens}
        started = time.perf_counter()
        try:
            with client.stream("POST", self._url, json=body | self._body) as response:
                self._answered.set()
                if response.status_code != 200:
                    return self._refused(question, response)
                if "event-stream" in response.headers.get("content-type", ""):
                    return _streamed(question, response, started)
                response.read()
                return _whole(question, response, started)
        except httpx.ConnectError as error:
            # One that has answered may come back; one that never did is not there.
            if self._answered.is_set():
                raise _TryAgain(f"nobody answers any more ({error})") from error
            raise AnswererError(f"nobody answers at {self._url} ({error})") from error
        except httpx.TransportError as error:
            raise _TryAgain(f"{type(error).__name__}: {error}") from error

    def _refused(self, question: Question, response: httpx.Response) -> Answer:
        response.read()
        status = response.status_code
        reason = f"HTTP {status}: {_message(response)}"
        if status in _FATAL:
            raise AnswererError(f"{self._url} refuses the model {self._model!r}: {reason}")
        if status in _RETRIED:
            after = response.headers.get("retry-after", "")
            raise _TryAgain(reason, float(after) if after.isdigit() else None)
        return Answer(question.id, error=reason)


def split(spec: str) -> tuple[str, str]:
    """Return the address of chat completions and the model of `http://host:port/v1#model`.

    Raises:
        AnswererError: The spec has no host or no model.
    """
    base, _, model = spec.partition("#")
    try:
        host = httpx.URL(base).host
    except httpx.InvalidURL:
        host = ""
    if not model or not host:
        raise AnswererError(f"{spec!r} names no endpoint; write it as http://host:port/v1#model")
    return f"{base.rstrip('/')}/chat/completions", model


def _streamed(question: Question, response: httpx.Response, started: float) -> Answer:
    parts: list[str] = []
    finish, first = "", None
    usage: dict[str, Any] = {}
    for line in response.iter_lines():
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            break
        frame = _decoded(data)
        if frame.get("error"):
            raise _TryAgain(f"error in the stream: {json.dumps(frame['error'])[:300]}")
        usage = frame.get("usage") or usage
        for choice in frame.get("choices") or []:
            piece = (choice.get("delta") or {}).get("content")
            if piece:
                first = first or time.perf_counter() - started
                parts.append(piece)
            finish = choice.get("finish_reason") or finish
    else:
        raise _TryAgain("the stream ended without [DONE]")
    return _answer(question, "".join(parts), finish, usage, started, first)


def _whole(question: Question, response: httpx.Response, started: float) -> Answer:
    body = _decoded(response.text)
    choices = body.get("choices") or [{}]
    text = (choices[0].get("message") or {}).get("content")
    if not isinstance(text, str):
        return Answer(question.id, error=f"an answer without text: {response.text[:200]}")
    finish = choices[0].get("finish_reason") or ""
    return _answer(question, text, finish, body.get("usage") or {}, started, None)


def _answer(
    question: Question,
    text: str,
    finish: str,
    usage: dict[str, Any],
    started: float,
    first: float | None,
) -> Answer:
    return Answer(
        question.id,
        text,
        finish,
        time.perf_counter() - started,
        first,
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
    )


def _decoded(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _TryAgain(f"an answer that is not JSON: {text[:200]!r}") from error
    return value if isinstance(value, dict) else {}


def _message(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)[:300]
    except (ValueError, KeyError, TypeError):
        return response.text[:300]
