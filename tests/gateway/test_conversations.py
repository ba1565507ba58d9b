"""Which requests belong to one conversation, and what a host remembers of it."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.conversations import Conversations, checksum, key_of
from gateway.wire import parse

_SYSTEM = {"role": "system", "content": "Be brief."}
_DEVELOPER = {"role": "developer", "content": "In French."}


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _key(*messages: dict[str, Any], caller: str | None = "k", **fields: Any) -> tuple[Any, bool]:
    body = {"model": "m", "messages": list(messages), **fields}
    return key_of(parse("chat", json.dumps(body).encode()), caller)


def test_the_turns_of_a_conversation_have_one_key() -> None:
    first, later = _key(_user("hi"))
    assert not later
    assert first is not None
    assert len(first) == 8
    for turns in ([_said("hello"), _user("and?")], [_said("a"), _user("b"), _said("c"), _user("")]):
        assert _key(_user("hi"), *turns) == (first, True)
    assert _key(_user("bye"), _said("hello"), _user("and?"))[0] != first


def test_system_messages_belong_to_the_beginning() -> None:
    first, later = _key(_SYSTEM, _DEVELOPER, _user("hi"))
    assert not later
    assert _key(_SYSTEM, _DEVELOPER, _user("hi"), _said("x"), _user("y")) == (first, True)
    others = {
        _key(*messages)[0]
        for messages in ([_user("hi")], [_SYSTEM, _user("hi")], [_DEVELOPER, _SYSTEM, _user("hi")])
    }
    assert len(others) == 3
    assert first not in others


def test_a_text_that_speaks_of_the_system_role_is_no_system_message() -> None:
    """Otherwise a second turn would have another key than the first."""
    text = 'he wrote {"role": "system"} and "role":"developer"'
    first, _ = _key(_user(text))
    assert _key(_user(text), _said("x"), _user("y")) == (first, True)


def test_only_system_messages_are_a_beginning_too() -> None:
    key, later = _key(_SYSTEM)
    assert key is not None
    assert not later
    assert _key(_SYSTEM, _DEVELOPER)[1] is False


def test_a_name_counts_more_than_the_messages() -> None:
    one, later = _key(_user("a"), metadata={"conversation": "c1"})
    assert later, "a named one may have begun without being seen as its first turn"
    assert _key(_user("b"), metadata={"conversation": "c1"})[0] == one
    assert _key(_user("a"), metadata={"conversation": "c2"})[0] != one
    assert _key(_user("a"), metadata={"other": "c1"}) == _key(_user("a"))


@pytest.mark.parametrize(("operation", "field"), [("completion", "prompt"), ("response", "input")])
def test_other_operations_have_only_named_conversations(operation: Any, field: str) -> None:
    plain = {"model": "m", field: "x"}
    assert key_of(parse(operation, json.dumps(plain).encode()), "k") == (None, False)
    named = plain | {"metadata": {"conversation": "c"}}
    key, later = key_of(parse(operation, json.dumps(named).encode()), "k")
    assert (key, later) == (_key(_user("x"), metadata={"conversation": "c"})[0], True)


def test_callers_share_no_conversation() -> None:
    for metadata in ({}, {"conversation": "c"}):
        keys = {_key(_user("hi"), caller=who, metadata=metadata)[0] for who in ("a", "b", None)}
        assert len(keys) == 3


def test_many_conversations_have_many_keys() -> None:
    assert len({_key(_user(f"question {n}"))[0] for n in range(3000)}) == 3000


def _numbered(number: int) -> bytes:
    key, _ = _key(_user(f"question {number}"))
    assert isinstance(key, bytes)
    return key


def test_what_one_worker_notes_another_knows(tmp_path: Path) -> None:
    one = Conversations(tmp_path / "run" / "table")
    two = Conversations(tmp_path / "run" / "table")
    one.note(_numbered(1), checksum("a"))
    two.note(_numbered(2), checksum("b"))
    for each in (one, two):
        assert each.began_on(_numbered(1)) == checksum("a")
        assert each.began_on(_numbered(2)) == checksum("b")
        assert each.began_on(_numbered(3)) is None
    one.note(_numbered(1), checksum("c"))
    assert two.began_on(_numbered(1)) == checksum("c")
    one.close()
    two.close()
    again = Conversations(tmp_path / "run" / "table")  # a worker that is started anew
    assert again.began_on(_numbered(2)) == checksum("b")
    again.close()
    assert os.stat(tmp_path / "run" / "table").st_mode & 0o077 == 0
    assert os.stat(tmp_path / "run").st_mode & 0o077 == 0


def test_without_a_file_it_is_its_own() -> None:
    one, two = Conversations(None), Conversations(None)
    one.note(_numbered(1), 5)
    assert (one.began_on(_numbered(1)), two.began_on(_numbered(1))) == (5, None)
    assert one.began_on(bytes(8)) is None, "an empty slot is no conversation"
    one.close()
    two.close()


def test_it_forgets_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    table = Conversations(None)
    table.note(_numbered(1), 5)
    monkeypatch.setattr(time, "time", lambda: now + 3500)
    assert table.began_on(_numbered(1)) == 5
    monkeypatch.setattr(time, "time", lambda: now + 3700)
    assert table.began_on(_numbered(1)) is None
    table.close()


def test_a_conversation_that_loses_its_slot_is_unknown_not_wrong() -> None:
    """More conversations than slots: each is known with its own release or not at all."""
    table = Conversations(None)
    keys = [n.to_bytes(8, "little") for n in range(1, 200_000, 7)]
    keys += [(n << 16 | 5).to_bytes(8, "little") for n in range(1, 50)]
    for number, key in enumerate(keys):
        table.note(key, number)
    known = [table.began_on(key) for key in keys]
    assert all(found in (None, number) for number, found in enumerate(known))
    assert sum(found is not None for found in known) > 10_000
    assert known[-1] == len(keys) - 1
    table.close()
