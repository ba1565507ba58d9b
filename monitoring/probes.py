"""Golden probes: questions with known answers, asked through the gateway as a client would.

One file per alias, `<alias>.jsonl`, a probe a line:

    {"id": "fees-1", "messages": [{"role": "user", "content": "What does a transfer cost?"}],
     "expected": "two euros", "match": "contains"}

`match` is `exact` (the default), `contains`, `number` (some number of the answer is the expected
one) or `json` (the answer is equal as a JSON value). White space and case do not count but in
`json`. A probe carries the metadata `driftgate_probe`, by which the monitor leaves it out of its
windows; the traffic log keeps it, as it does other requests.
"""

import asyncio
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import httpx

from monitoring.requests import PROBE

Match = Literal["exact", "contains", "json", "number"]
MOST_PROBES = 200
_MOST_BYTES = 2_000_000
_MOST_ANSWER = 1_000_000
_MOST_MESSAGES = 50
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d{1,3})?", re.IGNORECASE)
_FIELDS = {"id", "messages", "expected", "match"}


class ProbesInvalid(Exception):
    """A file of probes cannot be used; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A question with a known answer."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    expected: str
    match: Match = "exact"

    def loss(self, answer: str) -> float:
        """Return 0 for the right answer, 1 for a wrong one."""
        return 0.0 if _MATCHES[self.match](answer, self.expected) else 1.0


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a probe.

    Attributes:
        id: Of the probe.
        release: What answered, as `x-driftgate-release` names it.
        loss: 0 or 1; None where there was no answer.
        error: Why there was none, such as `http 503` or `timeout`.
    """

    id: str
    release: str | None
    loss: float | None
    error: str | None = None


def load(path: Path) -> list[Probe]:
    """Read a file of probes, 200 at most.

    Raises:
        FileNotFoundError: There is none.
        ProbesInvalid: A line is no probe.
    """
    with path.open("rb") as file:
        raw = file.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise ProbesInvalid(f"{path}: larger than {_MOST_BYTES:,} bytes")
    found: dict[str, Probe] = {}
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            probe = _probe(line)
            if probe.id in found:
                raise ValueError(f"the id `{probe.id}` was there before")
        except (ValueError, RecursionError) as error:
            raise ProbesInvalid(f"{path}:{number}: {error}") from error
        found[probe.id] = probe
        if len(found) > MOST_PROBES:
            raise ProbesInvalid(f"{path}:{number}: more than {MOST_PROBES} probes")
    return list(found.values())


class Asker:
    """Asks probes of a gateway; call `close` in the end.

    Args:
        url: Of the gateway, without `/v1`.
        key: An API key.
        timeout_s: Of one probe.
        concurrency: Probes at a time.
        max_tokens: Of an answer.
    """

    def __init__(
        self, url: str, key: str, timeout_s: float = 60.0, concurrency: int = 2,
        max_tokens: int = 256,
    ) -> None:  # fmt: skip
        self._url = f"{url.rstrip('/')}/v1/chat/completions"
        self._timeout_s, self._max_tokens = timeout_s, max_tokens
        self._slots = asyncio.Semaphore(concurrency)
        self._client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {key}"}, timeout=timeout_s, trust_env=False
        )

    async def ask(self, alias: str, probes: Sequence[Probe]) -> list[Answered]:
        """Ask probes of an alias, and return what became of each, in their order."""
        return list(await asyncio.gather(*(self._ask(alias, probe) for probe in probes)))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, alias: str, probe: Probe) -> Answered:
        body = {
            "model": alias, "messages": [dict(each) for each in probe.messages],
            "temperature": 0, "max_tokens": self._max_tokens, "metadata": {PROBE: probe.id},
        }  # fmt: skip
        async with self._slots:
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._answer(probe, body)
            except (TimeoutError, httpx.TimeoutException):
                return Answered(probe.id, None, None, "timeout")
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                return Answered(probe.id, None, None, f"unreachable: {type(error).__name__}")

    async def _answer(self, probe: Probe, body: Mapping[str, Any]) -> Answered:
        async with self._client.stream("POST", self._url, json=body) as response:
            release = response.headers.get("x-driftgate-release")
            if response.status_code != 200:
                return Answered(probe.id, release, None, f"http {response.status_code}")
            raw = bytearray()
            async for chunk in response.aiter_bytes():
                raw += chunk
                if len(raw) > _MOST_ANSWER:
                    return Answered(probe.id, release, None, "the answer is too long")
        try:
            answer = json.loads(bytes(raw))["choices"][0]["message"]["content"]
        except (ValueError, RecursionError, KeyError, IndexError, TypeError):
            return Answered(probe.id, release, None, "no chat completion")
        return Answered(probe.id, release, probe.loss(answer if isinstance(answer, str) else ""))


def losses_by_release(answered: Sequence[Answered]) -> dict[str, list[float]]:
    """Return the losses of each release that answered; errors are none."""
    found: dict[str, list[float]] = {}
    for each in answered:
        if each.loss is not None and each.release is not None:
            found.setdefault(each.release, []).append(each.loss)
    return found


def _probe(line: bytes) -> Probe:
    """Return the probe of a line.

    Raises:
        ValueError: It is none; the message says what is wrong.
    """
    document = json.loads(line)
    if not isinstance(document, dict):
        raise ValueError("a probe is a JSON object")
    if unknown := set(document) - _FIELDS:
        raise ValueError(f"unknown field `{min(unknown)}`")
    id, messages, expected = (document.get(name) for name in ("id", "messages", "expected"))
    match = document.get("match", "exact")
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise ValueError("`id` must be 1 to 64 letters, digits or `.`, `_`, `:`, `-`")
    if not isinstance(messages, list) or not 0 < len(messages) <= _MOST_MESSAGES:
        raise ValueError(f"`messages` must be a list of 1 to {_MOST_MESSAGES} messages")
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ValueError("each of `messages` must be an object with a `role`")
    if not isinstance(expected, str) or not expected.strip():
        raise ValueError("`expected` must be a text")
    if match not in get_args(Match):
        raise ValueError(f"`match` must be one of {', '.join(get_args(Match))}")
    if match == "json" and _value(expected) is None:
        raise ValueError("`expected` is no JSON")
    if match == "number" and not _numbers(expected):
        raise ValueError("`expected` is no number")
    return Probe(id, tuple(messages), expected, match)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _numbers(text: str) -> list[float]:
    found = (float(each.replace(",", "")) for each in _NUMBER.findall(_plain(text)))
    return [number for number in found if math.isfinite(number)]


def _value(text: str) -> tuple[Any] | None:
    """Return a text's JSON value in a tuple; None: it is no JSON."""
    try:
        return (json.loads(text),)
    except (ValueError, RecursionError):
        return None


def _same_json(answer: str, expected: str) -> bool:
    value, wanted = _value(answer), _value(expected)
    return value is not None and wanted is not None and _same(value[0], wanted[0])


def _same(a: Any, b: Any) -> bool:
    """Return whether two JSON values are equal; unlike in Python, `true` is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _same_number(answer: str, expected: str) -> bool:
    wanted = _numbers(expected)[0]
    return any(math.isclose(each, wanted, rel_tol=1e-9) for each in _numbers(answer))


_MATCHES = {
    "exact": lambda answer, expected: _plain(answer) == _plain(expected),
    "contains": lambda answer, expected: _plain(expected) in _plain(answer),
    "json": _same_json,
    "number": _same_number,
}
