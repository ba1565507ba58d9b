"""`/v1/rollouts` over HTTP: a rollout is asked for, followed and steered; two people at once."""

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from gateway.store.releases import Release, Releases, Target
from gateway.store.rollouts import PROMOTED, Rollouts
from tests.gateway.running import RunningGateway

_numbers = itertools.count()


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with gateway.client() as made:
        yield made


@pytest.fixture
def alias(gateway: RunningGateway) -> str:
    """An alias that serves `rolled-old`; `rolled-new` is there to take its place."""
    releases = Releases(gateway.database)
    for id in ("rolled-old", "rolled-new"):
        releases.register(Release(id, "m", "r", "", {}, time.time()))
    name = f"rolled-{next(_numbers)}"
    releases.point(name, [Target("rolled-old", 1.0, "live")])
    return name


def _start(client: httpx.Client, alias: str, **plan: Any) -> dict[str, Any]:
    body = {"alias": alias, "candidate": "rolled-new", "plan": plan}
    answer = client.post("/v1/rollouts", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_a_rollout_is_asked_for_and_found_again(
    gateway: RunningGateway, client: httpx.Client, alias: str
) -> None:
    made = _start(client, alias, shares=[0.01, 0.5], approval="human", warm_s=60, margin=0.05)
    assert made["id"].startswith("rlt-")
    assert (made["object"], made["status"], made["stage"]) == ("rollout", "running", "start")
    assert (made["alias"], made["candidate"]) == (alias, "rolled-new")
    assert made["previous"] == "rolled-old"
    plan = {"shares": [0.01, 0.5], "approval": "human", "warm_s": 60, "margin": 0.05}
    assert made["plan"] == plan
    assert isinstance(made["plan"]["warm_s"], int)
    assert made["evidence"] == {"asked": {"by": f"key {gateway.key[3:11]}"}}
    assert client.get(f"/v1/rollouts/{made['id']}").json() == made
    stored = Rollouts(gateway.database).get(made["id"])
    assert stored is not None
    assert stored.plan == plan


def test_an_alias_has_one_at_a_time(client: httpx.Client, alias: str) -> None:
    body = {"alias": alias, "candidate": "rolled-new"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/rollouts", json=body), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    (won,) = [answer.json()["id"] for answer in answers if answer.status_code == 200]
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["error"]["code"] == "rollout_under_way"
            assert won in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"alias": "nope"}, 404, "alias_not_found", "alias"),
        ({"candidate": "nope"}, 400, "release_not_found", "candidate"),
        ({"candidate": "rolled-old"}, 400, "release_served_already", "candidate"),
        ({"plan": []}, 400, "invalid_type", "plan"),
        ({"plan": {"shares": {"a": 1}}}, 400, "invalid_type", "plan.shares"),
        ({"share": 1}, 400, "invalid_type", "share"),
    ],
)
def test_a_rollout_that_cannot_be(
    client: httpx.Client, alias: str, fields: dict[str, Any], status: int, code: str, param: str
) -> None:
    body = {"alias": alias, "candidate": "rolled-new"} | fields
    answer = client.post("/v1/rollouts", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["param"].startswith(param)
    assert client.get(f"/v1/rollouts?alias={alias}").json()["data"] == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_json_has_not_is_refused(
    client: httpx.Client, alias: str, number: str
) -> None:
    body = f'{{"alias":"{alias}","candidate":"rolled-new","plan":{{"margin":{number}}}}}'
    answer = client.post("/v1/rollouts", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


def test_rollouts_are_listed_page_by_page(
    gateway: RunningGateway, client: httpx.Client, alias: str
) -> None:
    ids = []
    for _ in range(3):
        ids.append(_start(client, alias)["id"])
        Rollouts(gateway.database).write(ids[-1], status=PROMOTED)
    first = client.get(f"/v1/rollouts?alias={alias}&limit=2").json()
    assert [each["id"] for each in first["data"]] == ids[:0:-1]
    assert first["has_more"] is True
    second = client.get(f"/v1/rollouts?alias={alias}&limit=2&after={first['last_id']}").json()
    assert [each["id"] for each in second["data"]] == ids[:1]
    assert second["has_more"] is False


def test_it_is_paused_goes_on_and_is_aborted_for_good(client: httpx.Client, alias: str) -> None:
    url = f"/v1/rollouts/{_start(client, alias)['id']}"
    assert client.post(f"{url}/pause").json()["wish"] == "pause"
    assert client.post(f"{url}/pause").json()["wish"] == "pause"
    assert client.post(f"{url}/resume").json()["wish"] is None
    assert client.post(f"{url}/abort").json()["wish"] == "abort"
    assert client.post(f"{url}/abort").json()["wish"] == "abort", "a second one changes nothing"
    for step in ("pause", "resume", "approve"):
        answer = client.post(f"{url}/{step}")
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "invalid_rollout_state"
        assert "being aborted" in answer.json()["error"]["message"]


def test_of_two_approvals_the_first_stands(
    gateway: RunningGateway, client: httpx.Client, alias: str
) -> None:
    id = _start(client, alias)["id"]
    Rollouts(gateway.database).approve(id, "ada")
    answer = client.post(f"/v1/rollouts/{id}/approve")
    assert (answer.status_code, answer.json()["approved_by"]) == (200, "ada")


def test_what_is_over_cannot_be_steered(
    gateway: RunningGateway, client: httpx.Client, alias: str
) -> None:
    id = _start(client, alias)["id"]
    Rollouts(gateway.database).write(id, status=PROMOTED, reason="better")
    for step in ("pause", "resume", "approve", "abort"):
        answer = client.post(f"/v1/rollouts/{id}/{step}")
        assert answer.status_code == 409
        assert "promoted (better)" in answer.json()["error"]["message"]
