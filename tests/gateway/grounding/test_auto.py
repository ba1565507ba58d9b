"""`auto` over HTTP: reasons to retrieve, and answers that were too unsure."""

import json

import pytest

from retrieval.records import Found
from tests.gateway.grounding.scripted import hit
from tests.gateway.grounding.world import AUTO, FACT, World


@pytest.mark.parametrize("stream", [False, True])
def test_a_sure_answer_stays_and_its_logprobs_go(calibrated: World, stream: bool) -> None:
    answer = calibrated.ask(retrieval=AUTO, stream=stream)
    assert calibrated.engine.bodies[-1]["logprobs"] is True
    assert '"logprob"' not in answer.text
    assert answer.headers["x-driftgate-retrieval"] == "plain;reason=none"
    id = json.loads(answer.text.split("\n\n")[0].removeprefix("data: "))["id"]
    record = calibrated.gateway.record(id)
    assert record.logprob_mean == pytest.approx(-0.1)
    assert "".join(answer.text.split()).count("think") == 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_unsure_answer_is_asked_again_with_passages(calibrated: World, stream: bool) -> None:
    calibrated.engine.logprob = -2.0
    answer = calibrated.ask(retrieval=AUTO, stream=stream)
    assert "I think" not in answer.text
    assert "[1]" in answer.text
    assert answer.headers["x-driftgate-retrieval"] == "grounded;reason=uncertainty;passages=1"
    assert len(calibrated.engine.bodies) == 2
    id = json.loads(answer.text.split("\n\n")[0].removeprefix("data: "))["id"]
    record = calibrated.gateway.record(id)
    assert record.completion_tokens == len(calibrated.engine.grounded.split())
    assert record.retrieval is not None
    assert record.retrieval["discarded_tokens"] == 3
    assert record.retrieval["nll"] == pytest.approx(2.0)


def test_the_clients_own_logprobs_stay(calibrated: World) -> None:
    answer = calibrated.ask(retrieval=AUTO, logprobs=True)
    assert len(answer.json()["choices"][0]["logprobs"]["content"]) == 3


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (Found(hits=(hit("h", FACT, updated_at=4e9),), reference_similarity=0.9), "freshness"),
        (Found(hits=(hit("h", FACT, updated_at=1.0),), reference_similarity=0.1), "distribution"),
    ],
)
def test_auto_retrieves_for_a_reason(calibrated: World, found: Found, reason: str) -> None:
    calibrated.service.found = found
    answer = calibrated.ask(retrieval=AUTO)
    assert answer.headers["x-driftgate-retrieval"] == f"grounded;reason={reason};passages=1"
