"""What the monitor reads of a record."""

from dataclasses import fields
from typing import Any

import pytest

from gateway.store.traffic import TrafficRecord
from monitoring.requests import of_record


def _record(**values: Any) -> TrafficRecord:
    every: dict[str, Any] = {field.name: None for field in fields(TrafficRecord)}
    every |= {
        "completion_id": "c", "created_at": 1.0, "operation": "chat", "alias": "m", "release": "r",
        "duration_s": 1.0, "outcome": "done", "status": 200, "metadata": {},
    }  # fmt: skip
    return TrafficRecord(**every | values)


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        ("Once upon", "Once upon"),
        (["Once upon", "another"], "Once upon"),
        ([{"role": "user", "content": "one"}, {"role": "assistant", "content": "a"},
          {"role": "user", "content": [{"type": "text", "text": "two"}]}], "two"),
        ([{"role": "user", "content": [{"type": "input_text", "text": "three"}]}], "three"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], None),
        ([{"role": "system", "content": "be kind"}], None),
        ([[1, 2, 3]], None),  # token ids
        ([], None),
        (None, None),
    ],
)  # fmt: skip
def test_the_prompt_is_the_last_that_the_user_said(messages: Any, prompt: str | None) -> None:
    assert of_record(_record(messages=messages)).prompt == prompt


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"choices": [{"message": {"content": "yes"}}, {"message": {"content": "no"}}]}, "yes"),
        ({"choices": [{"text": "a time"}]}, "a time"),
        ({"choices": [{"message": {"content": None, "tool_calls": []}}]}, None),
        ({"choices": []}, None),
        ({"output": [{"type": "reasoning", "content": None},
                     {"content": [{"type": "output_text", "text": "yes"}]}]}, "yes"),
        ({"output": "odd"}, None),
        (None, None),
    ],
)  # fmt: skip
def test_the_answer_is_its_text(answer: Any, text: str | None) -> None:
    assert of_record(_record(answer=answer)).answer == text


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": {"type": "text"}}, False),
        ({"text": {"format": {"type": "json_schema"}}}, True),
        ({"text": "odd", "response_format": None}, False),
        (None, False),
    ],
)
def test_json_is_wanted_where_the_request_asked_for_it(parameters: Any, wanted: bool) -> None:
    assert of_record(_record(parameters=parameters)).wants_json is wanted
