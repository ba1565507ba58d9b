"""Limits as clients meet them: headers, 429, refunds, and what a departure costs."""

import json
import socket
from urllib.parse import urlsplit

import openai
import pytest

from gateway.store.keys import KeyLimits, Keys
from tests.gateway.running import MESSAGES, RunningGateway, wait


def _key(gateway: RunningGateway, **limits: int) -> str:
    _, key = Keys(gateway.database).create("limited", ["inference"], KeyLimits(**limits))
    with gateway.client(key) as client:
        wait(lambda: client.get("/v1/models").status_code == 200)
    return key


def _left(gateway: RunningGateway, key: str, what: str) -> int:
    with gateway.client(key) as client:
        answer = client.post(
            "/v1/chat/completions",
            json={"model": "production", "messages": MESSAGES, "max_tokens": 1},
        )
    return int(answer.headers[f"x-ratelimit-remaining-{what}"])


def test_requests_per_minute_are_told_and_kept(gateway: RunningGateway) -> None:
    key = _key(gateway, requests_per_minute=3)
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
        completions = client.chat.completions.with_raw_response
        seen = []
        for _ in range(3):
            answer = completions.create(
                model="production", messages=[{"role": "user", "content": "x"}]
            )
            assert answer.headers["x-ratelimit-limit-requests"] == "3"
            seen.append(answer.headers["x-ratelimit-remaining-requests"])
        assert seen == ["2", "1", "0"]
        with pytest.raises(openai.RateLimitError) as caught:
            completions.create(model="production", messages=[{"role": "user", "content": "x"}])
    error = caught.value
    assert error.code == "rate_limit_requests"
    assert 0 < int(error.response.headers["retry-after"]) <= 60
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"


def test_tokens_settle_at_what_was_used(gateway: RunningGateway) -> None:
    key = _key(gateway, tokens_per_minute=100_000)
    before = _left(gateway, key, "tokens")
    with gateway.client(key) as client:
        body = {"model": "production", "messages": MESSAGES, "max_tokens": 5000}
        assert client.post("/v1/chat/completions", json=body).json()["usage"]["total_tokens"] == 6
    # Its own reservation is off as well: 1 token at most, the prompt's estimate, and the six.
    assert before - _left(gateway, key, "tokens") < 200


def test_a_request_that_fails_is_refunded(gateway: RunningGateway) -> None:
    key = _key(gateway, tokens_per_minute=100_000)
    before = _left(gateway, key, "tokens")
    with gateway.client(key) as client:
        body = {"model": "nowhere", "messages": MESSAGES, "max_tokens": 5000}
        assert client.post("/v1/chat/completions", json=body).status_code == 404
    assert before - _left(gateway, key, "tokens") < 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_departure_frees_the_place_and_the_tokens(gateway: RunningGateway, stream: bool) -> None:
    key = _key(gateway, max_concurrency=1, tokens_per_minute=100_000)
    before = _left(gateway, key, "tokens")
    words = "word " * 200
    body = json.dumps(
        {
            "model": "production", "messages": [{"role": "user", "content": words}],
            "stream": stream, "max_tokens": 20_000, "metadata": {"echo_delay_s": "0.05"},
        }
    ).encode()  # fmt: skip
    parts = urlsplit(gateway.url)
    with gateway.client(key) as other:
        again = {"model": "production", "messages": MESSAGES, "max_tokens": 1}
        with socket.create_connection((parts.hostname, parts.port)) as client:
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"
                b"content-length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
            )
            refused = []

            def occupied() -> bool:
                refused.append(other.post("/v1/chat/completions", json=again))
                return refused[-1].status_code == 429

            wait(occupied)
            assert refused[-1].json()["error"]["code"] == "concurrency_limit"
        wait(lambda: other.post("/v1/chat/completions", json=again).status_code == 200)
    assert before - _left(gateway, key, "tokens") < 5000  # far from the 20,000 reserved
