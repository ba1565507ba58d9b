"""`/v1/aliases` over HTTP: what is shown, a rollback with what ends by it, a wish to retrain."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from gateway.store.engines import Engine, Engines, EngineState
from gateway.store.health import Healths
from gateway.store.releases import Release, Releases, Target
from gateway.store.retraining import Retraining
from gateway.store.rollouts import PROMOTED, ROLLED_BACK, Rollout, Rollouts, rollout_id
from tests.gateway.running import RunningGateway


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with gateway.client() as made:
        yield made


@pytest.fixture
def alias(gateway: RunningGateway, request: pytest.FixtureRequest) -> str:
    """An alias whose release `…-b` has taken the place of `…-a`; both have ready engines."""
    name = f"alias-{abs(hash(request.node.name))}"
    releases, engines = Releases(gateway.database), Engines(gateway.database)
    for each in "ab":
        id = f"{name}-{each}"
        releases.register(Release(id, "m", "r", "", {}, time.time()))
        engines.put(
            Engine(id[-20:], "test", id, "unix:/x", EngineState.READY, None, 0, None, time.time())
        )
    for each in "ab":
        releases.point(name, [Target(f"{name}-{each}", 1.0, "live")], by="a test", why="to begin")
    return name


def _leader(client: httpx.Client, alias: str) -> str:
    (target,) = client.get(f"/v1/aliases/{alias}").json()["targets"]
    return str(target["release"])


def test_an_alias_is_shown_with_its_health_its_moves_and_what_is_on_its_way(
    gateway: RunningGateway, client: httpx.Client, alias: str
) -> None:
    rollout = Rollouts(gateway.database).add(
        Rollout(rollout_id(), alias, f"{alias}-a", f"{alias}-b", {})
    )
    Healths(gateway.database).put(alias, "CANARY", {"share": 0.01})
    shown = client.get(f"/v1/aliases/{alias}").json()
    assert (shown["id"], shown["object"]) == (alias, "alias")
    (target,) = shown["targets"]
    assert target == {
        "release": f"{alias}-b", "weight": 1.0, "mode": "live", "ready_engines": 1
    }  # fmt: skip
    assert shown["health"]["state"] == "CANARY"
    assert shown["health"]["evidence"] == {"share": 0.01}
    assert shown["rollout"] == {
        "id": rollout.id, "candidate": f"{alias}-a", "status": "running", "stage": "start"
    }  # fmt: skip
    last, first = shown["moves"]
    assert (first["before"], first["by"], first["why"]) == ([], "a test", "to begin")
    assert last["before"] == first["after"]
    assert 0 <= time.time() - shown["changed_at"] < 60
    listed = {each["id"]: each for each in client.get("/v1/aliases").json()["data"]}
    assert listed[alias] == {key: value for key, value in shown.items() if key != "moves"}
    assert listed["production"]["health"]["state"] == "HEALTHY"


def test_a_rollback_marks_the_promotion_and_ends_what_is_under_way(
    gateway: RunningGateway, client: httpx.Client, alias: str
) -> None:
    rollouts = Rollouts(gateway.database)
    old, new = f"{alias}-a", f"{alias}-b"
    promoted = rollouts.add(Rollout(rollout_id(), alias, new, old, {}))
    rollouts.write(promoted.id, status=PROMOTED)
    live = rollouts.add(Rollout(rollout_id(), alias, "another", new, {}))
    answer = client.post(f"/v1/aliases/{alias}/rollback", json={"reason": "worse"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [target["release"] for target in body["targets"]] == [old]
    assert body["rollback"] == {
        "gone": new, "moved": True, "aborted_rollout": live.id, "undone_rollout": promoted.id
    }  # fmt: skip
    assert (body["moves"][0]["why"], body["moves"][0]["by"]) == ("worse", _caller(gateway))
    undone, aborted = rollouts.get(promoted.id), rollouts.get(live.id)
    assert undone is not None
    assert aborted is not None
    assert (undone.status, undone.reason) == (ROLLED_BACK, "worse")
    assert (aborted.wish, aborted.wished_by) == ("abort", _caller(gateway))


def test_of_two_rollbacks_at_once_one_wins(client: httpx.Client, alias: str) -> None:
    def roll_back(_: int) -> httpx.Response:
        return client.post(f"/v1/aliases/{alias}/rollback", json={"reason": "worse"})

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(roll_back, range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    codes = {a.json()["error"]["code"] for a in answers if a.status_code == 409}
    assert codes == {"rolled_back_already"}
    assert _leader(client, alias) == f"{alias}-a"


def test_a_rollback_that_names_the_release_may_be_repeated(
    client: httpx.Client, alias: str
) -> None:
    body = {"reason": "worse", "release": f"{alias}-b"}
    moved = [
        client.post(f"/v1/aliases/{alias}/rollback", json=body).json()["rollback"]["moved"]
        for _ in range(3)
    ]
    assert moved == [True, False, False]
    assert _leader(client, alias) == f"{alias}-a"


def test_a_release_without_a_ready_engine_must_be_forced(
    gateway: RunningGateway, client: httpx.Client, alias: str
) -> None:
    Engines(gateway.database).remove("test", f"{alias}-a"[-20:])
    url = f"/v1/aliases/{alias}/rollback"
    refused = client.post(url, json={"reason": "worse"})
    assert refused.status_code == 409
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("conflict_error", "release_not_ready")
    assert f"`{alias}-a`" in error["message"]
    assert _leader(client, alias) == f"{alias}-b"
    assert client.post(url, json={"reason": "worse", "force": True}).status_code == 200
    assert _leader(client, alias) == f"{alias}-a"


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "param"),
    [
        ("{}/rollback", {}, 400, "invalid_type", "reason"),
        ("{}/rollback", {"reason": ""}, 400, "invalid_type", "reason"),
        ("{}/rollback", {"reason": "x", "to": "y"}, 400, "invalid_type", "to"),
        ("{}/rollback", {"reason": "x", "release": "z"}, 400, "release_not_found", "release"),
        ("nope/rollback", {"reason": "x"}, 404, "alias_not_found", "alias"),
        ("nope/retrain", {"reason": "x"}, 404, "alias_not_found", "alias"),
        ("{}/retrain", {}, 400, "invalid_type", "reason"),
    ],
)
def test_mistakes_are_named(
    client: httpx.Client,
    alias: str,
    path: str,
    body: dict[str, Any],
    status: int,
    code: str,
    param: str,
) -> None:
    answer = client.post(f"/v1/aliases/{path.format(alias)}", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    assert _leader(client, alias) == f"{alias}-b"


def test_a_person_asks_once_for_a_new_release(
    gateway: RunningGateway, client: httpx.Client, alias: str
) -> None:
    first, second = (
        client.post(f"/v1/aliases/{alias}/retrain", json={"reason": reason}).json()
        for reason in ("new menu", "again")
    )
    assert (first["object"], first["new"], second["new"]) == ("retraining.request", True, False)
    assert second["id"] == first["id"]
    request = Retraining(gateway.database).get(first["id"])
    assert request is not None
    assert (request.alias, request.release, request.source) == (alias, f"{alias}-b", "person")
    assert (request.reason, request.evidence) == ("new menu", {"by": _caller(gateway)})
    assert client.get(f"/v1/retraining/{first['id']}").json()["reason"] == "new menu"


def test_requests_to_retrain_are_listed_page_by_page(
    gateway: RunningGateway, client: httpx.Client, alias: str
) -> None:
    requests = Retraining(gateway.database)
    ids = []
    for number in range(3):
        made, _ = requests.open(alias, f"{alias}-b", f"reason {number}", "alert", {})
        requests.close(made.id, "put_off", "too few rows")
        ids.append(made.id)
    seen: list[str] = []
    after = ""
    while True:
        page = client.get(
            "/v1/retraining",
            params={"alias": alias, "status": "closed", "limit": 2, "after": after},
        ).json()
        seen += [request["id"] for request in page["data"]]
        if not page["has_more"]:
            break
        after = page["last_id"]
    assert seen == ids[::-1]
    assert page["data"][0]["outcome"] == "put_off"
    assert client.get(f"/v1/retraining?alias={alias}&status=open").json()["data"] == []


def _caller(gateway: RunningGateway) -> str:
    return f"key {gateway.key[3:11]}"
