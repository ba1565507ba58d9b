"""Parsing and re-writing requests: unknown fields survive, mistakes are named."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.wire import parse

_CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_every_other_field_passes_untouched() -> None:
    body = (
        b'{"model": "m", "messages": [{"role": "user", "content": "h\\u00e9"}],'
        b' "vllm_xargs": {"a": [1.50, 1e3]}, "n": null}'
    )
    sent = parse("chat", body).for_engine("release-1")
    assert json.loads(sent) == {**json.loads(body), "model": "release-1"}
    assert b"1.50, 1e3" in sent  # the bytes of a number are kept, not its value alone


def test_a_stream_is_asked_for_its_usage_beside_the_clients_options() -> None:
    body = {**_CHAT, "stream": True, "stream_options": {"continuous_usage_stats": False}}
    request = parse("chat", json.dumps(body).encode())
    assert not request.include_usage
    assert json.loads(request.for_engine("r"))["stream_options"] == {
        "continuous_usage_stats": False,
        "include_usage": True,
    }


def test_null_options_are_as_good_as_none() -> None:
    body = {**_CHAT, "stream": True, "stream_options": None}
    sent = json.loads(parse("chat", json.dumps(body).encode()).for_engine("r"))
    assert sent["stream_options"] == {"include_usage": True}


def test_a_client_cannot_set_its_priority() -> None:
    sent = parse("chat", json.dumps({**_CHAT, "priority": -100}).encode()).for_engine("r")
    assert "priority" not in json.loads(sent)


def test_store_false_is_seen() -> None:
    assert not parse("chat", json.dumps({**_CHAT, "store": False}).encode()).store
    assert parse("chat", json.dumps({**_CHAT, "store": None}).encode()).store


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"", None, "invalid_json"),
        (b"{", None, "invalid_json"),
        (b"[]", None, "invalid_type"),
        (b"[" * 200_000, None, "invalid_type"),
        (b'{"model": "m", "messages": ' + b"[" * 200_000, None, "invalid_json"),
        (b'{"model": "\xff", "messages": [1]}', None, "invalid_json"),
        (b'{"messages": [{}]}', "model", "missing_field"),
        (b'{"model": "m"}', "messages", "missing_field"),
        (b'{"model": 3, "messages": [1]}', "model", "invalid_type"),
        (b'{"model": "m", "messages": []}', "messages", "invalid_type"),
        (b'{"model": "m", "messages": "hi"}', "messages", "invalid_type"),
        (b'{"model": "m", "messages": [1], "stream": "yes"}', "stream", "invalid_type"),
        (
            b'{"model": "m", "messages": [1], "stream_options": {"include_usage": 1}}',
            "stream_options.include_usage",
            "invalid_type",
        ),
        (b'{"model": "m", "messages": [1], "metadata": {"a": 1}}', "metadata[...]", "invalid_type"),
    ],
)
def test_mistakes_are_named(body: bytes, param: str | None, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse("chat", body)
    assert (caught.value.param, caught.value.code) == (param, code)
    assert caught.value.status == 400


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_never_a_crash(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse("chat", body)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["model", "messages", "stream", "stream_options", "metadata", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
)
def test_any_object_is_parsed_or_refused(fields: dict[str, Any]) -> None:
    try:
        request = parse("chat", json.dumps(fields).encode())
    except InvalidRequest:
        return
    sent = json.loads(request.for_engine("r"))
    assert {k: v for k, v in sent.items() if k not in ("model", "stream_options")} == {
        k: v for k, v in fields.items() if k not in ("model", "stream_options")
    }
