"""The stub engine over a real socket, mostly through the official client."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.gateway.engines.fakes import wait_until

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def client(http: httpx.Client) -> openai.OpenAI:
    transport: Any = http  # the client's types name another package with the same classes
    return openai.OpenAI(
        base_url="http://engine/v1", api_key="none", http_client=transport, max_retries=0
    )


def _ask(text: str) -> list[Any]:
    return [{"role": "system", "content": "be brief"}, {"role": "user", "content": text}]


def test_chat_echoes_the_last_user_message(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="m-1", messages=_ask("one  two\nthree"), n=2, extra_headers={"X-Request-Id": "abc"}
    )
    assert [choice.message.content for choice in answer.choices] == ["one  two\nthree"] * 2
    assert answer.id == "chatcmpl-abc"
    assert answer.model == "m-1"
    assert answer.system_fingerprint == "echo"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 6)


def test_chat_stream_adds_up_to_the_same_text(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="m-1",
            messages=_ask("one two three"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert [word for word in words if word] == ["one", " two", " three"]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_ends_with_done(http: httpx.Client) -> None:
    body = {"messages": _ask("hi"), "stream": True, "a_field_of_tomorrow": {"x": 1}}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    frames = answer.text.split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    assert "usage" not in json.loads(frames[-3].removeprefix("data: "))


@pytest.mark.parametrize(
    ("options", "text", "reason"),
    [
        ({"max_tokens": 2}, "one two", "length"),
        ({"max_completion_tokens": 4}, "one two three four", "stop"),
        ({"stop": "three"}, "one two ", "stop"),
        ({"stop": ["four", "two"], "max_tokens": 3}, "one ", "stop"),
        ({"stop": "four", "max_tokens": 2}, "one two", "length"),
    ],
)
def test_where_an_answer_ends(
    client: openai.OpenAI, options: dict[str, Any], text: str, reason: str
) -> None:
    answer = client.chat.completions.create(
        model="m-1", messages=_ask("one two three four"), **options
    )
    assert answer.choices[0].message.content == text
    assert answer.choices[0].finish_reason == reason
    frames = client.chat.completions.create(
        model="m-1", messages=_ask("one two three four"), stream=True, **options
    )
    assert "".join(frame.choices[0].delta.content or "" for frame in frames) == text


def test_logprobs_have_an_entry_per_word(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(
        model="m-1", messages=_ask("é b"), logprobs=True, top_logprobs=2
    )
    assert chat.choices[0].logprobs is not None
    entries = chat.choices[0].logprobs.content or []
    assert [entry.token for entry in entries] == ["é", " b"]
    assert entries[0].bytes == [195, 169]
    assert entries[0].top_logprobs[0].token == "é"
    text = client.completions.create(model="m-1", prompt="a bb c", logprobs=1)
    assert text.choices[0].logprobs is not None
    assert text.choices[0].logprobs.text_offset == [0, 1, 4]


def test_a_forced_tool_is_called(client: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "function": {"name": "look_up", "parameters": {}}}]
    forced: Any = {"type": "function", "function": {"name": "look_up"}}
    for choice in (forced, "required"):
        answer = client.chat.completions.create(
            model="m-1", messages=_ask("hi"), tools=tools, tool_choice=choice
        )
        calls: Any = answer.choices[0].message.tool_calls
        assert calls[0].function.name == "look_up"
        assert calls[0].function.arguments == "{}"
        assert answer.choices[0].finish_reason == "tool_calls"
    chunks = list(
        client.chat.completions.create(
            model="m-1", messages=_ask("hi"), tools=tools, tool_choice=forced, stream=True
        )
    )
    called = [chunk for chunk in chunks if chunk.choices[0].delta.tool_calls]
    assert called
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    free = client.chat.completions.create(model="m-1", messages=_ask("hi"), tools=tools)
    assert free.choices[0].message.content == "hi"


def test_a_schema_is_answered_with_an_instance(client: openai.OpenAI) -> None:
    schema: Any = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 2},
            "kind": {"enum": ["a", "b"]},
            "size": {"type": "integer", "minimum": 3},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 2},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        },
        "required": ["city", "kind", "size", "tags", "maybe"],
        "$defs": {"tag": {"type": "object", "properties": {"on": {"type": "boolean"}}}},
    }
    format: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = client.chat.completions.create(
        model="m-1", messages=_ask("hi"), response_format=format
    )
    assert json.loads(answer.choices[0].message.content or "") == {
        "city": "xx",
        "kind": "a",
        "size": 3,
        "tags": [{"on": False}, {"on": False}],
        "maybe": None,
    }
    plain = client.chat.completions.create(
        model="m-1", messages=_ask("hi"), response_format={"type": "json_object"}
    )
    assert plain.choices[0].message.content == "{}"


def test_a_schema_in_circles_ends(http: httpx.Client) -> None:
    schema = {"type": "object", "required": list("abcdefgh"), "properties": {}}
    schema["properties"] = {name: {"$ref": "#"} for name in "abcdefgh"}
    format = {"type": "json_schema", "json_schema": {"schema": schema}}
    body = {"messages": _ask("hi"), "response_format": format}
    assert http.post("/v1/chat/completions", json=body).status_code == 200


def test_completions_answer_each_prompt(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="m-1", prompt=["a b", "c"], extra_headers={"X-Request-Id": "r"}
    )
    assert [choice.text for choice in answer.choices] == ["a b", "c"]
    assert answer.id == "cmpl-r"
    numbers = client.completions.create(model="m-1", prompt=[1, 2, 3], stream=True)
    assert "".join(chunk.choices[0].text for chunk in numbers) == "1 2 3"
    long = client.completions.create(model="m-1", prompt="w " * 40)
    assert long.choices[0].finish_reason == "length"


def test_responses_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.responses.create(model="m-1", input="one two three", max_output_tokens=2)
    assert whole.output_text == "one two"
    assert whole.status == "incomplete"
    events = list(
        client.responses.create(
            model="m-1", input=[{"role": "user", "content": "one two"}], stream=True
        )
    )
    assert events[0].type == "response.created"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["one", " two"]
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "one two"
    assert last.response.usage is not None
    assert last.response.usage.output_tokens == 2


def test_an_unknown_model_is_404_in_vllms_shape(http: httpx.Client) -> None:
    answer = http.post("/v1/chat/completions", json={"model": "x", "messages": _ask("hi")})
    assert answer.status_code == 404
    assert answer.json() == {
        "error": {
            "message": "The model `x` does not exist.",
            "type": "NotFoundError",
            "param": "model",
            "code": 404,
        }
    }
    assert [model["id"] for model in http.get("/v1/models").json()["data"]] == ["m-1"]
    assert http.get("/v1/nothing").status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", b"{"),
        ("chat/completions", b"\xff\xfe"),
        ("chat/completions", b"[]"),
        ("chat/completions", b"[" * 100_000),
        ("chat/completions", b"{}"),
        ("chat/completions", b'{"messages": "hi"}'),
        ("chat/completions", b'{"messages": []}'),
        ("chat/completions", b'{"messages": ["hi"]}'),
        ("chat/completions", b'{"messages": [{}], "n": 0}'),
        ("chat/completions", b'{"messages": [{}], "max_tokens": 0}'),
        ("chat/completions", b'{"messages": [{}], "stop": [1]}'),
        ("chat/completions", b'{"messages": [{}], "metadata": {"a": []}}'),
        ("chat/completions", b'{"messages": [{}], "metadata": {"echo_delay_s": "soon"}}'),
        ("chat/completions", b'{"messages": [{}], "metadata": {"echo_delay_s": "-1"}}'),
        ("chat/completions", b'{"messages": [{"role": "user", "content": "\\ud800"}]}'),
        ("completions", b'{"prompt": {"a": 1}}'),
        ("completions", b'{"prompt": [[["a"]]]}'),
        ("responses", b'{"input": 5}'),
    ],
)
def test_wrong_requests_are_400_in_vllms_shape(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(f"/v1/{path}", content=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "BadRequestError"
    assert error["code"] == 400
    assert error["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": [1, {"text": 2}, {"text": "a"}]}]},
        {"messages": [{}], "tool_choice": {"function": 3}},
        {"messages": [{}], "tool_choice": "required", "tools": [{"function": []}]},
        {"messages": [{}], "response_format": {"type": "json_schema", "json_schema": 1}},
        {
            "messages": [{}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"schema": {"allOf": [1, {"required": 4, "properties": []}]}},
            },
        },
        {"messages": [{}], "response_format": {"type": ["json_schema"]}},
    ],
)
def test_odd_requests_are_survived(http: httpx.Client, body: dict[str, Any]) -> None:
    for stream in (False, True):
        answer = http.post("/v1/chat/completions", json=body | {"stream": stream})
        assert answer.status_code in (200, 400)


def test_delays_come_where_they_are_asked_for(http: httpx.Client) -> None:
    body = {
        "messages": _ask("one two three"),
        "stream": True,
        "metadata": {"echo_first_delay_s": "0.2", "echo_delay_s": "0.1"},
    }
    begun, times = time.monotonic(), []
    with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        times.append(time.monotonic() - begun)
        for line in answer.iter_lines():
            if '"content":" ' in line:
                times.append(time.monotonic() - begun)
    assert times[0] >= 0.2
    assert times[1] - times[0] >= 0.15
    assert times[2] - times[1] >= 0.08


def _in_flight(http: httpx.Client) -> float:
    lines = http.get("/metrics").text.splitlines()
    line = next(each for each in lines if each.startswith("vllm:num_requests_running"))
    return float(line.rpartition(" ")[2])


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_request(http: httpx.Client, stream: bool) -> None:
    metadata = {"echo_delay_s": "30"} if stream else {"echo_first_delay_s": "30"}
    body = {"messages": _ask("one two"), "stream": stream, "metadata": metadata}
    if stream:
        with http.stream("POST", "/v1/chat/completions", json=body):
            assert _in_flight(http) == 1
    else:
        with pytest.raises(httpx.ReadTimeout):
            http.post("/v1/chat/completions", json=body, timeout=0.2)
    wait_until(lambda: _in_flight(http) == 0, 0.5)


def test_the_launcher_does_not_load_a_web_server() -> None:
    code = "import sys, gateway.engines.echo; sys.exit('uvicorn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_an_adapter_is_a_further_name(http: httpx.Client, tmp_path: Path) -> None:
    adapter = {"lora_name": "m-2", "lora_path": str(tmp_path)}
    body = {"model": "m-2", "messages": [{"role": "user", "content": "hello"}]}
    missing = http.post("/v1/load_lora_adapter", json=adapter)
    assert missing.status_code == 404
    assert "no adapter found" in missing.json()["error"]["message"]
    assert http.post("/v1/chat/completions", json=body).status_code == 404
    (tmp_path / "adapter_config.json").write_text("{}")
    assert http.post("/v1/load_lora_adapter", json=adapter).status_code == 200
    again = http.post("/v1/load_lora_adapter", json=adapter)
    assert again.status_code == 400
    assert "already been loaded" in again.json()["error"]["message"]
    answer = http.post("/v1/chat/completions", json=body).json()
    assert answer["model"] == "m-2"
    cards = http.get("/v1/models").json()["data"]
    assert [(card["id"], card["parent"]) for card in cards] == [("m-1", None), ("m-2", "m-1")]
    assert http.post("/v1/unload_lora_adapter", json={"lora_name": "m-2"}).status_code == 200
    assert http.post("/v1/unload_lora_adapter", json={"lora_name": "m-2"}).status_code == 404
    assert http.post("/v1/load_lora_adapter", json={"x": 1}).status_code == 400
