"""Random and mutated requests: hypothesis' strategies for bodies, and bytes spoilt by dice.

Everything follows from a seed, so that a failure can be had again.
"""

import random
import warnings
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from loadtests.chaos.raw import message
from loadtests.chaos.targets import Running

_PATHS = (
    "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/feedback",
    "/v1/models", "/health/ready", "/metrics", "/", "/v1/%00", "/v1/chat/completions?x=1",
    "/v1/chat/%63ompletions", "//", "*", "http://x/v1/completions",
)  # fmt: skip
_METHODS = ("POST",) * 12 + ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "CONNECT", "X")
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=8,
)
_MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "system", "assistant", "tool", "x"]) | _JSON,
        "content": st.text(max_size=40) | _JSON,
        "name": _JSON,
    },
)
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.just("production") | st.text(max_size=10) | _JSON,
    "messages": st.lists(_MESSAGE, max_size=4) | _JSON,
    "prompt": st.text(max_size=40) | _JSON,
    "input": st.text(max_size=40) | _JSON,
    "stream": st.booleans() | _JSON,
    "stream_options": st.fixed_dictionaries({"include_usage": _JSON}) | _JSON,
    "max_tokens": st.integers() | _JSON,
    "n": st.integers(-2, 4) | _JSON,
    "stop": st.lists(st.text(max_size=4), max_size=5) | _JSON,
    "temperature": st.floats() | _JSON,
    "metadata": st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3) | _JSON,
    "store": st.booleans() | _JSON,
    "response_format": _JSON,
    "tools": _JSON,
    "completion_id": _JSON,
    "score": _JSON,
}
_GOOD = {
    "model": "production", "messages": [{"role": "user", "content": "one two"}],
    "prompt": "one two", "input": "one two",
}  # fmt: skip
# Good but for a field or two, anything goes, or no object at all.
_BODY = (
    st.tuples(st.sampled_from(sorted(_FIELDS)), st.sampled_from(sorted(_FIELDS)), st.data()).map(
        lambda drawn: {**_GOOD, **{name: drawn[2].draw(_FIELDS[name]) for name in drawn[:2]}}
    )
    | st.fixed_dictionaries({}, optional=_FIELDS)
    | _JSON
)
# So many are drawn; each is sent several times, in other clothes.
_DRAWN = 1200


class Shape:
    """One request to send.

    Attributes:
        data: Its bytes.
        valid: Whether these are an unspoilt HTTP message: it must be answered.
    """

    __slots__ = ("data", "valid")

    def __init__(self, data: bytes, valid: bool) -> None:
        self.data = data
        self.valid = valid


def requests(running: Running, count: int, number: int) -> list[Shape]:
    """Return `count` requests: a third with random bodies, a third spoilt, a third made of both."""
    dice = random.Random(number)
    name = msgspec.json.encode(running.model)
    bodies = [b.replace(b'"production"', name) for b in _bodies(min(count, _DRAWN), number)]
    shapes = []
    for at in range(count):
        if at % 3 == 0:
            whole = message(running, "one two three", dice.random() < 0.5)
            shapes.append(Shape(_spoilt(whole, dice), False))
        else:
            data = _http(running, bodies[at % len(bodies)], dice)
            shapes.append(Shape(_spoilt(data, dice), False) if at % 3 == 1 else Shape(data, True))
    return shapes


def _bodies(count: int, number: int) -> list[bytes]:
    """Return bodies that hypothesis draws."""
    found: list[bytes] = []

    @seed(number)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(_BODY)
    def draw(value: Any) -> None:
        found.append(_encoded(value))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draw()
    return found


def _encoded(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError, ValueError):  # lone surrogates, huge numbers
        import json

        return json.dumps(value).encode("utf-8", "surrogatepass")


def _http(running: Running, body: bytes, dice: random.Random) -> bytes:
    method = dice.choice(_METHODS)
    path = dice.choice(_PATHS[:5] * 4 + _PATHS)
    lines = [f"{method} {path} HTTP/1.1", "host: x"]
    if dice.random() < 0.9:
        lines.append("content-type: application/json")
    if dice.random() < 0.95:
        lines += [f"{name}: {value}" for name, value in running.headers.items()]
    if dice.random() < 0.7:
        lines.append(f"content-length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body
    lines.append("transfer-encoding: chunked")
    cut = dice.randrange(len(body) + 1)
    parts = [part for part in (body[:cut], body[cut:]) if part]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return "\r\n".join([*lines, "", ""]).encode() + chunks


def _spoilt(data: bytes, dice: random.Random) -> bytes:
    """Return bytes with one to four wounds."""
    spoilt = bytearray(data)
    for _ in range(dice.randrange(1, 5)):
        dice.choice(_WOUNDS)(spoilt, dice)
    return bytes(spoilt)


def _flip(data: bytearray, dice: random.Random) -> None:
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _cut(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(len(data) + 1) :]


def _drop(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(data) + 1)
    del data[at : at + dice.randrange(1, 20)]


def _insert(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(data) + 1)
    data[at:at] = dice.choice(_SCRAPS)


def _repeat(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(data) + 1)
    data[at:at] = data[at : at + dice.randrange(1, 200)]


_SCRAPS = (
    b"\x00", b"\r\n", b"\r\n\r\n", b"\xff\xfe", b"content-length: 5\r\n", b"A" * 3000, b"{" * 500,
    b"transfer-encoding: chunked\r\n", b"expect: 100-continue\r\n", b"connection: upgrade\r\n",
    b'"\\ud800"', b"1e999", b"-1", b" ", b"upgrade: websocket\r\n", b"GET / HTTP/1.1\r\n\r\n",
)  # fmt: skip
_WOUNDS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _cut, _drop, _insert, _repeat,
)  # fmt: skip
