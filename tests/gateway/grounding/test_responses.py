"""Grounded responses over HTTP, whole and streamed, by the openai client."""

from typing import Any

import openai
import pytest

from tests.gateway.grounding.world import ALWAYS, ASKED, FACT, NOTHING, World


@pytest.mark.parametrize("stream", [False, True])
def test_responses_are_cited(world: World, stream: bool) -> None:
    with openai.OpenAI(base_url=f"{world.gateway.url}/v1", api_key=world.gateway.key) as client:
        fields: dict[str, Any] = {
            "model": "docs", "input": ASKED, "instructions": "Be kind.",
            "tools": [{"type": "file_search", "vector_store_ids": ["vs_mine"]}],
        }  # fmt: skip
        if stream:
            events = list(client.responses.create(**fields, stream=True))
            assert [e.sequence_number for e in events] == list(range(len(events)))
            response = events[-1].response
            deltas = "".join(e.delta for e in events if e.type == "response.output_text.delta")
            assert deltas == response.output_text
            assert any(e.type == "response.output_text.annotation.added" for e in events)
        else:
            response = client.responses.create(**fields)
    assert response.output_text.startswith(f"{FACT} [1]")
    (annotation,) = response.output[0].content[0].annotations
    assert (annotation.type, annotation.file_id) == ("file_citation", "file-hours")
    body = world.engine.bodies[-1]
    assert body["instructions"].startswith("Be kind.")
    assert FACT in body["input"]


def test_responses_say_so_as_well(world: World) -> None:
    with openai.OpenAI(base_url=f"{world.gateway.url}/v1", api_key=world.gateway.key) as client:
        fields: dict[str, Any] = {
            "model": "docs", "input": "Who invented the zeppelin?",
            "extra_body": {"retrieval": ALWAYS},
        }  # fmt: skip
        assert client.responses.create(**fields).output_text == NOTHING
        events = list(client.responses.create(**fields, stream=True))
        assert events[-1].response.output_text == NOTHING
