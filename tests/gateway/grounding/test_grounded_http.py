"""Grounded requests over HTTP: a gateway, a scripted engine and a scripted retrieval service."""

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
import sqlalchemy as sa

from gateway.store.calibrations import Calibrations, StoredCalibration
from gateway.store.keys import Keys
from gateway.store.policies import Policies
from retrieval.records import Found
from tests.gateway.grounding.scripted import ScriptedEngine, ScriptedService, hit
from tests.gateway.running import RunningGateway, running_gateway, serve_release, wait

_CHAT = "/v1/chat/completions"
_FACT = "The Karlsruhe office opens at 9:30 on Mondays."
_ASKED = "When does the Karlsruhe office open on Mondays?"
_NOTHING = "I could not find the answer in the documents."


@dataclass
class World:
    gateway: RunningGateway
    engine: ScriptedEngine
    service: ScriptedService
    other_key: str

    def ask(self, question: str = _ASKED, path: str = _CHAT, **fields: Any) -> httpx.Response:
        body: dict[str, Any] = {"model": "docs", **fields}
        body.setdefault("messages", [{"role": "user", "content": question}])
        with self.gateway.client() as client:
            return client.post(path, json=body)

    def notes(self, answer: httpx.Response | str) -> dict[str, Any]:
        id = answer if isinstance(answer, str) else answer.json()["id"]
        found = self.gateway.record(id).retrieval
        assert found is not None
        return found


def _own(gateway: RunningGateway, store: str, key: str | None) -> None:
    """Make a vector store that belongs to a key, as far as the relay looks at it."""
    prefix = None if key is None else key[3:11]
    with gateway.database.begin() as connection:
        connection.execute(
            sa.text("CREATE TABLE IF NOT EXISTS vector_stores (id TEXT, key_prefix TEXT)")
        )  # TEMPORARY
        columns = sa.inspect(connection).get_columns("vector_stores")
        values: dict[str, Any] = {"id": store, "key_prefix": prefix}
        for column in columns:
            if column["name"] not in values and not column["nullable"]:
                text = isinstance(column["type"], sa.String)
                values[column["name"]] = (
                    "" if text else {} if isinstance(column["type"], sa.JSON) else 0
                )
        table = sa.Table("vector_stores", sa.MetaData(), autoload_with=connection)
        connection.execute(table.insert().values(**values))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("grounded")
    engine, service = ScriptedEngine(), ScriptedService(home / "run" / "retrieval.sock")
    with (
        service.running(),
        engine.running() as address,
        running_gateway(home, embedder="", retrieval_holdout="0", idle_timeout_s="2") as gateway,
    ):
        _, other = Keys(gateway.database).create("other", ["inference"])
        for store, key in (("vs_mine", gateway.key), ("vs_other", other), ("vs_all", None)):
            _own(gateway, store, key)
        serve_release(gateway.database, "docs-1", address)
        with gateway.client() as client:
            wait(lambda: client.get("/v1/models/docs").status_code == 200)
        yield World(gateway, engine, service, other)


@pytest.fixture
def world(running: World) -> World:
    running.engine.forget()
    running.service.found = Found(hits=(hit("hours", _FACT),), generations={"vs_mine": "g3"})
    running.service.delay_s, running.service.error = 0.0, ""
    running.service.searches.clear()
    running.engine.grounded = f"{_FACT} Bring a unicorn to the party."
    return running


_ALWAYS = {"mode": "always", "vector_store_ids": ["vs_mine"]}


def test_an_answer_is_cited_and_recorded(world: World) -> None:
    answer = world.ask(retrieval=_ALWAYS)
    assert answer.status_code == 200, answer.text
    message = answer.json()["choices"][0]["message"]
    assert message["content"].startswith(f"{_FACT} [1]")
    (annotation,) = message["annotations"]
    cited = annotation["file_citation"]
    assert cited["quote"] == _FACT
    assert cited["file_id"] == "file-hours"
    assert message["content"][cited["index"] : cited["end_index"]] == "[1]"
    header = answer.headers["x-driftgate-retrieval"]
    assert header == "grounded;reason=always;passages=1"
    body = world.engine.bodies[-1]
    assert "retrieval" not in body
    assert _FACT in json.dumps(body["messages"])
    record = world.gateway.record(answer.json()["id"])
    notes = record.retrieval
    assert notes is not None
    assert (notes["outcome"], notes["reason"]) == ("grounded", "always")
    assert notes["passages"][0] == {
        "collection": "vs_mine", "document": "hours", "passage": 0, "score": 0.8,
    }  # fmt: skip
    assert (notes["sentences"], notes["supported"]) == (2, 1)
    assert record.index_generation == "vs_mine:g3"
    assert record.messages == [{"role": "user", "content": _ASKED}]
    assert record.prompt_tokens == 7


def test_a_stream_holds_sentences_and_ends_with_its_annotations(world: World) -> None:
    with openai.OpenAI(base_url=f"{world.gateway.url}/v1", api_key=world.gateway.key) as client:
        chunks = list(
            client.chat.completions.create(
                model="docs",
                messages=[{"role": "user", "content": _ASKED}],
                stream=True,
                extra_body={"retrieval": _ALWAYS},
            )
        )
    pieces = [c.choices[0].delta.content for c in chunks if c.choices[0].delta.content]
    assert "".join(pieces).startswith(f"{_FACT} [1]")
    assert all("Karlsruhe" not in piece or "[1]" in piece for piece in pieces)
    assert chunks[0].choices[0].delta.role == "assistant"
    last = chunks[-1].choices[0]
    assert last.finish_reason == "stop"
    assert last.delta.annotations[0]["file_citation"]["quote"] == _FACT  # type: ignore[attr-defined]
    record = world.gateway.record(chunks[0].id)
    assert record.answer is not None
    assert "[1]" in record.answer["choices"][0]["message"]["content"]
    assert record.ttft_s is not None
    assert record.completion_tokens == len(world.engine.grounded.split())


@pytest.mark.parametrize("stream", [False, True])
def test_what_no_passage_says_is_replaced_by_a_quote(world: World, stream: bool) -> None:
    world.engine.grounded = "Purple elephants dance at midnight."
    answer = world.ask(retrieval=_ALWAYS, stream=stream)
    assert "elephants" not in answer.text
    assert "9:30" in answer.text
    kept = world.ask(retrieval={**_ALWAYS, "unsupported": "drop"}, stream=stream)
    assert "midnight" in kept.text
    assert "file_citation" not in kept.text


@pytest.mark.parametrize("stream", [False, True])
def test_too_little_is_said_without_asking_the_engine(world: World, stream: bool) -> None:
    asked = len(world.engine.bodies)
    answer = world.ask("Who invented the zeppelin?", retrieval=_ALWAYS, stream=stream)
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
    assert text == _NOTHING
    record = world.gateway.record(id)
    assert (record.outcome, record.prompt_tokens, record.completion_tokens) == ("done", 0, 0)


def test_too_little_is_the_models_to_answer_where_that_is_wanted(world: World) -> None:
    answer = world.ask("Who invented the zeppelin?", retrieval={**_ALWAYS, "insufficient": "plain"})
    assert answer.json()["choices"][0]["message"]["content"] == "I think so."
    assert answer.headers["x-driftgate-retrieval"] == "plain;reason=always"


def test_a_search_that_takes_too_long_leaves_it_to_the_model(world: World) -> None:
    world.service.delay_s = 2
    started = time.monotonic()
    answer = world.ask(retrieval=_ALWAYS)
    assert time.monotonic() - started < 1
    assert answer.headers["x-driftgate-retrieval"] == "failed;reason=timeout"
    assert answer.json()["choices"][0]["message"]["content"] == "I think so."
    with world.gateway.client() as client:
        wait(lambda: 'retrieval_failures_total{reason="timeout"}' in client.get("/metrics").text)


def test_a_search_that_fails_leaves_it_to_the_model(world: World) -> None:
    world.service.error = "the index is broken"
    answer = world.ask(retrieval=_ALWAYS)
    assert answer.status_code == 200
    assert answer.headers["x-driftgate-retrieval"] == "failed;reason=failed"


def test_a_prompt_that_the_engine_refuses_for_its_passages_is_asked_plainly(world: World) -> None:
    world.engine.refuses_grounded = True
    answer = world.ask(retrieval=_ALWAYS)
    assert answer.status_code == 200
    assert answer.headers["x-driftgate-retrieval"] == "failed;reason=rejected"
    assert world.notes(answer).get("passages") is None


@pytest.mark.parametrize("store", ["vs_other", "vs_all", "vs_none"])
def test_another_keys_store_is_not_found(world: World, store: str) -> None:
    body = {
        "model": "docs", "messages": [{"role": "user", "content": _ASKED}],
        "retrieval": {"mode": "always", "vector_store_ids": ["vs_mine", store]},
    }  # fmt: skip
    _, key = Keys(world.gateway.database).create("third", ["inference"])
    with world.gateway.client() as admin:
        assert admin.post(_CHAT, json=body).status_code in (200, 404)  # an admin may
    with world.gateway.client(key) as client:
        wait(lambda: client.get("/v1/models").status_code == 200)
        answer = client.post(_CHAT, json=body)
    assert answer.status_code == 404
    assert answer.json()["error"]["param"] == "retrieval.vector_store_ids"


def test_a_policy_grants_the_operators_stores_and_never_another_keys(world: World) -> None:
    fields = {"mode": "always", "vector_store_ids": ["vs_mine", "vs_other", "vs_all"]}
    Policies(world.gateway.database).put("alias", "docs", fields)
    try:
        with world.gateway.client(world.other_key) as client:
            body = {"model": "docs", "messages": [{"role": "user", "content": _ASKED}]}
            wait(lambda: "x-driftgate-retrieval" in client.post(_CHAT, json=body).headers)
            assert world.service.searches[-1].collections == ("vs_other", "vs_all")
            off = client.post(_CHAT, json=body | {"retrieval": {"mode": "off"}})
        assert "x-driftgate-retrieval" not in off.headers
    finally:
        Policies(world.gateway.database).remove("alias", "docs")


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
    answer = world.ask(path="/v1/completions", prompt="x", retrieval=_ALWAYS)
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


@pytest.fixture
def calibrated(world: World) -> Iterator[World]:
    """The release is known to be unsure above a mean negative log-likelihood of 1."""
    calibration = StoredCalibration(
        "docs-1", time.time() - 100, "reference-x", 0.4, 1.0, None, 1, 1, 0.0
    )
    Calibrations(world.gateway.database).put(calibration)
    auto = {"mode": "auto", "vector_store_ids": ["vs_mine"]}
    world.service.found = Found(
        hits=(hit("hours", _FACT, updated_at=1.0),), reference_similarity=0.9
    )

    def known() -> bool:
        world.ask(retrieval=auto)
        return world.service.searches[-1].reference == "reference-x"

    wait(known)
    world.engine.bodies.clear()
    yield world
    Calibrations(world.gateway.database).put(
        StoredCalibration("docs-1", None, None, None, None, None, 0, 0, 0.0)
    )
    wait(lambda: not known())


_AUTO = {"mode": "auto", "vector_store_ids": ["vs_mine"]}


@pytest.mark.parametrize("stream", [False, True])
def test_a_sure_answer_stays_and_its_logprobs_go(calibrated: World, stream: bool) -> None:
    answer = calibrated.ask(retrieval=_AUTO, stream=stream)
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
    answer = calibrated.ask(retrieval=_AUTO, stream=stream)
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
    answer = calibrated.ask(retrieval=_AUTO, logprobs=True)
    assert len(answer.json()["choices"][0]["logprobs"]["content"]) == 3


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (Found(hits=(hit("h", _FACT, updated_at=4e9),), reference_similarity=0.9), "freshness"),
        (Found(hits=(hit("h", _FACT, updated_at=1.0),), reference_similarity=0.1), "distribution"),
    ],
)
def test_auto_retrieves_for_a_reason(calibrated: World, found: Found, reason: str) -> None:
    calibrated.service.found = found
    answer = calibrated.ask(retrieval=_AUTO)
    assert answer.headers["x-driftgate-retrieval"] == f"grounded;reason={reason};passages=1"


@pytest.mark.parametrize("stream", [False, True])
def test_responses_are_cited(world: World, stream: bool) -> None:
    with openai.OpenAI(base_url=f"{world.gateway.url}/v1", api_key=world.gateway.key) as client:
        fields: dict[str, Any] = {
            "model": "docs", "input": _ASKED, "instructions": "Be kind.",
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
    assert response.output_text.startswith(f"{_FACT} [1]")
    (annotation,) = response.output[0].content[0].annotations
    assert (annotation.type, annotation.file_id) == ("file_citation", "file-hours")
    body = world.engine.bodies[-1]
    assert body["instructions"].startswith("Be kind.")
    assert _FACT in body["input"]


def test_responses_say_so_as_well(world: World) -> None:
    with openai.OpenAI(base_url=f"{world.gateway.url}/v1", api_key=world.gateway.key) as client:
        fields: dict[str, Any] = {
            "model": "docs", "input": "Who invented the zeppelin?",
            "extra_body": {"retrieval": _ALWAYS},
        }  # fmt: skip
        assert client.responses.create(**fields).output_text == _NOTHING
        events = list(client.responses.create(**fields, stream=True))
        assert events[-1].response.output_text == _NOTHING


def test_a_client_that_leaves_while_a_sentence_is_held_frees_the_engine(world: World) -> None:
    world.engine.grounded, world.engine.word_s = "word " * 300 + "end.", 0.02
    body = {
        "model": "docs", "messages": [{"role": "user", "content": _ASKED}],
        "retrieval": _ALWAYS, "stream": True,
    }  # fmt: skip
    data = json.dumps(body).encode()
    parts = urlsplit(world.gateway.url)
    with socket.create_connection((parts.hostname, parts.port)) as client:
        client.sendall(
            b"POST %b HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"
            b"content-length: %d\r\n\r\n%b"
            % (_CHAT.encode(), world.gateway.key.encode(), len(data), data)
        )
        wait(lambda: len(world.engine.bodies) > 0)
    wait(lambda: world.engine.left == 1, 2)


def test_an_engine_that_dies_in_a_held_stream_is_an_error(world: World) -> None:
    world.engine.breaks_after = 3
    answer = world.ask(retrieval=_ALWAYS, stream=True)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "engine_unavailable"


def test_an_engine_that_dies_after_a_sentence_ends_with_an_error_frame(world: World) -> None:
    world.engine.breaks_after = len(_FACT.split()) + 2
    answer = world.ask(retrieval=_ALWAYS, stream=True)
    assert "[1]" in answer.text
    assert '"engine_unavailable"' in answer.text


def test_json_is_grounded_and_not_marked(world: World) -> None:
    world.engine.grounded = '{"opens": "9:30"}'
    answer = world.ask(retrieval=_ALWAYS, response_format={"type": "json_object"})
    assert answer.json()["choices"][0]["message"]["content"] == '{"opens": "9:30"}'
    assert answer.headers["x-driftgate-retrieval"].startswith("grounded")
