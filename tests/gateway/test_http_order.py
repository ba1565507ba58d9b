"""The order of answers in a pipeline, and how requests may be framed."""

import contextlib
import json
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
    workers,
)
from tests.gateway.running import RunningGateway


def test_pipelined_requests_are_answered_in_their_order(gateway: RunningGateway) -> None:
    with Client(gateway) as client:
        client.send(
            request_of(gateway, slow_body("first of all"))
            + request_of(gateway, chat_body("second", stream=True))
            + request_of(gateway, b"{")
            + request_of(gateway, slow_body("fourth", stream=True))
            + request_of(gateway, chat_body("fifth"))
        )
        assert client.answer().text == "first of all"
        assert client.answer().text == "second"
        assert client.answer().code == "invalid_json"
        assert client.answer().text == "fourth"
        assert client.answer().text == "fifth"
        still_serves(client, gateway)


def test_hot_and_other_routes_in_one_pipeline_keep_their_order(gateway: RunningGateway) -> None:
    feedback = b'{"completion_id": "nope", "score": 1}'
    with Client(gateway) as client:
        client.send(
            get_of(gateway, "/v1/models")
            + request_of(gateway, slow_body("second"))
            + get_of(gateway, "/health/live")
            + get_of(gateway, "/nothing")
            + request_of(gateway, chat_body("fifth", stream=True))
            + request_of(gateway, feedback, path="/v1/feedback", content_type="application/json")
            + request_of(gateway, chat_body("seventh"))
            + get_of(gateway, "/v1/models/production")
        )
        assert json.loads(client.answer().body)["object"] == "list"
        assert client.answer().text == "second"
        assert json.loads(client.answer().body) == {"status": "live"}
        assert client.answer().code == "route_not_found"
        assert client.answer().text == "fifth"
        assert client.answer().code == "completion_not_found"
        assert client.answer().text == "seventh"
        assert json.loads(client.answer().body)["id"] == "production"
        still_serves(client, gateway)


def test_a_pipeline_that_arrives_in_pieces_keeps_its_order(gateway: RunningGateway) -> None:
    with Client(gateway) as client:
        first = request_of(gateway, slow_body("first", 0.3))
        second = request_of(gateway, chat_body("second"))
        third = get_of(gateway, "/health/live")
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
    with Client(strict) as client:
        second = request_of(strict, chat_body("second"))
        client.send(request_of(strict, slow_body("first", 0.8)) + second[:20])
        assert client.answer().text == "first"
        client.send(second[20:])
        assert client.answer().text == "second"


def test_a_long_pipeline_of_refused_requests_is_answered_whole(gateway: RunningGateway) -> None:
    """One answer starts the next; 500 of them must not nest."""
    wrong = head_of(gateway, key="none", content_length="0")
    with Client(gateway) as client:
        client.send(request_of(gateway, slow_body("first")) + wrong * 500)
        assert client.answer().text == "first"
        for _ in range(500):
            assert client.answer().status == 401
        still_serves(client, gateway)


def test_a_pipeline_without_end_is_not_taken_into_memory(strict: RunningGateway) -> None:
    """A client that sends requests and reads no answers is held back or sent away."""
    (worker,) = workers(strict)
    before = worker.memory_info().rss
    requests = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n" * 1000
    sent, grown, until = 0, 0, time.monotonic() + 2.5
    with Client(strict) as client, contextlib.suppress(ConnectionError):
        client.socket.settimeout(0.1)
        while time.monotonic() < until and grown < 40 * 2**20:
            with contextlib.suppress(TimeoutError):
                sent += client.socket.send(requests[sent % len(requests) :])
            grown = worker.memory_info().rss - before
    assert grown < 40 * 2**20, f"{grown >> 20} MiB for {sent} bytes of requests"


@pytest.mark.parametrize("stream", [False, True])
def test_an_http_1_0_client_gets_an_answer_that_ends_with_the_connection(
    gateway: RunningGateway, stream: bool
) -> None:
    with Client(gateway) as client:
        client.send(request_of(gateway, chat_body("a b c", stream=stream), version="1.0"))
        answer = client.answer()
        assert answer.headers["connection"] == "close"
        assert "transfer-encoding" not in answer.headers
        assert answer.text == "a b c"
        assert client.is_closed()


def test_an_http_1_0_client_of_another_route(gateway: RunningGateway) -> None:
    with Client(gateway) as client:
        client.send(get_of(gateway, "/health/live", version="1.0"))
        answer = client.answer()
        assert (answer.status, answer.body) == (200, b'{"status":"live"}')
        assert client.is_closed()


@pytest.mark.parametrize("path", [CHAT, "/v1/feedback"])
def test_a_client_that_expects_100_continue_gets_it_before_it_sends(
    gateway: RunningGateway, path: str
) -> None:
    with Client(gateway) as client:
        body = chat_body() if path == CHAT else b'{"completion_id": "nope", "score": 1}'
        headers = {"content_length": str(len(body)), "content_type": "application/json"}
        client.send(head_of(gateway, path=path, expect="100-continue", **headers))
        assert client.head() == (100, {})
        client.send(body)
        assert client.answer().status == (200 if path == CHAT else 404)
        still_serves(client, gateway)


@pytest.mark.parametrize("length", [30_000, 10**12])
def test_who_expects_100_continue_for_too_much_is_told_at_once(
    gateway: RunningGateway, length: int
) -> None:
    with Client(gateway) as client:
        client.send(head_of(gateway, content_length=str(length), expect="100-continue"))
        answer = client.answer()
        assert (answer.status, answer.code) == (413, "body_too_large")
        assert client.is_closed()


def test_a_100_continue_does_not_cut_into_an_answer_under_way(gateway: RunningGateway) -> None:
    first = chat_body("a b c d", stream=True, metadata={"echo_delay_s": "0.05"})
    second = chat_body("second")
    with Client(gateway) as client:
        client.send(request_of(gateway, first))
        status, _ = client.head()
        assert status == 200
        headers = {"content_length": str(len(second)), "expect": "100-continue"}
        client.send(head_of(gateway, **headers))
        frames = b"".join(client._chunks())
        assert frames.endswith(b"data: [DONE]\n\n")
        time.sleep(0.05)
        client.send(second)
        status, headers = client.head()
        if status == 100:
            assert client.answer().text == "second"


def test_a_request_may_arrive_byte_by_byte(gateway: RunningGateway) -> None:
    with Client(gateway) as client:
        request = request_of(gateway, chat_body("x"))
        client.send(*(request[n : n + 1] for n in range(len(request))))
        assert client.answer().text == "x"
        still_serves(client, gateway)


def test_a_request_may_be_split_anywhere(gateway: RunningGateway) -> None:
    request = request_of(gateway, chat_body("x"))
    with Client(gateway) as client:
        for at in [*range(1, len(request), 17), len(request) - 1]:
            client.send(request[:at])
            time.sleep(0.002)
            client.send(request[at:])
            assert client.answer().text == "x"


@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_a_chunked_body_is_joined(gateway: RunningGateway, pieces: int) -> None:
    body = chat_body("one two")
    step = max(1, len(body) // pieces)
    chunks = [body[n : n + step] for n in range(0, len(body), step)]
    data = b"".join(b"%x;note=1\r\n%b\r\n" % (len(c), c) for c in chunks)
    with Client(gateway) as client:
        head = head_of(gateway, transfer_encoding="chunked")
        client.send(head + data + b"0\r\nx-trailer: y\r\n\r\n")
        assert client.answer().text == "one two"
        still_serves(client, gateway)


def test_trailers_count_as_headers(gateway: RunningGateway) -> None:
    with Client(gateway) as client:
        head = head_of(gateway, transfer_encoding="chunked")
        client.send(head + b"%x\r\n%b\r\n0\r\nx-trailer: " % (len(chat_body()), chat_body()))
        try:
            client.send(b"y" * 300_000, b"\r\n\r\n")
            status, _ = client.head()
        except (AssertionError, ConnectionError):
            return  # closed
        assert status in (400, 413, 431)
