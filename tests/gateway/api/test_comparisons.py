"""`/v1/comparisons` over HTTP: made, shown, invited to, closed, exported."""

import csv
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.store.comparisons import Comparisons
from gateway.store.keys import Keys
from gateway.store.releases import Release, Releases
from tests.gateway.rating.raters import create, invite
from tests.gateway.running import RunningGateway


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    made = Release("compared-2", "m", "r", "", {}, time.time())
    Releases(gateway.database).register(made)
    with gateway.client() as opened:
        yield opened


def test_a_comparison_is_made_and_found_again(
    gateway: RunningGateway, client: httpx.Client
) -> None:
    made = create(gateway, items=3, golds=2, alias="production", margin=0.2)
    assert made["id"].startswith("cmp-")
    assert (made["object"], made["status"], made["standing"]) == ("comparison", "open", None)
    assert (made["items"], made["golds"], made["raters"]) == (3, 2, 3)
    assert made["criteria"] == ["accuracy", "helpfulness", "brand voice"]
    assert made["created_by"] == f"key {gateway.key[3:11]}"
    shown = client.get(f"/v1/comparisons/{made['id']}").json()
    assert shown == made | {"invites": []}
    listed = client.get("/v1/comparisons", params={"alias": "production", "limit": 1}).json()
    assert [each["id"] for each in listed["data"]] == [made["id"]]
    stored = Comparisons(gateway.database).get(made["id"])
    assert stored is not None
    assert stored.seed not in json.dumps([made, shown, listed])
    golds = [item for item in Comparisons(gateway.database).items(made["id"]) if item.gold]
    assert sorted((item.baseline, item.candidate) for item in golds) == [
        ("0 BAD", "0 GOOD"), ("1 BAD", "1 GOOD"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"candidate": "nothing-9"}, 404, "candidate"),
        ({"candidate": "production-1"}, 400, None),
        ({"items": []}, 400, "items"),
        ({"items": [{"prompt": "?", "messages": [{}], "baseline": "a", "candidate": "b"}]}, 400,
         "items.0"),
        ({"items": [{"baseline": "a", "candidate": "b"}]}, 400, "items.0"),
        ({"items": [{"prompt": "?", "baseline": "a"}]}, 400, "items.0.candidate"),
        ({"raters": 2}, 400, "raters"),
        ({"margin": 0}, 400, "margin"),
        ({"criteria": ["tone", "tone"]}, 400, None),
        ({"other": 1}, 400, "other"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_by_its_field(
    client: httpx.Client, fields: dict[str, Any], status: int, param: str | None
) -> None:
    body = {
        "name": "c", "baseline": "production-1", "candidate": "compared-2",
        "items": [{"prompt": "?", "baseline": "a", "candidate": "b"}],
    }  # fmt: skip
    answer = client.post("/v1/comparisons", json=body | fields)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param


def test_an_invites_token_is_shown_once(gateway: RunningGateway, client: httpx.Client) -> None:
    made = create(gateway)
    link = invite(gateway, made["id"], "Ada", lasts_s=3600)
    assert link["url"] == f"{gateway.url}/compare/{link['token']}"
    assert link["expires_at"] == pytest.approx(time.time() + 3600, abs=60)
    shown = client.get(f"/v1/comparisons/{made['id']}").json()
    (known,) = shown["invites"]
    assert known["name"] == "Ada"
    assert link["token"] not in json.dumps(shown)
    assert "digest" not in known
    path = f"/v1/comparisons/{made['id']}/invites"
    for body in ({"name": ""}, {"name": "Ada", "lasts_s": 1}, {"name": "x" * 101}, {}):
        assert client.post(path, json=body).status_code == 400
    assert client.post(f"{path}/inv-0/revoke").status_code == 404
    other = create(gateway)
    assert (
        client.post(f"/v1/comparisons/{other['id']}/invites/{link['id']}/revoke").status_code == 404
    )
    assert client.post(f"{path}/{link['id']}/revoke").json()["revoked_at"] is not None
    assert client.post(f"{path}/{link['id']}/revoke").status_code == 200


def test_a_closed_comparison_invites_nobody(gateway: RunningGateway, client: httpx.Client) -> None:
    made = create(gateway)
    path = f"/v1/comparisons/{made['id']}"
    closed = client.post(f"{path}/close", json={"reason": "enough"}).json()
    assert (closed["status"], closed["closed_why"]) == ("closed", "enough")
    again = client.post(f"{path}/close", json={"reason": "later"}).json()
    assert again == closed
    answer = client.post(f"{path}/invites", json={"name": "Ada"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "comparison_closed")


def test_the_votes_are_downloaded(gateway: RunningGateway, client: httpx.Client) -> None:
    made = create(gateway, items=2, golds=1)
    path = f"/v1/comparisons/{made['id']}/export"
    lines = client.get(path)
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert f'filename="{made["id"]}.jsonl"' in lines.headers["content-disposition"]
    rows = [json.loads(line) for line in lines.text.splitlines()]
    assert sorted(row["candidate"] for row in rows) == ["0 GOOD", "0 NEW", "1 NEW"]
    sheet = client.get(path, params={"format": "csv"})
    assert len(list(csv.DictReader(io.StringIO(sheet.text)))) == 3
    assert client.get(path, params={"format": "xlsx"}).status_code == 400


def test_it_is_for_keys_with_admin(gateway: RunningGateway, client: httpx.Client) -> None:
    made = create(gateway)
    _, weak = Keys(gateway.database).create("weak", {"inference", "feedback"})
    paths = ("", f"/{made['id']}", f"/{made['id']}/export")
    deadline = time.monotonic() + 5
    with gateway.client(weak) as other:
        while other.get("/v1/comparisons").status_code == 401 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert {other.get(f"/v1/comparisons{path}").status_code for path in paths} == {403}
        assert other.post(f"/v1/comparisons/{made['id']}/close", json={}).status_code == 403
    assert httpx.get(f"{gateway.url}/v1/comparisons").status_code == 401
    for path in ("cmp-0", "cmp-0/export"):
        assert client.get(f"/v1/comparisons/{path}").json()["error"]["code"] == (
            "comparison_not_found"
        )
