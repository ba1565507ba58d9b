"""Asking an endpoint: streams, retries, failures that are named."""

from typing import Any

import pytest

from tests.training.evaluation.serving import Reply, question, serve
from training.evaluation.answerers.base import Answer, AnswererError, Question, Sampling, System
from training.evaluation.answerers.openai_endpoint import OpenAIEndpoint, split


def ask(spec: str, *texts: str, key: str = "", **extra: Any) -> dict[str, Answer]:
    answerer = OpenAIEndpoint(
        System("s", spec, extra_body=extra), key, Sampling(0.0, 3), concurrency=4, pause_s=0.001
    )
    asked = [Question(text, ({"role": "user", "content": text},), 9) for text in texts]
    return {answer.id: answer for answer in answerer.answer(asked)}


@pytest.mark.parametrize("whole", [False, True])
def test_answers_come_with_times_and_tokens(whole: bool) -> None:
    with serve(lambda body: f"re: {question(body)}", whole=whole) as served:
        found = ask(served.spec, "a b", "c", key="k", retrieval={"mode": "on"})
    answer = found["a b"]
    assert (answer.text, answer.finish, answer.error) == ("re: a b", "stop", "")
    assert (answer.prompt_tokens, answer.completion_tokens) == (7, 3)
    assert answer.latency_s is not None
    assert (answer.ttft_s is None) is whole
    assert whole or 0 < (answer.ttft_s or 0) <= answer.latency_s
    body = served.bodies[0]
    assert (body["model"], body["temperature"], body["seed"]) == ("m", 0.0, 3)
    assert (body["max_tokens"], body["retrieval"]) == (9, {"mode": "on"})
    assert served.headers[0]["authorization"] == "Bearer k"


def test_a_busy_server_is_asked_again() -> None:
    seen: list[str] = []

    def reply(body: dict[str, Any]) -> str | tuple[int, str]:
        seen.append(question(body))
        return (429, "slow down") if len(seen) < 3 else "yes"

    with serve(reply) as served:
        assert ask(served.spec, "q")["q"].text == "yes"
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (lambda _: (400, "too long"), "HTTP 400: too long"),
        (lambda _: (503, "overloaded"), "HTTP 503: overloaded"),
    ],
)
def test_a_question_that_fails_is_named_and_has_no_text(reply: Reply, reason: str) -> None:
    with serve(reply) as served:
        assert ask(served.spec, "q")["q"] == Answer("q", error=reason)


def test_a_stream_that_is_cut_is_no_answer() -> None:
    with serve(lambda _: "half an", cut=True) as served:
        assert "without [DONE]" in ask(served.spec, "q")["q"].error


@pytest.mark.parametrize("status", [401, 404])
def test_what_is_wrong_for_all_questions_stops_at_once(status: int) -> None:
    with serve(lambda _: (status, "no such model")) as served:
        with pytest.raises(AnswererError, match=r"refuses the model 'm'.*no such model"):
            ask(served.spec, *(str(n) for n in range(200)))
    assert len(served.bodies) < 50


def test_nobody_listens() -> None:
    with pytest.raises(AnswererError, match=r"nobody answers at http://127\.0\.0\.1:1/v1"):
        ask("http://127.0.0.1:1/v1#m", "q")


def test_a_spec_names_a_host_and_a_model() -> None:
    assert split("http://h:1/v1/#org/m") == ("http://h:1/v1/chat/completions", "org/m")
    for wrong in ("http://h:1/v1", "http://#m", "http:///v1#m"):
        with pytest.raises(AnswererError, match="http://host:port/v1#model"):
            split(wrong)
