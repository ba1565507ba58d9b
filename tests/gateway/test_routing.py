"""From a name to an engine: weights, shadows, readiness, rest."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from scipy.stats import binom

from gateway.conversations import Conversations, key_of
from gateway.errors import NotFound, Unavailable
from gateway.routing import EngineLink, Routes
from gateway.store.engines import Engine, EngineState
from gateway.store.releases import Release, Target
from gateway.wire import InferenceRequest, parse


def _engine(slot: str, release: str, state: EngineState = EngineState.READY) -> Engine:
    return Engine(slot, "h", release, f"unix:/{slot}", state, None, 0, None, 0.0)


def _pick(routes: Routes, release: str) -> EngineLink:
    link = routes.pick(release)
    assert link is not None
    return link


def _releases(*names: str) -> list[Release]:
    return [Release(name, "m", "r", "", {}, 0.0) for name in names]


def test_traffic_follows_the_weights_and_never_reaches_a_shadow() -> None:
    routes = Routes()
    targets = (
        Target("a", 0.75, "live"),
        Target("b", 0.25, "live"),
        Target("c", 1.0, "shadow"),
    )
    engines = [_engine("1", "a"), _engine("2", "b"), _engine("3", "c")]
    routes.update({"x": targets}, _releases("a", "b", "c"), engines)
    counts = Counter(routes.resolve("x").release for _ in range(4000))
    assert counts.keys() == {"a", "b"}
    assert 2800 < counts["a"] < 3200


def test_another_live_release_answers_when_one_is_down() -> None:
    routes = Routes()
    targets = (Target("a", 0.99, "live"), Target("b", 0.01, "live"))
    engines = [_engine("1", "a", EngineState.RESTARTING), _engine("2", "b")]
    routes.update({"x": targets}, _releases("a", "b"), engines)
    assert {routes.resolve("x").release for _ in range(20)} == {"b"}


def test_the_least_loaded_engine_is_taken() -> None:
    routes = Routes()
    routes.update({}, _releases("a"), [_engine("1", "a"), _engine("2", "a")])
    first = _pick(routes, "a")
    first.in_flight += 1
    assert all(_pick(routes, "a") is not first for _ in range(20))


def test_an_engine_that_was_tried_is_not_tried_again() -> None:
    routes = Routes()
    routes.update({}, _releases("a"), [_engine("1", "a"), _engine("2", "a")])
    first = _pick(routes, "a")
    second = routes.pick("a", [first])
    assert second is not None
    assert second is not first
    assert routes.pick("a", [first, second]) is None


def test_prompts_that_begin_alike_go_to_one_engine_unless_it_is_busy() -> None:
    routes = Routes()
    routes.update({}, _releases("a"), [_engine(str(n), "a") for n in range(4)])
    homes = {p: {routes.pick("a", (), p) for _ in range(20)} for p in (b"one", b"two", b"3", b"4")}
    assert all(len(links) == 1 for links in homes.values())
    assert len(set.union(*homes.values())) > 1
    (home,) = homes[b"one"]
    assert home is not None
    home.in_flight = 100
    assert routes.pick("a", (), b"one") is not home


def test_an_engine_that_refused_rests_and_another_answers() -> None:
    routes = Routes()
    routes.update({}, _releases("a"), [_engine("1", "a"), _engine("2", "a")])
    refused = _pick(routes, "a")
    refused.breaker.failed(time.monotonic(), refused=True)
    assert all(_pick(routes, "a") is not refused for _ in range(20))
    _pick(routes, "a").breaker.failed(time.monotonic(), refused=True)
    with pytest.raises(Unavailable) as caught:
        routes.resolve("a")
    assert caught.value.retry_after == 1


def test_connections_outlive_an_update_and_close_with_their_engine() -> None:
    routes = Routes()
    routes.update({}, _releases("a"), [_engine("1", "a")])
    link = _pick(routes, "a")
    routes.update({}, _releases("a"), [_engine("1", "a"), _engine("2", "a")])
    assert link in {_pick(routes, "a") for _ in range(50)}
    routes.update({}, _releases("a"), [_engine("2", "a")])
    assert _pick(routes, "a") is not link


def _turn(*texts: str, **metadata: str) -> InferenceRequest:
    messages = [
        {"role": "user" if i % 2 == 0 else "assistant", "content": t} for i, t in enumerate(texts)
    ]
    body = {"model": "x", "messages": [{"role": "system", "content": "s"}, *messages]}
    return parse("chat", json.dumps(body | ({"metadata": metadata} if metadata else {})).encode())


def _resolve(routes: Routes, request: InferenceRequest, caller: str | None = "k") -> str:
    return routes.resolve("x", *key_of(request, caller)).release


def test_a_conversation_stays_through_a_promotion_while_its_release_is_served(
    tmp_path: Path,
) -> None:
    table = Conversations(tmp_path / "c")
    routes, other_worker = Routes(table), Routes(Conversations(tmp_path / "c"))
    both = [_engine("1", "a"), _engine("2", "b")]
    only_a = {"x": (Target("a", 1.0, "live"),)}
    only_b = {"x": (Target("b", 1.0, "live"),), "previous": (Target("a", 1.0, "live"),)}
    for each in (routes, other_worker):
        each.update(only_a, _releases("a", "b"), both)
    assert _resolve(routes, _turn("hi")) == "a"
    for each in (routes, other_worker):
        each.update(only_b, _releases("a", "b"), both)
        assert _resolve(each, _turn("hi", "hello", "and?")) == "a"
        assert _resolve(each, _turn("bye", "hello", "and?")) == "b"
        assert _resolve(each, _turn("hi", "hello", "and?"), "another key") == "b"
    routes.update(only_b, _releases("a", "b"), [both[1]])
    assert _resolve(routes, _turn("hi", "hello", "and?")) == "b"
    routes.close()
    other_worker.close()


def test_a_release_that_was_rolled_back_loses_its_conversations_at_once() -> None:
    routes = Routes()
    both = [_engine("1", "a"), _engine("2", "b")]
    routes.update({"x": (Target("b", 1.0, "live"),)}, _releases("a", "b"), both)
    assert _resolve(routes, _turn("hi")) == "b"
    for targets in (
        (Target("a", 1.0, "live"),),
        (Target("a", 1.0, "live"), Target("b", 1.0, "shadow")),
    ):
        routes.update({"x": targets}, _releases("a", "b"), both)
        assert _resolve(routes, _turn("hi", "hello", "and?")) == "a"


def test_what_is_tried_out_under_another_alias_stays_there() -> None:
    """The same key asks the candidate first, and then goes on with production."""
    routes = Routes()
    aliases = {"x": (Target("a", 1.0, "live"),), "candidate": (Target("b", 1.0, "live"),)}
    routes.update(aliases, _releases("a", "b"), [_engine("1", "a"), _engine("2", "b")])
    assert routes.resolve("candidate", *key_of(_turn("hi"), "k")).release == "b"
    assert _resolve(routes, _turn("hi", "hello", "and?")) == "a"


def test_a_canary_gets_its_share_of_conversations_and_keeps_them() -> None:
    routes = Routes()
    engines = [_engine("1", "a"), _engine("2", "b")]
    conversations = [f"question {n}" for n in range(4000)]
    for share in (0.01, 0.05, 0.25):
        targets = (Target("a", 1 - share, "live"), Target("b", share, "live"))
        routes.update({"x": targets}, _releases("a", "b"), engines)
        asked = {text: _resolve(routes, _turn(text, conversation=text)) for text in conversations}
        got = sum(release == "b" for release in asked.values())
        low, high = binom.interval(1 - 1e-6, len(conversations), share)
        assert low <= got <= high, share
        again = {text: _resolve(routes, _turn(text, conversation=text)) for text in conversations}
        # Two that meet in a slot of the table lose their stickiness, nothing else.
        assert sum(again[text] != asked[text] for text in asked) < 40
        conversations = [f"{text}, {share}" for text in conversations]


def test_a_named_conversation_needs_no_common_beginning() -> None:
    routes = Routes()
    engines = [_engine("1", "a"), _engine("2", "b")]
    split = {"x": (Target("a", 0.5, "live"), Target("b", 0.5, "live"))}
    routes.update(split, _releases("a", "b"), engines)
    for name in map(str, range(20)):
        texts = [_turn(f"turn {turn}", conversation=name) for turn in range(5)]
        assert len({_resolve(routes, text) for text in texts}) == 1


def test_unknown_names_list_the_known_ones() -> None:
    routes = Routes()
    routes.update({"x": (Target("a", 1.0, "live"),)}, _releases("a"), [])
    with pytest.raises(NotFound, match="`a`, `x`"):
        routes.resolve("y")
    with pytest.raises(Unavailable):
        routes.resolve("x")
    assert not routes.serves("x")
