"""Grounded chats over HTTP: cited answers, errors, departures, records."""

import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from gateway.store.keys import Keys
from gateway.store.policies import Policies
from tests.gateway.grounding.world import ALWAYS, ASKED, CHAT, FACT, NOTHING, World
from tests.gateway.running import wait


def test_an_answer_is_cited_and_recorded(world: World) -> None:
    answer = world.ask(retrieval=ALWAYS)
    assert answer.status_code == 200, answer.text
    message = answer.json()["choices"][0]["message"]
    assert message["content"].startswith(f"{FACT} [1]")
    (annotation,) = message["annotations"]
    cited = annotation["file_citation"]
    assert cited["quote"] == FACT
    assert cited["file_id"] == "file-hours"
    assert message["content"][cited["index"] : cited["end_index"]] == "[1]"
    header = answer.headers["x-driftgate-retrieval"]
    assert header == "grounded;reason=always;passages=1"
    body = world.engine.bodies[-1]
    assert "retrieval" not in body
    assert FACT in json.dumps(body["messages"])
    record = world.gateway.record(answer.json()["id"])
    notes = record.retrieval
    assert notes is not None
    assert (notes["outcome"], notes["reason"]) == ("grounded", "always")
    assert notes["passages"][0] == {
        "collection": "vs_mine", "document": "hours", "passage": 0, "score": 0.8,
        "title": "hours", "text": FACT,
    }  # fmt: skip
    assert (notes["sentences"], notes["supported"]) == (2, 1)
    assert record.index_generation == "vs_mine:g3"
    assert record.messages == [{"role": "user", "content": ASKED}]
    assert record.prompt_tokens == 7


def test_a_stream_holds_sentences_and_ends_with_its_annotations(world: World) -> None:
    with openai.OpenAI(base_url=f"{world.gateway.url}/v1", api_key=world.gateway.key) as client:
        chunks = list(
            client.chat.completions.create(
                model="docs",
                messages=[{"role": "user", "content": ASKED}],
                stream=True,
                extra_body={"retrieval": ALWAYS},
            )
        )
    pieces = [c.choices[0].delta.content for c in chunks if c.choices[0].delta.content]
    assert "".join(pieces).startswith(f"{FACT} [1]")
    assert all("Karlsruhe" not in piece or "[1]" in piece for piece in pieces)
    assert chunks[0].choices[0].delta.role == "assistant"
    last = chunks[-1].choices[0]
    assert last.finish_reason == "stop"
    assert last.delta.annotations[0]["file_citation"]["quote"] == FACT  # type: ignore[attr-defined]
    record = world.gateway.record(chunks[0].id)
    assert record.answer is not None
    assert "[1]" in record.answer["choices"][0]["message"]["content"]
    assert record.ttft_s is not None
    assert record.completion_tokens == len(world.engine.grounded.split())


@pytest.mark.parametrize("stream", [False, True])
def test_what_no_passage_says_is_replaced_by_a_quote(world: World, stream: bool) -> None:
    world.engine.grounded = "Purple elephants dance at midnight."
    answer = world.ask(retrieval=ALWAYS, stream=stream)
    assert "elephants" not in answer.text
    assert "9:30" in answer.text
    kept = world.ask(retrieval={**ALWAYS, "unsupported": "drop"}, stream=stream)
    assert "midnight" in kept.text
    assert "file_citation" not in kept.text


@pytest.mark.parametrize("stream", [False, True])
def test_too_little_is_said_without_asking_the_engine(world: World, stream: bool) -> None:
    asked = len(world.engine.bodies)
    answer = world.ask("Who invented the zeppelin?", retrieval=ALWAYS, stream=stream)
    assert len(world.engine.bodies) == asked
    assert answer.headers["x-driftgate-retrieval"] == "said_so;reason=always"
    assert answer.headers["x-driftgate-release"] == "docs-1"
    if stream:
        frames = [f.removeprefix("data: ") for f in answer.text.strip().split("\n\n")]
        assert frames[-1] == "[DONE]"
        chunks = [json.loads(frame) for frame in frames[:-1]]
        text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
        id = chunks[0]["id"]
    else:
        text, id = answer.json()["choices"][0]["message"]["content"], answer.json()["id"]
        assert answer.json()["usage"]["total_tokens"] == 0
    assert text == NOTHING
    record = world.gateway.record(id)
    assert (record.outcome, record.prompt_tokens, record.completion_tokens) == ("done", 0, 0)


def test_too_little_is_the_models_to_answer_where_that_is_wanted(world: World) -> None:
    answer = world.ask("Who invented the zeppelin?", retrieval={**ALWAYS, "insufficient": "plain"})
    assert answer.json()["choices"][0]["message"]["content"] == "I think so."
    assert answer.headers["x-driftgate-retrieval"] == "plain;reason=always"


def test_a_search_that_takes_too_long_leaves_it_to_the_model(world: World) -> None:
    world.ask(retrieval=ALWAYS)  # the connection to the service is there then
    world.service.delay_s = 2
    started = time.monotonic()
    answer = world.ask(retrieval=ALWAYS)
    assert time.monotonic() - started < 1.8
    assert answer.headers["x-driftgate-retrieval"] == "failed;reason=timeout"
    assert answer.json()["choices"][0]["message"]["content"] == "I think so."
    with world.gateway.client() as client:
        wait(lambda: 'retrieval_failures_total{reason="timeout"}' in client.get("/metrics").text)


def test_a_search_that_fails_leaves_it_to_the_model(world: World) -> None:
    world.service.error = "the index is broken"
    answer = world.ask(retrieval=ALWAYS)
    assert answer.status_code == 200
    assert answer.headers["x-driftgate-retrieval"] == "failed;reason=failed"


def test_a_prompt_that_the_engine_refuses_for_its_passages_is_asked_plainly(world: World) -> None:
    world.engine.refuses_grounded = True
    answer = world.ask(retrieval=ALWAYS)
    assert answer.status_code == 200
    assert answer.headers["x-driftgate-retrieval"] == "failed;reason=rejected"
    assert world.notes(answer).get("passages") is None


@pytest.mark.parametrize(
    ("stores", "status"),
    [(["vs_other"], 404), (["vs_none"], 404), (["vs_all", "vs_mine"], 404), (["vs_all"], 200)],
)
def test_a_key_searches_its_own_stores_and_the_operators(
    world: World, stores: list[str], status: int
) -> None:
    body = {
        "model": "docs", "messages": [{"role": "user", "content": ASKED}],
        "retrieval": {"mode": "always", "vector_store_ids": stores},
    }  # fmt: skip
    _, key = Keys(world.gateway.database).create("third", ["inference"])
    with world.gateway.client(key) as client:
        wait(lambda: client.get("/v1/models").status_code == 200)
        answer = client.post(CHAT, json=body)
    assert answer.status_code == status
    if status == 404:
        assert answer.json()["error"]["param"] == "retrieval.vector_store_ids"


def test_an_admin_searches_every_store(world: World) -> None:
    named = {"mode": "always", "vector_store_ids": ["vs_mine", "vs_other"]}
    assert world.ask(retrieval=named).status_code == 200


def test_a_policy_grants_the_operators_stores_and_never_another_keys(world: World) -> None:
    fields = {"mode": "always", "vector_store_ids": ["vs_mine", "vs_other", "vs_all"]}
    body = {"model": "docs", "messages": [{"role": "user", "content": ASKED}]}
    with world.gateway.client(world.other_key) as client:

        def searched() -> bool:
            return "x-driftgate-retrieval" in client.post(CHAT, json=body).headers

        Policies(world.gateway.database).put("alias", "docs", fields)
        try:
            wait(searched)
            assert world.service.searches[-1].collections == ("vs_other", "vs_all")
            off = client.post(CHAT, json=body | {"retrieval": {"mode": "off"}})
            assert "x-driftgate-retrieval" not in off.headers
        finally:
            Policies(world.gateway.database).remove("alias", "docs")
            wait(lambda: not searched())  # for the tests that follow


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"retrieval": {"mode": "sometimes"}}, "retrieval.mode"),
        ({"retrieval": {"top": 3}}, "retrieval"),
        ({"retrieval": {"mode": "always"}}, "retrieval.vector_store_ids"),
        ({"retrieval": {"mode": "auto", "top_k": 0}}, "retrieval.top_k"),
        ({"tools": [{"type": "file_search"}]}, "tools.file_search"),
    ],
)
def test_errors_name_the_field(world: World, fields: dict[str, Any], param: str) -> None:
    answer = world.ask(**fields)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_plain_completions_refuse_the_field(world: World) -> None:
    answer = world.ask(path="/v1/completions", prompt="x", retrieval=ALWAYS)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unsupported_field"


def test_the_tool_file_search_is_done_here(world: World) -> None:
    other = {"type": "function", "function": {"name": "f", "parameters": {}}}
    search = {"type": "file_search", "vector_store_ids": ["vs_mine"], "max_num_results": 2}
    answer = world.ask(tools=[search, other], tool_choice="auto")
    assert answer.headers["x-driftgate-retrieval"].startswith("grounded")
    assert world.service.searches[-1].limit == 2
    assert world.engine.bodies[-1]["tools"] == [other]
    world.ask(tools=[search], tool_choice="auto")
    assert not {"tools", "tool_choice"} & world.engine.bodies[-1].keys()


def test_a_client_that_leaves_while_a_sentence_is_held_frees_the_engine(world: World) -> None:
    world.engine.grounded, world.engine.word_s = "word " * 300 + "end.", 0.02
    body = {
        "model": "docs", "messages": [{"role": "user", "content": ASKED}],
        "retrieval": ALWAYS, "stream": True,
    }  # fmt: skip
    data = json.dumps(body).encode()
    parts = urlsplit(world.gateway.url)
    with socket.create_connection((parts.hostname, parts.port)) as client:
        client.sendall(
            b"POST %b HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"
            b"content-length: %d\r\n\r\n%b"
            % (CHAT.encode(), world.gateway.key.encode(), len(data), data)
        )
        wait(lambda: len(world.engine.bodies) > 0)
    wait(lambda: world.engine.left == 1, 2)


def test_an_engine_that_dies_in_a_held_stream_is_an_error(world: World) -> None:
    world.engine.breaks_after = 3
    answer = world.ask(retrieval=ALWAYS, stream=True)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "engine_unavailable"


def test_an_engine_that_dies_after_a_sentence_ends_with_an_error_frame(world: World) -> None:
    world.engine.breaks_after = len(FACT.split()) + 2
    answer = world.ask(retrieval=ALWAYS, stream=True)
    assert "[1]" in answer.text
    assert '"engine_unavailable"' in answer.text


def test_json_is_grounded_and_not_marked(world: World) -> None:
    world.engine.grounded = '{"opens": "9:30"}'
    answer = world.ask(retrieval=ALWAYS, response_format={"type": "json_object"})
    assert answer.json()["choices"][0]["message"]["content"] == '{"opens": "9:30"}'
    assert answer.headers["x-driftgate-retrieval"].startswith("grounded")
