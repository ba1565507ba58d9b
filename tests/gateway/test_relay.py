"""The hot path over HTTP: answers, streams, faults of the engine, departures, records."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from gateway.store.engines import EngineState
from tests.gateway.running import MESSAGES, RunningGateway, serve_release, wait

_SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_TOKEN = b'data: {"id":"chatcmpl-f","choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n'


@contextlib.contextmanager
def _scripted(
    gateway: RunningGateway, name: str, answer: bytes, rests_s: float = 0.0
) -> Iterator[None]:
    """Serve the alias `name` by an engine that sends `answer`, rests, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)
                        time.sleep(rests_s)

        threading.Thread(target=run, daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        serve_release(gateway.database, f"{name}-1", address)
        with gateway.client() as client:
            wait(lambda: client.get(f"/v1/models/{name}").status_code == 200)
        yield
        server.shutdown(socket.SHUT_RDWR)


def test_an_answer_names_its_release_its_request_and_the_overhead(gateway: RunningGateway) -> None:
    answer = gateway.post()
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "one two three"
    assert answer.headers["x-driftgate-release"] == "production-1"
    assert answer.json()["id"].endswith(answer.headers["x-request-id"])
    assert 0 < float(answer.headers["x-driftgate-overhead-ms"]) < 1000


def test_the_openai_client_streams(gateway: RunningGateway) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key) as client:
        stream = client.chat.completions.create(
            model="production",
            messages=[{"role": "user", "content": "one two three"}],
            stream=True,
        )
        chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "one two three"
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_is_recorded_though_the_client_did_not_ask(gateway: RunningGateway) -> None:
    frames = gateway.post(stream=True).text
    assert '"usage":{' not in frames
    first = json.loads(frames.split("\n\n")[0].removeprefix("data: "))
    record = gateway.record(first["id"])
    assert (record.outcome, record.prompt_tokens, record.completion_tokens) == ("done", 3, 3)
    assert record.messages == MESSAGES
    assert record.answer is not None
    assert record.answer["choices"][0]["message"]["content"] == "one two three"
    assert record.ttft_s is not None
    assert 0 < record.ttft_s <= record.duration_s


def test_store_false_keeps_the_texts_out(gateway: RunningGateway) -> None:
    record = gateway.record(gateway.post(store=False, metadata={"a": "b"}).json()["id"])
    assert record.messages is None
    assert record.answer is None
    assert record.parameters is None
    assert record.metadata == {}
    assert record.completion_tokens == 3


def test_a_release_is_reached_by_its_id(gateway: RunningGateway) -> None:
    assert gateway.post(model="production-1").status_code == 200


def test_an_engine_that_is_not_ready_is_503(gateway: RunningGateway) -> None:
    serve_release(gateway.database, "down-1", "unix:/nowhere", EngineState.RESTARTING)
    with gateway.client() as client:
        wait(lambda: client.get("/v1/models/down").status_code == 200)
    answer = gateway.post(model="down")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "engine_unavailable"
    assert int(answer.headers["retry-after"]) > 0


def test_an_engine_that_refuses_connections_is_503(gateway: RunningGateway) -> None:
    serve_release(gateway.database, "gone-1", "unix:/nowhere")
    with gateway.client() as client:
        wait(lambda: client.get("/v1/models/gone").status_code == 200)
    for _ in range(2):  # found out, then known
        answer = gateway.post(model="gone")
        assert answer.status_code == 503
        assert "retry-after" in answer.headers


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_engine_is_504(gateway: RunningGateway, stream: bool) -> None:
    answer = gateway.post(metadata={"echo_first_delay_s": "5"}, stream=stream)
    if stream and answer.status_code == 200:  # the head came, the first token did not
        assert '"code":"engine_timeout"' in answer.text
    else:
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "engine_timeout"


@pytest.mark.parametrize(
    ("name", "answer", "status", "code"),
    [
        ("garbage", b"what?\r\n\r\n", 502, "engine_error"),
        ("closing", b"", 503, "engine_unavailable"),
        ("short", b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{", 503, "engine_unavailable"),
        (
            "failing",
            b'HTTP/1.1 500 X\r\ncontent-length: 31\r\n\r\n{"error": {"message": "CUDA!"}} ',
            502,
            "engine_error",
        ),
        ("busy", b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", 503, "engine_overloaded"),
        ("strict", b"HTTP/1.1 422 X\r\ncontent-length: 2\r\n\r\n{}", 400, "engine_rejected"),
    ],
)
def test_faults_before_the_answer(
    gateway: RunningGateway, name: str, answer: bytes, status: int, code: str
) -> None:
    with _scripted(gateway, name, answer):
        got = gateway.post(model=name)
    assert got.status_code == status
    assert got.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("name", "rest", "outcome"),
    [
        ("cut", b"", "truncated"),
        ("half", _chunk(b'data: {"id":"chatcmpl-f","cho'), "truncated"),
        ("early", b"0\r\n\r\n", "truncated"),
        ("garbled", b"not a chunk", "truncated"),
        (
            "erring",
            _chunk(b'data: {"error": {"message": "lost"}}\n\ndata: [DONE]\n\n') + b"0\r\n\r\n",
            "error",
        ),
    ],
)
def test_a_stream_that_breaks_ends_with_an_error_frame(
    gateway: RunningGateway, name: str, rest: bytes, outcome: str
) -> None:
    token = _TOKEN.replace(b"chatcmpl-f", f"chatcmpl-{name}".encode())
    texts = []
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client,
        _scripted(gateway, name, _SSE + _chunk(token) + rest),
    ):
        stream = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "hi"}], stream=True
        )
        with pytest.raises(openai.APIError):
            texts += [chunk.choices[0].delta.content for chunk in stream]
    record = gateway.record(f"chatcmpl-{name}")
    assert record.outcome == outcome
    assert record.answer is not None
    assert record.answer["choices"][0]["message"]["content"] == "Hel"


def test_who_leaves_after_the_end_was_told_had_a_whole_answer(gateway: RunningGateway) -> None:
    token = _TOKEN.replace(b"chatcmpl-f", b"chatcmpl-told")
    told = _SSE + _chunk(token) + _chunk(b"data: [DONE]\n\n")  # its last chunk comes later
    with _scripted(gateway, "told", told, rests_s=3.0):
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key) as client:
            stream = client.chat.completions.create(
                model="told", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            assert [chunk.choices[0].delta.content for chunk in stream] == ["Hel"]
        record = gateway.record("chatcmpl-told")
    assert (record.outcome, record.status) == ("done", 200)


def _running(gateway: RunningGateway) -> float:
    transport = httpx.HTTPTransport(uds=str(gateway.home / "echo.sock"))
    with httpx.Client(transport=transport) as engine:
        lines = engine.get("http://engine/metrics").text.splitlines()
    (line,) = (x for x in lines if x.startswith("vllm:num_requests_running"))
    return float(line.split()[-1])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_client_that_leaves_frees_the_engine(
    gateway: RunningGateway, path: str, stream: bool
) -> None:
    words = "word " * 200
    body = {
        "model": "production", "messages": [{"role": "user", "content": words}], "prompt": words,
        "stream": stream, "max_tokens": 1000, "metadata": {"echo_delay_s": "0.05"},
    }  # fmt: skip
    data = json.dumps(body).encode()
    parts = urlsplit(gateway.url)
    with socket.create_connection((parts.hostname, parts.port)) as client:
        client.sendall(
            b"POST %b HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"
            b"content-length: %d\r\n\r\n%b" % (path.encode(), gateway.key.encode(), len(data), data)
        )
        wait(lambda: _running(gateway) == 1)
    wait(lambda: _running(gateway) == 0, 2)


def test_a_large_body_is_413_however_it_comes(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        for path in ("/v1/chat/completions", "/v1/feedback"):
            for content in (b"x" * 30_000, iter([b"x" * 10_000] * 3)):
                headers = {"content-type": "application/json"}
                answer = client.post(path, content=content, headers=headers)
                assert answer.status_code == 413
                assert answer.json()["error"]["code"] == "body_too_large"


def test_a_body_that_never_ends_is_408(gateway: RunningGateway) -> None:
    parts = urlsplit(gateway.url)
    with socket.create_connection((parts.hostname, parts.port)) as client:
        client.settimeout(5)
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"
            b"content-length: 100\r\n\r\n{" % gateway.key.encode()
        )
        assert b" 408 " in client.recv(4096)
