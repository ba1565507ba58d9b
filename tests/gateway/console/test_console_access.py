"""Who gets into the console, what protects a session, and what every answer carries."""

import pytest

from gateway.console.pages import BASE, NAV
from gateway.store.keys import Keys
from tests.gateway.console.conftest import Desk

_PATHS = [entry.path for entry in NAV]


@pytest.mark.parametrize("path", [*_PATHS, "/overview/live", "/files/file-1", "/reports/a/b.html"])
def test_nobody_sees_a_page_without_a_session(still: Desk, path: str) -> None:
    answer = still.client().get(f"{BASE}{path}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{BASE}/login")


@pytest.mark.parametrize("path", _PATHS)
def test_pages_of_an_almost_empty_store(still: Desk, path: str) -> None:
    answer = still.log_in(still.looker).get(path)
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in answer.text
    assert " style=" not in answer.text
    assert " onclick=" not in answer.text


def test_a_key_that_may_neither_look_nor_change(desk: Desk) -> None:
    _, text = Keys(desk.database).create("app", ["inference"])
    desk.load_keys()
    answer = desk.client().post(f"{BASE}/login", data={"key": text})
    assert answer.status_code == 403
    assert "neither the scope" in answer.text


@pytest.mark.parametrize("key", ["", "x", "dg-00000000-" + "x" * 43, "é" * 300, "a\r\nb: c"])
def test_a_wrong_key(desk: Desk, key: str) -> None:
    answer = desk.client().post(f"{BASE}/login", data={"key": key})
    assert answer.status_code == 401
    assert "not known" in answer.text
    assert "set-cookie" not in answer.headers


def test_guessing_is_slowed_down(desk: Desk) -> None:
    client = desk.client()
    for _ in range(10):
        assert client.post(f"{BASE}/login", data={"key": "x"}).status_code == 401
    answer = client.post(f"{BASE}/login", data={"key": "x"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 200
    right = client.post(f"{BASE}/login", data={"key": desk.admin})
    assert right.status_code == 303, "nobody can lock others out"


def test_the_cookie_is_for_this_site_and_no_script(still: Desk) -> None:
    client = still.client()
    plain = client.post(f"{BASE}/login", data={"key": still.admin}).headers["set-cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=strict" in plain
    assert "Path=/console" in plain
    assert "Secure" not in plain
    behind = client.post(
        f"{BASE}/login", data={"key": still.admin}, headers={"x-forwarded-proto": "https"}
    )
    assert "Secure" in behind.headers["set-cookie"]


def test_a_revoked_key_ends_its_sessions(desk: Desk) -> None:
    visit = desk.log_in(desk.looker)
    Keys(desk.database).revoke(desk.looker[3:11])
    desk.load_keys()
    answer = visit.get("/")
    assert answer.status_code == 303
    assert "Your session is over" in visit.told(answer)


def test_a_form_needs_its_token_and_its_own_site(desk: Desk) -> None:
    visit, other = desk.log_in(), desk.log_in()
    path = f"{BASE}/drift/retrain"
    for token in ("", "x", other.token):
        answer = visit.client.post(path, data={"csrf": token, "alias": "production"})
        assert answer.status_code == 403
        assert "another session" in answer.text
    fields = {"csrf": visit.token, "alias": "production"}
    for headers in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil"},
        {"origin": "null"},
    ):
        answer = visit.client.post(path, data=fields, headers=headers)
        assert (answer.status_code, "another site" in answer.text) == (403, True)
    own = {"origin": "http://desk", "sec-fetch-site": "same-origin"}
    assert visit.client.post(path, data=fields, headers=own).status_code == 303


def test_who_may_look_may_not_change(desk: Desk) -> None:
    visit = desk.log_in(desk.looker)
    for path, fields in (
        ("/drift/retrain", {"alias": "production"}),
        ("/releases/roll-back/production", {"gone": "new"}),
        ("/releases/old/promote", {"alias": "production", "expected": "[]"}),
        ("/keys", {"name": "mine", "scopes": "admin"}),
        ("/data/withdraw", {"ids": "fb_1"}),
    ):
        answer = visit.post(path, **fields)
        assert answer.status_code == 403, path
        assert "may look and not change" in answer.text


def test_a_link_on_another_site_is_followed_once_more_from_here(still: Desk) -> None:
    answer = still.client().get(f"{BASE}/drift", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text


def test_a_page_that_renews_itself_leads_to_the_log_in(still: Desk) -> None:
    answer = still.client().get(f"{BASE}/overview/live", headers={"hx-request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (204, f"{BASE}/login")


@pytest.mark.parametrize(
    "path",
    [
        "/nope", "/releases/nope", "/releases/%00", "/jobs/nope", "/rollouts/%00", "/traffic/nope",
        "/keys/nope", "/data/jobs/..%2f..", "/data/etc/passwd", "/reports/..%2f../signing.key",
        "/reports/a/../../x.db", "/files/nope", "/static/../app.py", "/static/nope.css",
        "/releases/roll-back/nope",
    ],
)  # fmt: skip
def test_what_is_not_there(still: Desk, path: str) -> None:
    answer = still.log_in().get(path)
    assert answer.status_code == 404
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/traffic?slower=soon", 400), ("/traffic?before=x", 400),
        ("/traffic?text=" + "x" * 300, 422), ("/traffic?text=%00", 422), ("/jobs?after=nope", 404),
        ("/data?page=-1", 200), ("/?span=999y", 200), ("/drift?alias=nope", 200),
        ("/releases/old/differences?against=nope", 200),
    ],
)  # fmt: skip
def test_odd_queries(still: Desk, path: str, status: int) -> None:
    assert still.log_in().get(path).status_code == status


def test_static_files_are_kept_by_browsers(still: Desk) -> None:
    page = still.client().get(f"{BASE}/login").text
    address = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = still.client().get(address)
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
