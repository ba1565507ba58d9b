"""The server's side of HTTP/1.1 over raw sockets: order, framing, limits, errors, closing."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import psutil
import pytest

from tests.gateway.running import RunningGateway, running_gateway, serve_release, wait

_CHAT = "/v1/chat/completions"
_TIMEOUT_S = 3


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with little patience and few connections."""
    limits = {
        "header_timeout_s": "0.5", "body_timeout_s": "0.6", "keep_alive_s": "1",
        "max_connections": "6", "idle_timeout_s": "1.5",
    }  # fmt: skip
    home = tmp_path_factory.mktemp("strict")
    with running_gateway(home, embedder="", **limits) as running:
        yield running


@dataclass
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error's code; the answer is in the one shape of errors."""
        error = json.loads(self.body)["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert self.headers["content-type"] == "application/json"
        return str(error["code"])

    @property
    def text(self) -> str:
        """The text of a chat completion, streamed or not."""
        if self.headers["content-type"].startswith("text/event-stream"):
            frames = self.body.decode().split("\n\n")
            assert frames[-2:] == ["data: [DONE]", ""]
            choices = [json.loads(f.removeprefix("data: "))["choices"] for f in frames[:-2]]
            return "".join(c[0]["delta"].get("content") or "" for c in choices if c)
        return str(json.loads(self.body)["choices"][0]["message"]["content"])


class _Client:
    """A connection that sends what it is told and reads answers one by one."""

    def __init__(self, gateway: RunningGateway, receive_buffer: int = 0) -> None:
        parts = urlsplit(gateway.url)
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(_TIMEOUT_S)
        self.socket.connect((parts.hostname, parts.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer."""
        first = self._file.readline()
        assert first.startswith(b"HTTP/1.1 "), first
        headers = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").strip().partition(": ")
            headers[name] = value
        return int(first.split()[1]), headers

    def answer(self, method: str = "POST") -> _Answer:
        """Read a whole answer."""
        status, headers = self.head()
        if method == "HEAD":
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = b"".join(self._chunks())
        elif "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
        else:
            assert headers["connection"] == "close"
            body = self._file.read()
        return _Answer(status, headers, body)

    def is_closed(self) -> bool:
        """Return whether the gateway closes the connection and sends nothing more before that."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def _chunks(self) -> Iterator[bytes]:
        while True:
            size = int(self._file.readline(), 16)
            yield self._exactly(size)
            assert self._file.readline() == b"\r\n"
            if size == 0:
                return

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        assert len(data) == size, f"{len(data)} of {size} bytes"
        return data


def _head(
    gateway: RunningGateway,
    method: str = "POST",
    path: str = _CHAT,
    version: str = "1.1",
    key: str | None = None,
    **headers: str,
) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: x"]
    lines.append(f"Authorization: Bearer {gateway.key if key is None else key}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _body(text: str = "one two three", **fields: Any) -> bytes:
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "production", "messages": messages, **fields}).encode()


def _request(gateway: RunningGateway, body: bytes | None = None, **head: Any) -> bytes:
    body = _body() if body is None else body
    return _head(gateway, content_length=str(len(body)), **head) + body


def _get(gateway: RunningGateway, path: str, **headers: str) -> bytes:
    return _head(gateway, "GET", path, **headers)


def _slow(text: str, seconds: float = 0.15, **fields: Any) -> bytes:
    return _body(text, metadata={"echo_first_delay_s": str(seconds)}, **fields)


def _still_serves(client: _Client, gateway: RunningGateway) -> None:
    client.send(_request(gateway, _body("still here")))
    assert client.answer().text == "still here"


# pipelines


def test_pipelined_requests_are_answered_in_their_order(gateway: RunningGateway) -> None:
    with _Client(gateway) as client:
        client.send(
            _request(gateway, _slow("first of all"))
            + _request(gateway, _body("second", stream=True))
            + _request(gateway, b"{")
            + _request(gateway, _slow("fourth", stream=True))
            + _request(gateway, _body("fifth"))
        )
        assert client.answer().text == "first of all"
        assert client.answer().text == "second"
        assert client.answer().code == "invalid_json"
        assert client.answer().text == "fourth"
        assert client.answer().text == "fifth"
        _still_serves(client, gateway)


def test_hot_and_other_routes_in_one_pipeline_keep_their_order(gateway: RunningGateway) -> None:
    feedback = b'{"completion_id": "nope", "score": 1}'
    with _Client(gateway) as client:
        client.send(
            _get(gateway, "/v1/models")
            + _request(gateway, _slow("second"))
            + _get(gateway, "/health/live")
            + _get(gateway, "/nothing")
            + _request(gateway, _body("fifth", stream=True))
            + _request(gateway, feedback, path="/v1/feedback", content_type="application/json")
            + _request(gateway, _body("seventh"))
            + _get(gateway, "/v1/models/production")
        )
        assert json.loads(client.answer().body)["object"] == "list"
        assert client.answer().text == "second"
        assert json.loads(client.answer().body) == {"status": "live"}
        assert client.answer().code == "route_not_found"
        assert client.answer().text == "fifth"
        assert client.answer().code == "completion_not_found"
        assert client.answer().text == "seventh"
        assert json.loads(client.answer().body)["id"] == "production"
        _still_serves(client, gateway)


def test_a_pipeline_that_arrives_in_pieces_keeps_its_order(gateway: RunningGateway) -> None:
    with _Client(gateway) as client:
        first = _request(gateway, _slow("first", 0.3))
        second = _request(gateway, _body("second"))
        third = _get(gateway, "/health/live")
        client.send(first + second[:50])
        time.sleep(0.05)
        client.send(second[50:-10])
        time.sleep(0.05)
        client.send(second[-10:] + third[:5])
        time.sleep(0.3)
        client.send(third[5:])
        assert client.answer().text == "first"
        assert client.answer().text == "second"
        assert json.loads(client.answer().body) == {"status": "live"}


def test_a_request_begun_while_another_is_answered_has_its_time(strict: RunningGateway) -> None:
    with _Client(strict) as client:
        second = _request(strict, _body("second"))
        client.send(_request(strict, _slow("first", 0.8)) + second[:20])
        assert client.answer().text == "first"
        client.send(second[20:])
        assert client.answer().text == "second"


def test_a_long_pipeline_of_refused_requests_is_answered_whole(gateway: RunningGateway) -> None:
    """One answer starts the next; 500 of them must not nest."""
    wrong = _head(gateway, key="none", content_length="0")
    with _Client(gateway) as client:
        client.send(_request(gateway, _slow("first")) + wrong * 500)
        assert client.answer().text == "first"
        for _ in range(500):
            assert client.answer().status == 401
        _still_serves(client, gateway)


def test_a_pipeline_without_end_is_not_taken_into_memory(strict: RunningGateway) -> None:
    """A client that sends requests and reads no answers is held back or sent away."""
    (worker,) = _workers(strict)
    before = worker.memory_info().rss
    requests = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n" * 1000
    sent, grown, until = 0, 0, time.monotonic() + 2.5
    with _Client(strict) as client, contextlib.suppress(ConnectionError):
        client.socket.settimeout(0.1)
        while time.monotonic() < until and grown < 40 * 2**20:
            with contextlib.suppress(TimeoutError):
                sent += client.socket.send(requests[sent % len(requests) :])
            grown = worker.memory_info().rss - before
    assert grown < 40 * 2**20, f"{grown >> 20} MiB for {sent} bytes of requests"


# HTTP/1.0, Expect, framing


@pytest.mark.parametrize("stream", [False, True])
def test_an_http_1_0_client_gets_an_answer_that_ends_with_the_connection(
    gateway: RunningGateway, stream: bool
) -> None:
    with _Client(gateway) as client:
        client.send(_request(gateway, _body("a b c", stream=stream), version="1.0"))
        answer = client.answer()
        assert answer.headers["connection"] == "close"
        assert "transfer-encoding" not in answer.headers
        assert answer.text == "a b c"
        assert client.is_closed()


def test_an_http_1_0_client_of_another_route(gateway: RunningGateway) -> None:
    with _Client(gateway) as client:
        client.send(_get(gateway, "/health/live", version="1.0"))
        answer = client.answer()
        assert (answer.status, answer.body) == (200, b'{"status":"live"}')
        assert client.is_closed()


@pytest.mark.parametrize("path", [_CHAT, "/v1/feedback"])
def test_a_client_that_expects_100_continue_gets_it_before_it_sends(
    gateway: RunningGateway, path: str
) -> None:
    with _Client(gateway) as client:
        body = _body() if path == _CHAT else b'{"completion_id": "nope", "score": 1}'
        headers = {"content_length": str(len(body)), "content_type": "application/json"}
        client.send(_head(gateway, path=path, expect="100-continue", **headers))
        assert client.head() == (100, {})
        client.send(body)
        assert client.answer().status == (200 if path == _CHAT else 404)
        _still_serves(client, gateway)


@pytest.mark.parametrize("length", [30_000, 10**12])
def test_who_expects_100_continue_for_too_much_is_told_at_once(
    gateway: RunningGateway, length: int
) -> None:
    with _Client(gateway) as client:
        client.send(_head(gateway, content_length=str(length), expect="100-continue"))
        answer = client.answer()
        assert (answer.status, answer.code) == (413, "body_too_large")
        assert client.is_closed()


def test_a_100_continue_does_not_cut_into_an_answer_under_way(gateway: RunningGateway) -> None:
    first = _body("a b c d", stream=True, metadata={"echo_delay_s": "0.05"})
    second = _body("second")
    with _Client(gateway) as client:
        client.send(_request(gateway, first))
        status, _ = client.head()
        assert status == 200
        headers = {"content_length": str(len(second)), "expect": "100-continue"}
        client.send(_head(gateway, **headers))
        frames = b"".join(client._chunks())
        assert frames.endswith(b"data: [DONE]\n\n")
        time.sleep(0.05)
        client.send(second)
        status, headers = client.head()
        if status == 100:
            assert client.answer().text == "second"


def test_a_request_may_arrive_byte_by_byte(gateway: RunningGateway) -> None:
    with _Client(gateway) as client:
        request = _request(gateway, _body("x"))
        client.send(*(request[n : n + 1] for n in range(len(request))))
        assert client.answer().text == "x"
        _still_serves(client, gateway)


def test_a_request_may_be_split_anywhere(gateway: RunningGateway) -> None:
    request = _request(gateway, _body("x"))
    with _Client(gateway) as client:
        for at in [*range(1, len(request), 17), len(request) - 1]:
            client.send(request[:at])
            time.sleep(0.002)
            client.send(request[at:])
            assert client.answer().text == "x"


@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_a_chunked_body_is_joined(gateway: RunningGateway, pieces: int) -> None:
    body = _body("one two")
    step = max(1, len(body) // pieces)
    chunks = [body[n : n + step] for n in range(0, len(body), step)]
    data = b"".join(b"%x;note=1\r\n%b\r\n" % (len(c), c) for c in chunks)
    with _Client(gateway) as client:
        head = _head(gateway, transfer_encoding="chunked")
        client.send(head + data + b"0\r\nx-trailer: y\r\n\r\n")
        assert client.answer().text == "one two"
        _still_serves(client, gateway)


def test_trailers_count_as_headers(gateway: RunningGateway) -> None:
    with _Client(gateway) as client:
        head = _head(gateway, transfer_encoding="chunked")
        client.send(head + b"%x\r\n%b\r\n0\r\nx-trailer: " % (len(_body()), _body()))
        try:
            client.send(b"y" * 300_000, b"\r\n\r\n")
            status, _ = client.head()
        except (AssertionError, ConnectionError):
            return  # closed
        assert status in (400, 413, 431)


# limits


@pytest.mark.parametrize("path", [_CHAT, "/v1/models"])
def test_headers_over_64_kib_are_431(gateway: RunningGateway, path: str) -> None:
    for line in (b"x: %b\r\n" % (b"y" * 100_000), b"x: y\r\n" * 15_000):
        with _Client(gateway) as client:
            client.send(b"POST %b HTTP/1.1\r\n%b" % (path.encode(), line))
            answer = client.answer()
            assert (answer.status, answer.code) == (431, "large_headers")
            assert answer.headers["connection"] == "close"
            client.send(b"x: y\r\n" * 1000)  # a client that is still sending sees its answer
            assert client.is_closed()


def test_a_long_url_without_end_is_431(gateway: RunningGateway) -> None:
    with _Client(gateway) as client:
        client.send(b"GET /" + b"a" * 100_000)
        assert client.answer().status == 431
        assert client.is_closed()


def test_large_headers_below_the_limit_pass(gateway: RunningGateway) -> None:
    with _Client(gateway) as client:
        client.send(_request(gateway, cookie="c" * 50_000))
        assert client.answer().status == 200


def test_headers_without_end_behind_a_request_under_way_are_refused(
    gateway: RunningGateway,
) -> None:
    """The limit holds for what is pipelined, too."""
    with _Client(gateway) as client:
        client.send(_request(gateway, _slow("first", 0.6)) + b"POST / HTTP/1.1\r\nx: ")
        sent = 0
        with contextlib.suppress(TimeoutError, ConnectionError):
            client.socket.settimeout(0.3)
            while sent < 20 * 2**20:
                client.send(b"y" * 65536)
                sent += 65536
    assert sent < 8 * 2**20, f"{sent} bytes of headers were taken in"


@pytest.mark.parametrize("path", [_CHAT, "/v1/models"])
def test_a_slow_head_is_408(strict: RunningGateway, path: str) -> None:
    with _Client(strict) as client:
        began = time.monotonic()
        client.send(f"POST {path} HTTP/1.1\r\n".encode())
        with contextlib.suppress(OSError):
            for _ in range(30):  # a drop at a time does not help
                client.send(b"a")
                time.sleep(0.02)
        answer = client.answer()
        assert (answer.status, answer.code) == (408, "headers_timeout")
        assert time.monotonic() - began < 1.2
        assert client.is_closed()


@pytest.mark.parametrize("path", [_CHAT, "/v1/feedback"])
def test_a_slow_body_is_408(strict: RunningGateway, path: str) -> None:
    with _Client(strict) as client:
        client.send(_head(strict, path=path, content_length="1000") + b"{")
        answer = client.answer()
        assert (answer.status, answer.code) == (408, "body_timeout")
        assert client.is_closed()


def test_a_body_that_the_gateway_itself_holds_back_is_not_late(strict: RunningGateway) -> None:
    """A request waits behind another one; its body is not read meanwhile, and so costs no time."""
    body = b'{"completion_id": "nope", "score": 1}' + b" " * 200_000
    with _Client(strict) as client:
        client.send(_request(strict, _slow("first", 1.2)))
        client.send(_request(strict, body, path="/v1/feedback", content_type="application/json"))
        assert client.answer().text == "first"
        assert client.answer().status == 404


def test_an_idle_connection_is_closed_in_time_and_not_before(strict: RunningGateway) -> None:
    with _Client(strict) as fresh, _Client(strict) as used, _Client(strict) as other:
        used.send(_request(strict))
        assert used.answer().status == 200
        other.send(_get(strict, "/health/live"))
        assert other.answer().status == 200
        began = time.monotonic()
        time.sleep(0.6)
        _still_serves(used, strict)
        for client in (fresh, other):
            assert client.is_closed()
        assert time.monotonic() - began < 1.6
        assert used.is_closed()
        assert 1.5 < time.monotonic() - began < 2.2


def test_one_connection_too_many_is_503_and_those_there_go_on(strict: RunningGateway) -> None:
    time.sleep(0.1)  # earlier tests' connections have gone
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(_Client(strict)) for _ in range(6)]
        with _Client(strict) as late:
            answer = late.answer()
            assert (answer.status, answer.code) == (503, "too_many_connections")
            assert int(answer.headers["retry-after"]) > 0
            assert late.is_closed()
        for client in clients:
            _still_serves(client, strict)

    def served() -> bool:
        with _Client(strict) as client:
            client.send(_request(strict))
            return client.answer().status == 200

    wait(served, 4)


# refusals before the body


@pytest.mark.parametrize("key", ["none", None])
def test_a_large_body_is_refused_while_the_client_still_sends(
    gateway: RunningGateway, key: str | None
) -> None:
    with _Client(gateway) as client:
        client.send(_head(gateway, key=key, content_length="5000000") + b"x" * 1000)
        assert client.answer().code == "body_too_large"
        with contextlib.suppress(ConnectionError, TimeoutError):
            client.send(*[b"x" * 50_000] * 20)
        assert client.is_closed()


@pytest.mark.parametrize(
    "framing", [{"content_length": "5000000"}, {"transfer_encoding": "chunked"}]
)
@pytest.mark.parametrize("path", [_CHAT, "/v1/completions", "/v1/responses"])
def test_a_wrong_key_is_refused_before_a_large_body(
    strict: RunningGateway, path: str, framing: dict[str, str]
) -> None:
    """The gateway with the usual limit for bodies."""
    with _Client(strict) as client:
        client.send(_head(strict, path=path, key="dg-wrong", **framing) + b"10")
        answer = client.answer()
        assert (answer.status, answer.code) == (401, "invalid_api_key")
        client.send(b"x" * 100_000)  # read on, so that the answer is not lost
        assert client.is_closed()


def test_a_wrong_key_is_refused_before_a_body_of_another_route(strict: RunningGateway) -> None:
    headers = {"content_length": "5000000", "content_type": "application/json"}
    with _Client(strict) as client:
        client.send(_head(strict, path="/v1/feedback", key="dg-wrong", **headers) + b"{")
        answer = client.answer()
        assert (answer.status, answer.code) == (401, "invalid_api_key")


def test_no_key_at_all_is_refused_before_a_large_body(strict: RunningGateway) -> None:
    with _Client(strict) as client:
        client.send(b"POST %b HTTP/1.1\r\ncontent-length: 5000000\r\n\r\n" % _CHAT.encode())
        assert client.answer().code == "missing_api_key"
        assert client.is_closed()


def test_a_refused_client_that_never_stops_sending_is_cut_off(strict: RunningGateway) -> None:
    with _Client(strict) as client:
        client.send(_head(strict, key="x", content_length="5000000"))
        assert client.answer().status == 401
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - began < 5:
                client.send(b"x")
                time.sleep(0.02)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("wrong_first", [True, False])
def test_of_two_keys_all_routes_take_the_same(gateway: RunningGateway, wrong_first: bool) -> None:
    """Or refuse both; else what stands in front of the gateway may check the other one."""
    keys = ["dg-wrong", gateway.key] if wrong_first else [gateway.key, "dg-wrong"]
    lines = "".join(f"Authorization: Bearer {key}\r\n" for key in keys).encode()
    body = _body()
    with _Client(gateway) as client:
        length = b"content-length: %d\r\n\r\n" % len(body)
        client.send(b"POST %b HTTP/1.1\r\n%b%b%b" % (_CHAT.encode(), lines, length, body))
        hot = client.answer()
    with _Client(gateway) as client:
        client.send(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n%b\r\n" % lines)
        assert client.answer().status == hot.status


# paths and methods


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions?",
        "/v1/chat/completions?api-version=2024&x=%2F",
        "/v1/chat%2Fcompletions",
        "/v1/%63hat/completions",
        "http://other.example/v1/chat/completions",
        "https://other.example:443/v1/chat/completions?x=1",
    ],
)
def test_a_hot_path_may_be_spelt_in_many_ways(gateway: RunningGateway, path: str) -> None:
    with _Client(gateway) as client:
        client.send(_request(gateway, path=path))
        assert client.answer().text == "one two three"
        client.send(_request(gateway, path=path, key="dg-wrong"))
        assert client.answer().status == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/chat/completions/", {307, 404, 405}),
        ("//v1/chat/completions", {400, 404}),
        ("/v1/chat/completions/../completions", {404, 405}),
        ("/V1/chat/completions", {404}),
        ("/v1/chat/completions%00", {404, 405}),
        ("/v1/chat/completions%ff", {404, 405}),
        ("/v1/chat/completions;x=1", {404, 405}),
        ("*", {400, 404}),
        ("http://x", {400, 404}),
        ("http://", {400, 404}),
        ("http://x:y/v1/chat/completions", {400, 404}),
        ("/\xe4", {400, 404}),
    ],
)
def test_other_spellings_are_errors_not_crashes(
    gateway: RunningGateway, path: str, status: set[int]
) -> None:
    with _Client(gateway) as client:
        client.send(_request(gateway, b"{}", path=path))
        answer = client.answer()
        assert answer.status in status
        if answer.status != 307:
            assert answer.code


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/responses", "/v1/%72esponses?x=1"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_hot_paths_take_only_post(gateway: RunningGateway, method: str, path: str) -> None:
    with _Client(gateway) as client:
        client.send(_head(gateway, method, path, content_length="0"))
        answer = client.answer(method)
        assert answer.status == 405
        assert answer.headers["allow"] == "POST"
        if method != "HEAD":
            assert answer.code == "method_not_allowed"
        _still_serves(client, gateway)


def test_a_body_of_a_method_that_is_not_allowed_is_skipped(gateway: RunningGateway) -> None:
    with _Client(gateway) as client:
        for method in ("PUT", "GET", "DELETE"):
            client.send(_request(gateway, method=method, path="/v1/responses"))
            assert client.answer().code == "method_not_allowed"
            _still_serves(client, gateway)


# closing, upgrades, garbage, reuse


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_asks_to_close_is_closed(gateway: RunningGateway, stream: bool) -> None:
    with _Client(gateway) as client:
        request = _request(gateway, _body("a b", stream=stream), connection="close")
        client.send(request + _request(gateway))  # what follows is not looked at
        answer = client.answer()
        assert answer.headers["connection"] == "close"
        assert answer.text == "a b"
        assert client.is_closed()


@pytest.mark.parametrize("path", [_CHAT, "/v1/models/production"])
def test_an_offer_to_speak_another_protocol_is_not_taken(
    gateway: RunningGateway, path: str
) -> None:
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAM"}
    with _Client(gateway) as client:
        for _ in range(2):
            if path == _CHAT:
                client.send(_request(gateway, None, **offer))
                assert client.answer().text == "one two three"
            else:
                client.send(_get(gateway, path, **offer))
                assert json.loads(client.answer().body)["id"] == "production"
        _still_serves(client, gateway)


@pytest.mark.parametrize("path", [_CHAT, "/v1/models/production"])
def test_what_follows_an_offer_of_another_protocol_is_not_lost(
    gateway: RunningGateway, path: str
) -> None:
    offer = {"connection": "Upgrade", "upgrade": "h2c"}
    with _Client(gateway) as client:
        first = _get(gateway, path, **offer) if path != _CHAT else _request(gateway, None, **offer)
        client.send(first + _request(gateway, _body("second")))
        assert client.answer().status == 200
        assert client.answer().text == "second"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # somebody speaks TLS
        b"what?\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 1\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\x00: y\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
def test_garbage_is_400_in_the_shape_of_errors(gateway: RunningGateway, garbage: bytes) -> None:
    with _Client(gateway) as client:
        client.send(garbage)
        answer = client.answer()
        assert answer.status in (400, 401, 404, 405), answer
        assert answer.code
        if answer.status == 400:
            assert answer.code == "invalid_http"
            assert client.is_closed()


@pytest.mark.parametrize("path", [_CHAT, "/v1/feedback"])
def test_a_body_that_is_not_chunked_as_it_says_is_400(gateway: RunningGateway, path: str) -> None:
    with _Client(gateway) as client:
        client.send(_head(gateway, path=path, transfer_encoding="chunked") + b"zz\r\n")
        answer = client.answer()
        assert (answer.status, answer.code) == (400, "invalid_http")
        assert client.is_closed()


@pytest.mark.parametrize("path", [_CHAT, "/v1/models"])
def test_garbage_behind_an_answer_is_400_and_closes(gateway: RunningGateway, path: str) -> None:
    with _Client(gateway) as client:
        client.send(_request(gateway) if path == _CHAT else _get(gateway, path))
        assert client.answer().status == 200
        client.send(b"garbage\r\n\r\n")
        assert client.answer().code == "invalid_http"
        assert client.is_closed()


def test_a_connection_is_reused_after_each_kind_of_error(gateway: RunningGateway) -> None:
    kinds: list[tuple[bytes, int]] = [
        (_request(gateway, b"{"), 400),
        (_request(gateway, b"\xff"), 400),
        (_request(gateway, _body(model="nope")), 404),
        (_request(gateway, key="dg-wrong"), 401),
        (_request(gateway, b"", path="/v1/responses"), 400),
        (_request(gateway, _slow("x", 5)), 504),
        (_request(gateway, b"{}", path="/v1/feedback", content_type="application/json"), 400),
        (_get(gateway, "/nothing"), 404),
        (_get(gateway, "/v1/models", key="dg-wrong"), 401),
        (_head(gateway, "DELETE", "/v1/models"), 405),
        (_request(gateway, _body(stream=True, metadata={"echo_delay_s": "nan"})), 400),
    ]
    with _Client(gateway) as client:
        for request, status in kinds:
            client.send(request)
            answer = client.answer()
            assert answer.status == status, (request, answer)
            assert answer.code
            _still_serves(client, gateway)


def test_every_answer_has_a_date_and_a_request_id(gateway: RunningGateway) -> None:
    with _Client(gateway) as client:
        client.send(_request(gateway) + _request(gateway, b"{") + _request(gateway, key="x"))
        answers = [client.answer() for _ in range(3)]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
    assert all(answer.headers["date"].endswith(" GMT") for answer in answers)


# slow readers


def _workers(gateway: RunningGateway) -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("DRIFTGATE_HOME") == str(gateway.home)
            if ours and "gateway.worker" in process.cmdline():
                found.append(process)
    return found


_FRAME = b'data: {"id":"chatcmpl-big","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'


@contextlib.contextmanager
def _big_engine(gateway: RunningGateway, name: str, size: int) -> Iterator[dict[str, int]]:
    """Serve the alias `name` by an engine that streams, or answers with, `size` bytes."""
    state = {"sent": 0, "left": 0}
    frame = _FRAME % (b"x" * 16000)

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = connection.recv(65536)
            if request.startswith(b"GET /health"):
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                return
            try:
                if b'"stream":true' in request.replace(b" ", b""):
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
                    )
                    while state["sent"] < size:
                        connection.sendall(frame)
                        state["sent"] += len(frame)
                    connection.sendall(b"data: [DONE]\n\n")
                else:
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
                    connection.sendall(b"x" * size)
            except OSError:
                state["left"] = 1
                raise

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        serve_release(gateway.database, f"{name}-1", f"http://127.0.0.1:{server.getsockname()[1]}")
        with gateway.client() as client:
            wait(lambda: client.get(f"/v1/models/{name}").status_code == 200)
        yield state
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_a_slow_reader_of_a_large_stream_costs_no_memory(strict: RunningGateway) -> None:
    size = 48 * 2**20
    (worker,) = _workers(strict)
    with _big_engine(strict, "slow", size) as state, _Client(strict, 65536) as client:
        before = worker.memory_info().rss
        client.send(_request(strict, _body(model="slow", stream=True)))
        status, _ = client.head()
        assert status == 200
        time.sleep(0.7)
        assert state["sent"] < 16 * 2**20, "the engine is not held back"
        assert worker.memory_info().rss - before < 16 * 2**20
        frames = b"".join(client._chunks())
        assert len(frames) >= size
        assert frames.endswith(b"data: [DONE]\n\n")
        assert worker.memory_info().rss - before < 24 * 2**20
        _still_serves(client, strict)


def test_a_client_that_reads_nothing_of_a_stream_is_let_go(strict: RunningGateway) -> None:
    with _big_engine(strict, "stuck", 48 * 2**20) as state, _Client(strict, 65536) as client:
        client.send(_request(strict, _body(model="stuck", stream=True)))
        status, _ = client.head()
        assert status == 200
        wait(lambda: state["left"] == 1, 4)
        with pytest.raises((ConnectionResetError, AssertionError, ValueError)):
            b"".join(client._chunks())


def test_a_client_that_reads_nothing_of_an_answer_is_let_go(strict: RunningGateway) -> None:
    """A whole answer is handed over at once; it must not stay in memory for as long as it likes."""
    (worker,) = _workers(strict)
    port = urlsplit(strict.url).port

    def connections() -> int:
        return sum(c.laddr.port == port and bool(c.raddr) for c in worker.net_connections("tcp"))

    wait(lambda: connections() == 0, 4)
    with _big_engine(strict, "unread", 16 * 2**20), _Client(strict, 65536) as client:
        client.send(_request(strict, _body(model="unread")))
        status, _ = client.head()
        assert status == 200
        wait(lambda: connections() == 0, 4)
