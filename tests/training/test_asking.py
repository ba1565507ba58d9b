"""Questions through a real gateway over the stub engine, which answers with what it was asked."""

import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.keys import Keys
from gateway.store.policies import Policies
from monitoring.requests import PROBE
from tests.gateway.running import RunningGateway, running_gateway
from training.asking import GatewayAsker, Question


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("asking"), embedder="") as running:
        yield running


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_questions_are_answered_in_their_order_and_the_monitor_can_tell_them(
    gateway: RunningGateway,
) -> None:
    with GatewayAsker(gateway.database, gateway.url, "rlt-1") as asker:
        many = asker.ask_many([Question("production", said(f"word {n}")) for n in range(20)], 4)
        one = asker.ask("production-1", said("one two three four"), max_tokens=2)
    assert [each.text for each in many] == [f"word {n}" for n in range(20)]
    assert {(each.status, each.release, each.error) for each in many} == {
        (200, "production-1", None)
    }
    assert all(0 < each.latency_s < 10 for each in many)
    assert one.text.split() == ["one", "two"]
    assert one.finish_reason == "length"
    with gateway.client() as client:
        page = client.get("/v1/chat/completions", params={"metadata[" + PROBE + "]": "rlt-1"})
    assert page.status_code == 200


def test_the_key_lives_as_long_as_the_asking(gateway: RunningGateway) -> None:
    keys, policies = Keys(gateway.database), Policies(gateway.database)
    policies.put("alias", "production", {"mode": "off", "top_k": 3})
    killed = GatewayAsker(gateway.database, gateway.url, "rlt-2", like="production")
    killed.__enter__()
    live = [key for key in keys.all() if "rlt-2" in key.name and key.revoked_at is None]
    assert len(live) == 1
    assert live[0].scopes == {"inference"}
    assert [p.fields for p in policies.all() if p.name == live[0].prefix] == [
        {"mode": "off", "top_k": 3}
    ]
    # The next of the same purpose takes away what a killed process left.
    with GatewayAsker(gateway.database, gateway.url, "rlt-2") as asker:
        assert asker.ask("production", said("hello")).text == "hello"
        revoked = {key.prefix for key in keys.all() if key.revoked_at is not None}
        assert live[0].prefix in revoked
    assert [key for key in keys.all() if "rlt-2" in key.name and key.revoked_at is None] == []
    assert [p for p in policies.all() if p.kind == "key"] == []
    policies.remove("alias", "production")


def test_what_goes_wrong_is_told(gateway: RunningGateway) -> None:
    with GatewayAsker(gateway.database, gateway.url, "rlt-3") as asker:
        assert asker.ask("nobody", said("x")).error == "http 404"
        assert asker.ask("production", []).error == "http 400"
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes the question, and that is all
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with GatewayAsker(gateway.database, url, "rlt-3") as asker:
            slow = asker.ask("production", said("x"), timeout_s=0.2)
    assert (slow.error, slow.status) == ("timeout", 0)


def test_a_gateway_that_is_away_is_tried_a_few_times(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("training.asking.time.sleep", pauses.append)
    away = dataclasses.replace(gateway, url="http://127.0.0.1:1")
    with GatewayAsker(gateway.database, away.url, "rlt-4") as asker:
        asked = asker.ask("production", said("x"))
    assert asked.error == "unreachable: ConnectError"
    assert len(pauses) == 3


def test_retrieval_is_asked_for(gateway: RunningGateway, tmp_path: Path) -> None:
    with GatewayAsker(gateway.database, gateway.url, "rlt-5") as asker:
        plain = asker.ask("production", said("hello"), retrieval="off")
        # There are no documents: the gateway says so in its own words, or answers plainly.
        grounded = asker.ask("production", said("hello"), retrieval="always")
    assert plain.text == "hello"
    assert grounded.status in (200, 400, 503)
