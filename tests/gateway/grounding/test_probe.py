"""The plain answer is judged by its first tokens, and shown as soon as they suffice."""

import json
from typing import Any

import pytest

from gateway.grounding.editor import AskAgain
from gateway.grounding.probe import JUDGED_TOKENS, Probe


def _chunk(word: str, logprob: float | None, reason: str | None = None) -> bytes:
    logprobs = None if logprob is None else {"content": [{"token": word, "logprob": logprob}]}
    choice = {
        "index": 0, "delta": {"content": word}, "logprobs": logprobs, "finish_reason": reason,
    }  # fmt: skip
    document: dict[str, Any] = {"id": "c", "choices": [choice]}
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


def test_a_long_stream_is_held_for_its_first_tokens_only() -> None:
    judged: list[float | None] = []

    def again(nll: float | None) -> bool:
        judged.append(nll)
        return False

    probe = Probe(again, strip=True)
    held = [probe.frames(_chunk("w", -1.0)) for _ in range(JUDGED_TOKENS)]
    assert set(held[:-1]) == {b""}
    assert held[-1].count(b"data: ") == JUDGED_TOKENS
    assert judged == [pytest.approx(1.0)]
    after = probe.frames(_chunk("v", -90.0))
    assert b'"content":"v"' in after
    assert b'"logprob"' not in after
    assert len(judged) == 1


def test_another_engine_begins_anew() -> None:
    seen: list[float | None] = []

    def again(nll: float | None) -> bool:
        seen.append(nll)
        return True

    probe = Probe(again, strip=True)
    assert probe.frames(_chunk("lost", -50.0)) == b""
    probe.begin()
    probe.frames(_chunk("found", -1.0))
    with pytest.raises(AskAgain):
        probe.frames(_chunk("", None, "stop"))
    assert seen == [pytest.approx(1.0)]


def test_an_engine_without_logprobs_is_not_judged() -> None:
    seen: list[float | None] = []

    def again(nll: float | None) -> bool:
        seen.append(nll)
        return False

    probe = Probe(again, strip=True)
    body = json.dumps({"choices": [{"index": 0, "message": {"content": "x"}}]}).encode()
    assert json.loads(probe.whole(body))["choices"][0]["message"]["content"] == "x"
    assert seen == [None]
