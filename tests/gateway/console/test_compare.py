"""The page Compare over HTTP: who may change, what is sent twice, what is downloaded."""

import contextlib
import re
import time
from collections.abc import Iterator

import httpx
import pytest

from gateway.store.keys import Keys
from gateway.store.raters import Raters
from gateway.store.releases import Release, Releases
from tests.gateway.rating.raters import create, invite
from tests.gateway.running import RunningGateway, wait


@contextlib.contextmanager
def _console(gateway: RunningGateway, key: str) -> Iterator[httpx.Client]:
    with gateway.client(key) as known:
        wait(lambda: known.get("/v1/models").status_code != 401)
    with httpx.Client(base_url=f"{gateway.url}/console", follow_redirects=True) as client:
        assert client.post("/login", data={"key": key}).status_code == 200
        yield client


@pytest.fixture
def admin(gateway: RunningGateway) -> Iterator[httpx.Client]:
    made = Release("compared-2", "m", "r", "", {}, time.time())
    Releases(gateway.database).register(made)
    with _console(gateway, gateway.key) as client:
        yield client


def _token(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


def test_a_rater_is_invited_once_and_withdrawn(
    gateway: RunningGateway, admin: httpx.Client
) -> None:
    made = create(gateway, name="Cards <i>", golds=1)
    page = admin.get(f"/compare/{made['id']}")
    assert "Cards &lt;i&gt;" in page.text
    assert "Nobody has voted yet." in page.text
    form = {"csrf": _token(page), "name": "Ada", "days": "3"}
    shown = admin.post(f"/compare/{made['id']}/invites", data=form)
    link = re.search(r'id="secret">([^<]+)<', shown.text)
    assert link is not None
    assert httpx.get(link[1]).status_code == 200
    again = admin.post(f"/compare/{made['id']}/invites", data=form)
    assert (again.status_code, "invited already" in again.text) == (409, True)
    (known,) = Raters(gateway.database).invites(made["id"])
    path = f"/compare/{made['id']}/invites/{known.id}/revoke"
    told = admin.post(path, data={"csrf": form["csrf"]})
    assert "opens nothing any more" in told.text
    assert httpx.get(link[1]).status_code == 410
    other = create(gateway)
    strange = f"/compare/{other['id']}/invites/{known.id}/revoke"
    assert admin.post(strange, data={"csrf": form["csrf"]}).status_code == 404


def test_it_is_closed_once(gateway: RunningGateway, admin: httpx.Client) -> None:
    made = create(gateway)
    form = {"csrf": _token(admin.get(f"/compare/{made['id']}")), "reason": "enough"}
    first = admin.post(f"/compare/{made['id']}/close", data=form)
    assert "takes no more votes" in first.text
    assert "Take no more votes" not in first.text
    assert "closed already" in admin.post(f"/compare/{made['id']}/close", data=form).text
    form |= {"name": "Ada", "days": "3"}
    assert admin.post(f"/compare/{made['id']}/invites", data=form).status_code == 409


def test_who_may_only_look_changes_nothing(gateway: RunningGateway, admin: httpx.Client) -> None:
    made = create(gateway)
    invite(gateway, made["id"], "Ada")
    _, key = Keys(gateway.database).create("on call", {"view"})
    with _console(gateway, key) as looker:
        page = looker.get(f"/compare/{made['id']}")
        assert "Ada" in page.text
        for button in ("Make a link", "Revoke", "Take no more votes"):
            assert button not in page.text
        for path in ("close", "invites"):
            data = {"csrf": "x", "name": "Eve", "days": "1"}
            assert looker.post(f"/compare/{made['id']}/{path}", data=data).status_code == 403
        assert looker.get(f"/compare/{made['id']}/export.csv").status_code == 200
    assert admin.post(f"/compare/{made['id']}/close", data={"csrf": "x"}).status_code == 403
    assert [each.name for each in Raters(gateway.database).invites(made["id"])] == ["Ada"]


def test_votes_are_for_who_is_logged_in(gateway: RunningGateway, admin: httpx.Client) -> None:
    made = create(gateway)
    sheet = admin.get(f"/compare/{made['id']}/export.jsonl")
    assert len(sheet.text.splitlines()) == 4
    assert admin.get("/compare/cmp-0").status_code == 404
    assert admin.get(f"/compare/{made['id']}/export.xlsx").status_code == 422
    bare = httpx.get(f"{gateway.url}/console/compare/{made['id']}/export.csv")
    assert bare.status_code == 303
    assert made["id"] in admin.get("/compare").text
