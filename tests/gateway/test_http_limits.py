"""Sizes and times of requests, and refusals before a body is read."""

import contextlib
import time

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
)
from tests.gateway.running import RunningGateway, wait


@pytest.mark.parametrize("path", [CHAT, "/v1/models"])
def test_headers_over_64_kib_are_431(gateway: RunningGateway, path: str) -> None:
    for line in (b"x: %b\r\n" % (b"y" * 100_000), b"x: y\r\n" * 15_000):
        with Client(gateway) as client:
            client.send(b"POST %b HTTP/1.1\r\n%b" % (path.encode(), line))
            answer = client.answer()
            assert (answer.status, answer.code) == (431, "large_headers")
            assert answer.headers["connection"] == "close"
            client.send(b"x: y\r\n" * 1000)  # a client that is still sending sees its answer
            assert client.is_closed()


def test_a_long_url_without_end_is_431(gateway: RunningGateway) -> None:
    with Client(gateway) as client:
        client.send(b"GET /" + b"a" * 100_000)
        assert client.answer().status == 431
        assert client.is_closed()


def test_large_headers_below_the_limit_pass(gateway: RunningGateway) -> None:
    with Client(gateway) as client:
        client.send(request_of(gateway, cookie="c" * 50_000))
        assert client.answer().status == 200


def test_headers_without_end_behind_a_request_under_way_are_refused(
    gateway: RunningGateway,
) -> None:
    """The limit holds for what is pipelined, too."""
    with Client(gateway) as client:
        client.send(request_of(gateway, slow_body("first", 0.6)) + b"POST / HTTP/1.1\r\nx: ")
        sent = 0
        with contextlib.suppress(TimeoutError, ConnectionError):
            client.socket.settimeout(0.3)
            while sent < 20 * 2**20:
                client.send(b"y" * 65536)
                sent += 65536
    assert sent < 8 * 2**20, f"{sent} bytes of headers were taken in"


@pytest.mark.parametrize("path", [CHAT, "/v1/models"])
def test_a_slow_head_is_408(strict: RunningGateway, path: str) -> None:
    with Client(strict) as client:
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


@pytest.mark.parametrize("path", [CHAT, "/v1/feedback"])
def test_a_slow_body_is_408(strict: RunningGateway, path: str) -> None:
    with Client(strict) as client:
        client.send(head_of(strict, path=path, content_length="1000") + b"{")
        answer = client.answer()
        assert (answer.status, answer.code) == (408, "body_timeout")
        assert client.is_closed()


def test_a_large_body_on_a_slow_line_gets_more_time(strict: RunningGateway) -> None:
    body = b'{"completion_id": "nope", "score": 1}' + b" " * 160_000
    with Client(strict) as client:
        headers = {"content_length": str(len(body)), "content_type": "application/json"}
        client.send(head_of(strict, path="/v1/feedback", **headers))
        for start in range(0, len(body), 16_000):
            client.send(body[start : start + 16_000])
            time.sleep(0.12)  # 1.2 s in all, twice what a small body gets
        assert client.answer().status == 404


def test_a_body_that_the_gateway_itself_holds_back_is_not_late(strict: RunningGateway) -> None:
    """A request waits behind another one; its body is not read meanwhile, and so costs no time."""
    body = b'{"completion_id": "nope", "score": 1}' + b" " * 200_000
    with Client(strict) as client:
        client.send(request_of(strict, slow_body("first", 1.2)))
        client.send(request_of(strict, body, path="/v1/feedback", content_type="application/json"))
        assert client.answer().text == "first"
        assert client.answer().status == 404


def test_an_idle_connection_is_closed_in_time_and_not_before(strict: RunningGateway) -> None:
    with Client(strict) as fresh, Client(strict) as used, Client(strict) as other:
        used.send(request_of(strict))
        assert used.answer().status == 200
        other.send(get_of(strict, "/health/live"))
        assert other.answer().status == 200
        began = time.monotonic()
        time.sleep(0.6)
        still_serves(used, strict)
        for client in (fresh, other):
            assert client.is_closed()
        assert time.monotonic() - began < 1.6
        assert used.is_closed()
        assert 1.5 < time.monotonic() - began < 2.2


def test_one_connection_too_many_is_503_and_those_there_go_on(strict: RunningGateway) -> None:
    time.sleep(0.1)  # earlier tests' connections have gone
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(strict)) for _ in range(6)]
        with Client(strict) as late:
            answer = late.answer()
            assert (answer.status, answer.code) == (503, "too_many_connections")
            assert int(answer.headers["retry-after"]) > 0
            assert late.is_closed()
        for client in clients:
            still_serves(client, strict)

    def served() -> bool:
        with Client(strict) as client:
            client.send(request_of(strict))
            return client.answer().status == 200

    wait(served, 4)


@pytest.mark.parametrize("key", ["none", None])
def test_a_large_body_is_refused_while_the_client_still_sends(
    gateway: RunningGateway, key: str | None
) -> None:
    with Client(gateway) as client:
        client.send(head_of(gateway, key=key, content_length="5000000") + b"x" * 1000)
        assert client.answer().code == "body_too_large"
        with contextlib.suppress(ConnectionError, TimeoutError):
            client.send(*[b"x" * 50_000] * 20)
        assert client.is_closed()


@pytest.mark.parametrize(
    "framing", [{"content_length": "5000000"}, {"transfer_encoding": "chunked"}]
)
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/responses"])
def test_a_wrong_key_is_refused_before_a_large_body(
    strict: RunningGateway, path: str, framing: dict[str, str]
) -> None:
    """The gateway with the usual limit for bodies."""
    with Client(strict) as client:
        client.send(head_of(strict, path=path, key="dg-wrong", **framing) + b"10")
        answer = client.answer()
        assert (answer.status, answer.code) == (401, "invalid_api_key")
        client.send(b"x" * 100_000)  # read on, so that the answer is not lost
        assert client.is_closed()


def test_a_wrong_key_is_refused_before_a_body_of_another_route(strict: RunningGateway) -> None:
    headers = {"content_length": "5000000", "content_type": "application/json"}
    with Client(strict) as client:
        client.send(head_of(strict, path="/v1/feedback", key="dg-wrong", **headers) + b"{")
        answer = client.answer()
        assert (answer.status, answer.code) == (401, "invalid_api_key")


def test_no_key_at_all_is_refused_before_a_large_body(strict: RunningGateway) -> None:
    with Client(strict) as client:
        client.send(b"POST %b HTTP/1.1\r\ncontent-length: 5000000\r\n\r\n" % CHAT.encode())
        assert client.answer().code == "missing_api_key"
        assert client.is_closed()


def test_a_refused_client_that_never_stops_sending_is_cut_off(strict: RunningGateway) -> None:
    with Client(strict) as client:
        client.send(head_of(strict, key="x", content_length="5000000"))
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
    body = chat_body()
    with Client(gateway) as client:
        length = b"content-length: %d\r\n\r\n" % len(body)
        client.send(b"POST %b HTTP/1.1\r\n%b%b%b" % (CHAT.encode(), lines, length, body))
        hot = client.answer()
    with Client(gateway) as client:
        client.send(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n%b\r\n" % lines)
        assert client.answer().status == hot.status
