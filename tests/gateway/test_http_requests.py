"""Paths, methods, closing, offers of other protocols, garbage, reuse, slow readers."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.gateway.raw_http import (
    CHAT,
    Client,
    chat_body,
    get_of,
    head_of,
    request_of,
    slow_body,
    still_serves,
    workers,
)
from tests.gateway.running import RunningGateway, serve_release, wait


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
    with Client(gateway) as client:
        client.send(request_of(gateway, path=path))
        assert client.answer().text == "one two three"
        client.send(request_of(gateway, path=path, key="dg-wrong"))
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
    with Client(gateway) as client:
        client.send(request_of(gateway, b"{}", path=path))
        answer = client.answer()
        assert answer.status in status
        if answer.status != 307:
            assert answer.code


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/responses", "/v1/%72esponses?x=1"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_hot_paths_take_only_post(gateway: RunningGateway, method: str, path: str) -> None:
    with Client(gateway) as client:
        client.send(head_of(gateway, method, path, content_length="0"))
        answer = client.answer(method)
        assert answer.status == 405
        assert answer.headers["allow"] == "POST"
        if method != "HEAD":
            assert answer.code == "method_not_allowed"
        still_serves(client, gateway)


def test_a_body_of_a_method_that_is_not_allowed_is_skipped(gateway: RunningGateway) -> None:
    with Client(gateway) as client:
        for method in ("PUT", "GET", "DELETE"):
            client.send(request_of(gateway, method=method, path="/v1/responses"))
            assert client.answer().code == "method_not_allowed"
            still_serves(client, gateway)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_asks_to_close_is_closed(gateway: RunningGateway, stream: bool) -> None:
    with Client(gateway) as client:
        request = request_of(gateway, chat_body("a b", stream=stream), connection="close")
        client.send(request + request_of(gateway))  # what follows is not looked at
        answer = client.answer()
        assert answer.headers["connection"] == "close"
        assert answer.text == "a b"
        assert client.is_closed()


@pytest.mark.parametrize("path", [CHAT, "/v1/models/production"])
def test_an_offer_to_speak_another_protocol_is_not_taken(
    gateway: RunningGateway, path: str
) -> None:
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAM"}
    with Client(gateway) as client:
        for _ in range(2):
            if path == CHAT:
                client.send(request_of(gateway, None, **offer))
                assert client.answer().text == "one two three"
            else:
                client.send(get_of(gateway, path, **offer))
                assert json.loads(client.answer().body)["id"] == "production"
        still_serves(client, gateway)


@pytest.mark.parametrize("path", [CHAT, "/v1/models/production"])
def test_what_follows_an_offer_of_another_protocol_is_not_lost(
    gateway: RunningGateway, path: str
) -> None:
    offer = {"connection": "Upgrade", "upgrade": "h2c"}
    with Client(gateway) as client:
        first = (
            get_of(gateway, path, **offer) if path != CHAT else request_of(gateway, None, **offer)
        )
        client.send(first + request_of(gateway, chat_body("second")))
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
    with Client(gateway) as client:
        client.send(garbage)
        answer = client.answer()
        assert answer.status in (400, 401, 404, 405), answer
        assert answer.code
        if answer.status == 400:
            assert answer.code == "invalid_http"
            assert client.is_closed()


@pytest.mark.parametrize("path", [CHAT, "/v1/feedback"])
def test_a_body_that_is_not_chunked_as_it_says_is_400(gateway: RunningGateway, path: str) -> None:
    with Client(gateway) as client:
        client.send(head_of(gateway, path=path, transfer_encoding="chunked") + b"zz\r\n")
        answer = client.answer()
        assert (answer.status, answer.code) == (400, "invalid_http")
        assert client.is_closed()


@pytest.mark.parametrize("path", [CHAT, "/v1/models"])
def test_garbage_behind_an_answer_is_400_and_closes(gateway: RunningGateway, path: str) -> None:
    with Client(gateway) as client:
        client.send(request_of(gateway) if path == CHAT else get_of(gateway, path))
        assert client.answer().status == 200
        client.send(b"garbage\r\n\r\n")
        assert client.answer().code == "invalid_http"
        assert client.is_closed()


def test_a_connection_is_reused_after_each_kind_of_error(gateway: RunningGateway) -> None:
    kinds: list[tuple[bytes, int]] = [
        (request_of(gateway, b"{"), 400),
        (request_of(gateway, b"\xff"), 400),
        (request_of(gateway, chat_body(model="nope")), 404),
        (request_of(gateway, key="dg-wrong"), 401),
        (request_of(gateway, b"", path="/v1/responses"), 400),
        (request_of(gateway, slow_body("x", 5)), 504),
        (request_of(gateway, b"{}", path="/v1/feedback", content_type="application/json"), 400),
        (get_of(gateway, "/nothing"), 404),
        (get_of(gateway, "/v1/models", key="dg-wrong"), 401),
        (head_of(gateway, "DELETE", "/v1/models"), 405),
        (request_of(gateway, chat_body(stream=True, metadata={"echo_delay_s": "nan"})), 400),
    ]
    with Client(gateway) as client:
        for request, status in kinds:
            client.send(request)
            answer = client.answer()
            assert answer.status == status, (request, answer)
            assert answer.code
            still_serves(client, gateway)


def test_every_answer_has_a_date_and_a_request_id(gateway: RunningGateway) -> None:
    with Client(gateway) as client:
        client.send(request_of(gateway) + request_of(gateway, b"{") + request_of(gateway, key="x"))
        answers = [client.answer() for _ in range(3)]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
    assert all(answer.headers["date"].endswith(" GMT") for answer in answers)


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
    (worker,) = workers(strict)
    with _big_engine(strict, "slow", size) as state, Client(strict, 65536) as client:
        before = worker.memory_info().rss
        client.send(request_of(strict, chat_body(model="slow", stream=True)))
        status, _ = client.head()
        assert status == 200
        time.sleep(0.7)
        assert state["sent"] < 16 * 2**20, "the engine is not held back"
        assert worker.memory_info().rss - before < 16 * 2**20
        frames = b"".join(client._chunks())
        assert len(frames) >= size
        assert frames.endswith(b"data: [DONE]\n\n")
        assert worker.memory_info().rss - before < 24 * 2**20
        still_serves(client, strict)


def test_a_client_that_reads_nothing_of_a_stream_is_let_go(strict: RunningGateway) -> None:
    with _big_engine(strict, "stuck", 48 * 2**20) as state, Client(strict, 65536) as client:
        client.send(request_of(strict, chat_body(model="stuck", stream=True)))
        status, _ = client.head()
        assert status == 200
        wait(lambda: state["left"] == 1, 4)
        with pytest.raises((ConnectionResetError, AssertionError, ValueError)):
            b"".join(client._chunks())


def test_a_client_that_reads_nothing_of_an_answer_is_let_go(strict: RunningGateway) -> None:
    """A whole answer is handed over at once; it must not stay in memory for as long as it likes."""
    (worker,) = workers(strict)
    port = urlsplit(strict.url).port

    def connections() -> int:
        return sum(c.laddr.port == port and bool(c.raddr) for c in worker.net_connections("tcp"))

    wait(lambda: connections() == 0, 4)
    with _big_engine(strict, "unread", 16 * 2**20), Client(strict, 65536) as client:
        client.send(request_of(strict, chat_body(model="unread")))
        status, _ = client.head()
        assert status == 200
        wait(lambda: connections() == 0, 4)
