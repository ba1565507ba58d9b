"""Shadow traffic through a real gateway: what is stored of it, and who does not see it."""

import socket
import statistics
import time
from collections.abc import Iterator

import pytest

from gateway.store.engines import Engine, Engines, EngineState
from gateway.store.releases import Release, Releases, Target
from gateway.store.traffic import TrafficRecord, table
from tests.gateway.running import RunningGateway, echo_engine, wait


def _point(gateway: RunningGateway, alias: str, shadow: str, address: str) -> None:
    """Let `alias` be answered by the shared stub, and copied to an engine at `address`."""
    releases = Releases(gateway.database)
    releases.register(Release(shadow, "stub", "r1", "", {}, time.time()))
    engine = Engine(shadow, "test", shadow, address, EngineState.READY, None, 0, None, time.time())
    Engines(gateway.database).put(engine)
    targets = [Target("production-1", 1.0, "live"), Target(shadow, 1.0, "shadow")]
    releases.point(alias, targets)
    with gateway.client() as client:
        wait(lambda: client.get(f"/v1/models/{alias}").status_code == 200)


@pytest.fixture(scope="module")
def mirrored(gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with echo_engine(tmp_path_factory.mktemp("shade") / "echo.sock", "shade-1") as address:
        _point(gateway, "mirrored", "shade-1", address)
        yield "mirrored"


def _copies(gateway: RunningGateway, completion_id: str) -> list[TrafficRecord]:
    query = table.select().where(table.c.shadow_of == completion_id)
    with gateway.database.begin() as connection:
        return [TrafficRecord(**row._mapping) for row in connection.execute(query)]


def _copy(gateway: RunningGateway, completion_id: str) -> TrafficRecord:
    wait(lambda: bool(_copies(gateway, completion_id)))
    (copy,) = _copies(gateway, completion_id)
    return copy


@pytest.mark.parametrize("stream", [False, True])
def test_a_copy_is_a_record_of_its_own(
    gateway: RunningGateway, mirrored: str, stream: bool
) -> None:
    answer = gateway.post(model=mirrored, stream=stream, metadata={"a": "b"})
    assert answer.headers["x-driftgate-release"] == "production-1"
    first = gateway.record(f"chatcmpl-{answer.headers['x-request-id']}")
    copy = _copy(gateway, first.completion_id)
    assert first.shadow_of is None
    assert copy.completion_id != first.completion_id
    assert (copy.alias, copy.release) == (mirrored, "shade-1")
    assert (copy.outcome, copy.status, copy.finish_reason) == ("done", 200, "stop")
    assert (copy.messages, copy.metadata) == (first.messages, {"a": "b"})
    assert (copy.key_prefix, copy.conversation) == (first.key_prefix, first.conversation)
    assert copy.created_at > first.created_at + first.duration_s - 0.001, "never before its answer"
    assert copy.completion_tokens == 3
    assert copy.answer is not None
    assert copy.answer["choices"][0]["message"]["content"] == "one two three"
    assert (copy.ttft_s is not None) is stream


def test_nobody_sees_a_copy(gateway: RunningGateway, mirrored: str) -> None:
    answer = gateway.post(model=mirrored)
    copy = _copy(gateway, answer.json()["id"])
    with gateway.client() as client:
        url = "/v1/chat/completions"
        listed = client.get(url, params={"model": mirrored, "limit": 100}).json()["data"]
        assert answer.json()["id"] in {each["id"] for each in listed}
        assert {each["model"] for each in listed} == {"production-1"}
        assert client.get(f"{url}/{copy.completion_id}").status_code == 404
        feedback = {"completion_id": copy.completion_id, "score": 1}
        assert client.post("/v1/feedback", json=feedback).status_code == 404


def test_what_is_not_to_be_stored_is_not_copied(gateway: RunningGateway, mirrored: str) -> None:
    kept_out = gateway.post(model=mirrored, store=False).json()["id"]
    _copy(gateway, gateway.post(model=mirrored).json()["id"])  # which came later
    gateway.record(kept_out)
    assert _copies(gateway, kept_out) == []


def test_copies_have_metrics_of_their_own(gateway: RunningGateway, mirrored: str) -> None:
    answer = gateway.post(model=mirrored, stream=True)
    _copy(gateway, f"chatcmpl-{answer.headers['x-request-id']}")
    wait(lambda: _samples(gateway, "driftgate_shadow_requests_total", mirrored) != {})
    (labels,) = _samples(gateway, "driftgate_shadow_requests_total", mirrored)
    assert 'outcome="done"' in labels
    assert 'release="shade-1"' in labels
    assert _samples(gateway, "driftgate_shadow_duration_seconds_count", mirrored)
    assert _samples(gateway, "driftgate_shadow_time_to_first_token_seconds_count", mirrored)
    usual = _samples(gateway, "gen_ai_server_request_duration_seconds_count", mirrored)
    assert usual
    assert not any("shade-1" in labels for labels in usual)


def _samples(gateway: RunningGateway, name: str, alias: str) -> dict[str, float]:
    """Return the series of a metric that belong to an alias, by their labels."""
    with gateway.client() as client:
        lines = client.get("/metrics").text.splitlines()
    found = [line.rpartition(" ") for line in lines if line.startswith(f"{name}{{")]
    return {labels: float(value) for labels, _, value in found if f'"{alias}"' in labels}


def test_a_shadow_that_hangs_slows_no_client(gateway: RunningGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections, answers nothing
        _point(gateway, "held", "held-1", f"http://127.0.0.1:{server.getsockname()[1]}")
        times = []
        ids = []
        for _ in range(20):
            started = time.perf_counter()
            ids.append(gateway.post(model="held").json()["id"])
            times.append(time.perf_counter() - started)
        assert statistics.median(times) < 0.5, "the copies wait for a second each"
        copy = _copy(gateway, ids[0])
        assert (copy.outcome, copy.status) == ("error", 504)
        assert 0.9 < copy.duration_s < 5


def test_a_release_without_its_engine_is_no_reason_to_fail(gateway: RunningGateway) -> None:
    _point(gateway, "unshaded", "unshaded-1", "unix:/nowhere")
    for _ in range(5):
        assert gateway.post(model="unshaded").status_code == 200
