"""The official client against SmolLM2-135M in a real vLLM, through the gateway."""

import json
import math
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

if TYPE_CHECKING:
    from .conftest import Served

pytestmark = pytest.mark.engine

_CAPITAL: Any = [{"role": "user", "content": "What is the capital of France?"}]


def _ask(client: openai.OpenAI, **more: Any) -> Any:
    fields = {"model": "production", "messages": _CAPITAL, "temperature": 0, "max_tokens": 16}
    return client.chat.completions.create(**{**fields, **more})


def test_a_chat_completion_is_sensible_and_comes_from_vllm(served: "Served") -> None:
    raw = served.client().chat.completions.with_raw_response.create(
        model="production", messages=_CAPITAL, temperature=0, max_tokens=16
    )
    answer = raw.parse()
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.system_fingerprint or "").startswith("vllm")
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 3
    assert answer.model == raw.headers["x-driftgate-release"]
    assert answer.id == f"chatcmpl-{raw.headers['x-request-id']}"
    assert 0 < float(raw.headers["x-driftgate-overhead-ms"]) < 100


def test_a_stream_says_the_same(served: "Served") -> None:
    whole = _ask(served.client()).choices[0].message.content
    chunks = list(_ask(served.client(), stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole
    assert len(chunks) > 3
    assert all(chunk.usage is None for chunk in chunks)  # it was not asked for
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_stream_tells_its_usage_when_asked(served: "Served") -> None:
    chunks = list(_ask(served.client(), stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 3


def test_a_completion_continues_a_text(served: "Served") -> None:
    answer = served.client().completions.create(
        model="production", prompt="One, two, three,", max_tokens=4, temperature=0
    )
    assert "four" in answer.choices[0].text
    pieces = served.client().completions.create(
        model="production", prompt="One, two, three,", max_tokens=4, temperature=0, stream=True
    )
    assert "".join(p.choices[0].text for p in pieces) == answer.choices[0].text


def test_sampling_fields_reach_the_engine(served: "Served") -> None:
    client = served.client()
    two = _ask(client, n=2, temperature=1.0, seed=1, logprobs=True, top_logprobs=2)
    assert len(two.choices) == 2
    logprobs = two.choices[0].logprobs.content
    assert len(logprobs) > 1
    assert all(len(token.top_logprobs) == 2 for token in logprobs)
    again = _ask(client, n=2, temperature=1.0, seed=1)
    assert [c.message.content for c in again.choices] == [c.message.content for c in two.choices]
    stopped = _ask(client, stop=["Paris"])
    assert "Paris" not in stopped.choices[0].message.content
    short = _ask(client, max_tokens=2)
    assert short.choices[0].finish_reason == "length"


def test_a_json_schema_is_obeyed(served: "Served") -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "large": {"type": "boolean"}},
        "required": ["city", "large"],
        "additionalProperties": False,
    }
    answer = _ask(
        served.client(),
        max_tokens=64,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema}},
    )
    document = json.loads(answer.choices[0].message.content)
    assert document.keys() == {"city", "large"}
    assert document["city"] in ("Paris", "Rome")
    assert isinstance(document["large"], bool)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_in_openais_shape(served: "Served", stream: bool) -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "set_unit",
            "strict": True,  # else any JSON may be the arguments
            "parameters": {
                "type": "object",
                "properties": {"unit": {"enum": ["celsius", "fahrenheit"]}},
                "required": ["unit"],
                "additionalProperties": False,
            },
        },
    }
    choice = {"type": "function", "function": {"name": "set_unit"}}
    answer = _ask(served.client(), tools=[tool], tool_choice=choice, max_tokens=64, stream=stream)
    if stream:
        calls = [c for chunk in answer for c in chunk.choices[0].delta.tool_calls or []]
        name = "".join(call.function.name or "" for call in calls)
        arguments = "".join(call.function.arguments or "" for call in calls)
    else:
        (call,) = answer.choices[0].message.tool_calls
        name, arguments = call.function.name, call.function.arguments
    assert name == "set_unit"
    assert json.loads(arguments)["unit"] in ("celsius", "fahrenheit")


def test_the_responses_api(served: "Served") -> None:
    client = served.client()
    answer = client.responses.create(
        model="production", input="What is the capital of France?", temperature=0,
        max_output_tokens=16,
    )  # fmt: skip
    assert "Paris" in answer.output_text
    events = list(
        client.responses.create(
            model="production", input="What is the capital of France?", temperature=0,
            max_output_tokens=16, stream=True,
        )
    )  # fmt: skip
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"


def test_embeddings_know_what_is_alike(served: "Served") -> None:
    texts = ["How do I reset my password?", "I forgot my password.", "The soup is too salty."]
    answer = served.client().embeddings.create(model="all-minilm-l6-v2", input=texts)
    first, second, third = (item.embedding for item in answer.data)
    assert len(first) == 384
    assert math.isclose(sum(x * x for x in first), 1, rel_tol=1e-3)
    alike = sum(a * b for a, b in zip(first, second, strict=True))
    other = sum(a * b for a, b in zip(first, third, strict=True))
    assert alike > 0.5 > 0.3 > other
    assert answer.usage.prompt_tokens > 15


def test_models_show_aliases_and_lineage(served: "Served") -> None:
    client = served.client()
    names = [model.id for model in client.models.list()]
    assert "production" in names
    assert "all-minilm-l6-v2" in names
    release = next(name for name in names if name.startswith("smollm2-135m-instruct-"))
    shown = client.models.retrieve(release).to_dict()
    lineage: Any = shown["driftgate"]
    assert lineage["kind"] == "release"
    assert len(lineage["digests"]) > 1
    assert "path" not in lineage
    answer = _ask(client, model=release)
    assert answer.model == release


def test_a_wrong_key_and_a_wrong_model(served: "Served") -> None:
    wrong = served.key[:-4] + ("AAAA" if served.key[-4:] != "AAAA" else "BBBB")
    with pytest.raises(openai.AuthenticationError) as refused:
        _ask(served.client(wrong))
    assert refused.value.code == "invalid_api_key"
    assert wrong not in str(refused.value)
    with pytest.raises(openai.NotFoundError) as unknown:
        _ask(served.client(), model="gpt-9")
    assert unknown.value.code == "model_not_found"
    assert "`production`" in unknown.value.message


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "nobody", "content": 3}]},
        {"messages": [{"role": "user"}], "temperature": "hot"},
        {"max_tokens": -1},
        {"max_tokens": 10**9},
        {"n": 0},
        {"top_p": 7},
        {"logprobs": True, "top_logprobs": 10_000},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": 3}}},
        {"tools": [{"type": "nothing"}]},
        {"tool_choice": "required"},
        {"messages": [{"role": "user", "content": "long " * 5000}]},
        {"stop": 5},
        {"seed": "x"},
        {"logit_bias": {"not a token": 5}},
    ],
)
def test_what_the_engine_refuses_is_the_clients_mistake(
    served: "Served", fields: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        _ask(served.client(), **fields)
    assert refused.value.message


def test_a_lone_surrogate_is_no_server_error(served: "Served") -> None:
    body = (
        b'{"model": "production", "max_tokens": 2,'
        b' "messages": [{"role": "user", "content": "\\ud800"}]}'
    )
    answer = httpx.post(
        f"{served.url}/v1/chat/completions",
        content=body,
        headers={"authorization": f"Bearer {served.key}", "content-type": "application/json"},
    )
    assert answer.status_code in (200, 400)


def test_stored_completions_and_feedback(served: "Served") -> None:
    client = served.client()
    answer = _ask(client, metadata={"case": "stored"}, logprobs=True)
    feedback = httpx.post(
        f"{served.url}/v1/feedback",
        json={"completion_id": answer.id, "score": 1, "correction": "Paris."},
        headers={"authorization": f"Bearer {served.key}"},
    )
    assert feedback.status_code == 201
    stored = list(client.chat.completions.list(metadata={"case": "stored"}))
    assert [completion.id for completion in stored] == [answer.id]
    assert stored[0].choices[0].message.content == answer.choices[0].message.content
    messages = list(client.chat.completions.messages.list(answer.id))
    assert [m.content for m in messages] == [_CAPITAL[0]["content"]]
    assert client.chat.completions.delete(answer.id).deleted


def test_a_client_that_leaves_frees_the_engine(served: "Served") -> None:
    headers = {"authorization": f"Bearer {served.key}"}
    body = {
        "model": "production", "messages": _CAPITAL, "max_tokens": 1500, "ignore_eos": True,
    }  # fmt: skip
    socket_path = next((served.home / "run").glob("engine-*.sock"), None)
    assert socket_path is not None

    def running() -> float:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path))) as engine:
            text = engine.get("http://engine/metrics").text
        lines = [x for x in text.splitlines() if x.startswith("vllm:num_requests_running")]
        return float(lines[0].split()[-1])

    def ask_and_leave() -> None:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url, json=body, headers=headers, timeout=httpx.Timeout(30, read=3))

    url = f"{served.url}/v1/chat/completions"
    asking = threading.Thread(target=ask_and_leave)
    asking.start()
    served.wait(lambda: running() == 1, 3)
    asking.join()
    served.wait(lambda: running() == 0, 2)
    with httpx.stream("POST", url, json={**body, "stream": True}, headers=headers) as stream:
        lines = stream.iter_lines()  # kept: httpx closes the stream with its iterator
        next(lines)
        served.wait(lambda: running() == 1, 3)
        time.sleep(0.5)
        assert running() == 1
    served.wait(lambda: running() == 0, 2)


def test_metrics_have_the_genai_names(served: "Served") -> None:
    _ask(served.client(), stream=True, max_tokens=3).close()
    list(_ask(served.client(), stream=True))
    time.sleep(0.5)
    text = httpx.get(f"{served.url}/metrics").text
    for name in (
        "gen_ai_server_request_duration_seconds_count",
        "gen_ai_server_time_to_first_token_seconds_count",
        "gen_ai_server_time_per_output_token_seconds_count",
        "gen_ai_client_token_usage_count",
    ):
        found = [line for line in text.splitlines() if line.startswith(name)]
        assert any('gen_ai_request_model="production"' in line for line in found), name
    assert 'state="ready"} 1.0' in text
