"""From a name to an engine: weights, shadows, readiness, rest."""

from collections import Counter

import pytest

from gateway.errors import NotFound, Unavailable
from gateway.routing import Routes
from gateway.store.engines import Engine, EngineState
from gateway.store.releases import Release, Target


def _engine(slot: str, release: str, state: EngineState = EngineState.READY) -> Engine:
    return Engine(slot, "h", release, f"unix:/{slot}", state, None, 0, None, 0.0)


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
    first = routes.resolve("a").link
    first.in_flight += 1
    assert all(routes.resolve("a").link is not first for _ in range(20))


def test_an_engine_that_refused_rests() -> None:
    routes = Routes()
    routes.update({}, _releases("a"), [_engine("1", "a")])
    routes.resolve("a").link.rest()
    with pytest.raises(Unavailable) as caught:
        routes.resolve("a")
    assert caught.value.retry_after is not None


def test_connections_outlive_an_update_and_close_with_their_engine() -> None:
    routes = Routes()
    routes.update({}, _releases("a"), [_engine("1", "a")])
    link = routes.resolve("a").link
    routes.update({}, _releases("a"), [_engine("1", "a"), _engine("2", "a")])
    assert link in {routes.resolve("a").link for _ in range(50)}
    routes.update({}, _releases("a"), [_engine("2", "a")])
    assert routes.resolve("a").link is not link


def test_unknown_names_list_the_known_ones() -> None:
    routes = Routes()
    routes.update({"x": (Target("a", 1.0, "live"),)}, _releases("a"), [])
    with pytest.raises(NotFound, match="`a`, `x`"):
        routes.resolve("y")
    with pytest.raises(Unavailable):
        routes.resolve("x")
    assert not routes.serves("x")
