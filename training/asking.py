"""Asks questions through the real gateway, as a client would, with a key of its own.

The key is made in the store when asking begins and revoked when it ends; one that a killed process
left behind is revoked by the next process with the same purpose. Requests carry the metadata
`driftgate_probe`, by which the monitor leaves them out of its windows.
"""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import httpx

from gateway.store.database import Database
from gateway.store.keys import Keys
from gateway.store.policies import Policies
from monitoring.requests import PROBE

Retrieval = Literal["off", "always"]
_TRIES = 4
# A worker that is full or has no engine for a moment says so; a rollout must not take that for an
# answer. What a client did wrong is told at once.
_RETRIED = frozenset({429, 502, 503, 504})
_LONGEST_PAUSE_S = 10.0
# Workers of the gateway read keys twice a second or so: a new one is unknown until then.
_KEY_KNOWN_S = 10.0
_MOST_ANSWER = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a question.

    Attributes:
        text: The answer; empty where there was none.
        status: The HTTP status; 0 where there was no response.
        release: What answered, as `x-driftgate-release` names it.
        latency_s: From the request to the end of its answer, tries before it left out, in seconds.
        citations: The passages that the answer cites, as the gateway gives them.
        error: Why there was no answer, such as `http 503` or `timeout`; None where there was one.
        finish_reason: As the engine gave it.
    """

    text: str
    status: int
    release: str | None
    latency_s: float
    citations: tuple[Mapping[str, Any], ...] = ()
    error: str | None = None
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A question for `GatewayAsker.ask_many`: of which alias or release, and how."""

    model: str
    messages: Sequence[Mapping[str, Any]]
    retrieval: Retrieval | None = None
    max_tokens: int = 256
    timeout_s: float = 60.0


class GatewayAsker:
    """Asks through the gateway; a context manager.

    Args:
        database: The store, for the key.
        url: Of the gateway, without `/v1`.
        purpose: Whose questions they are, such as a rollout's id. One process at a time asks for
            a purpose.
        like: An alias whose policy of retrieval holds for all questions, also those to a release
            by its name.
    """

    def __init__(self, database: Database, url: str, purpose: str, like: str | None = None) -> None:
        self._keys, self._policies = Keys(database), Policies(database)
        self._url = f"{url.rstrip('/')}/v1/chat/completions"
        self._purpose, self._like = purpose, like
        self._known = threading.Event()

    def __enter__(self) -> Self:
        """Make the key.

        Raises:
            StoreError: The store is away.
        """
        name = f"driftgate: {self._purpose}"
        for left in self._keys.all():
            if left.name == name and left.revoked_at is None:
                self._forget(left.prefix)
        key, text = self._keys.create(name, {"inference"})
        self._prefix = key.prefix
        for policy in self._policies.all():
            if policy.kind == "alias" and policy.name == self._like:
                self._policies.put("key", key.prefix, policy.fields)
        # Whoever waits for an answer reads no further than that.
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        self._client = httpx.Client(
            headers={"authorization": f"Bearer {text}"}, limits=limits, trust_env=False
        )
        self._deadline = time.monotonic() + _KEY_KNOWN_S
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._forget(self._prefix)

    def ask(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        retrieval: Retrieval | None = None,
        max_tokens: int = 256,
        timeout_s: float = 60.0,
    ) -> Asked:
        """Ask one question, greedily; it never raises, what went wrong is in the answer.

        Args:
            model: An alias or a release.
            messages: The conversation, the last turn a user's.
            retrieval: With or without documents; None: as the alias's policy says.
            max_tokens: Of the answer.
            timeout_s: Of each try.
        """
        body: dict[str, Any] = {
            "model": model,
            "messages": [dict(message) for message in messages],
            "temperature": 0,
            "max_tokens": max_tokens,
            "metadata": {PROBE: self._purpose},
        }
        if retrieval is not None:
            body["retrieval"] = {"mode": retrieval}
        tries = 0
        while True:
            asked, pause_s = self._once(body, timeout_s)
            if asked.status == 401 and not self._known.is_set():
                if time.monotonic() < self._deadline:
                    time.sleep(0.1)
                    continue
                return asked
            if asked.status:
                self._known.set()
            tries += 1
            unreachable = asked.status == 0 and asked.error != "timeout"
            if tries >= _TRIES or not (asked.status in _RETRIED or unreachable):
                return asked
            time.sleep(min(pause_s or 0.25 * 2**tries, _LONGEST_PAUSE_S))

    def ask_many(self, questions: Sequence[Question], concurrency: int = 4) -> list[Asked]:
        """Ask questions, so many at a time, and return what became of each, in their order."""
        with ThreadPoolExecutor(concurrency, thread_name_prefix="ask") as pool:
            return list(pool.map(self._ask, questions))

    def _ask(self, question: Question) -> Asked:
        return self.ask(
            question.model,
            question.messages,
            retrieval=question.retrieval,
            max_tokens=question.max_tokens,
            timeout_s=question.timeout_s,
        )

    def _once(self, body: Mapping[str, Any], timeout_s: float) -> tuple[Asked, float | None]:
        """Return what one try led to, and how long the gateway asks to wait for the next."""
        started = time.perf_counter()
        try:
            # The whole of an unstreamed answer comes at once: a silence is all of the wait.
            response = self._client.post(self._url, json=body, timeout=timeout_s)
        except httpx.TimeoutException:
            return Asked("", 0, None, time.perf_counter() - started, error="timeout"), None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            told = f"unreachable: {type(error).__name__}"
            return Asked("", 0, None, time.perf_counter() - started, error=told), None
        asked = Asked(
            "",
            response.status_code,
            response.headers.get("x-driftgate-release"),
            time.perf_counter() - started,
        )
        if response.status_code != 200:
            told = f"http {response.status_code}"
            return replace(asked, error=told), _pause(response.headers.get("retry-after"))
        return _read(asked, response.content), None

    def _forget(self, prefix: str) -> None:
        self._policies.remove("key", prefix)
        self._keys.revoke(prefix)


def _read(asked: Asked, content: bytes) -> Asked:
    if len(content) > _MOST_ANSWER:
        return replace(asked, error="the answer is too long")
    try:
        choice = json.loads(content)["choices"][0]
        message = choice["message"]
        text = message["content"]
    except (ValueError, RecursionError, KeyError, IndexError, TypeError):
        return replace(asked, error="no chat completion")
    return replace(
        asked,
        text=text if isinstance(text, str) else "",
        citations=tuple(message.get("annotations") or ()),
        finish_reason=choice.get("finish_reason"),
    )


def _pause(retry_after: str | None) -> float | None:
    try:
        return max(0.0, float(retry_after or ""))
    except ValueError:
        return None
