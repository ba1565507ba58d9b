"""Raters at `/compare`, over HTTP: from the invite to consensus, and all that goes wrong."""

import re
import time
from dataclasses import replace

import httpx
import pytest

from gateway.store.comparisons import Comparisons
from gateway.store.raters import Raters
from tests.gateway.rating.raters import Begin, create, invite
from tests.gateway.running import RunningGateway


def test_three_raters_come_to_a_consensus(gateway: RunningGateway, begin: Begin) -> None:
    made = create(gateway, items=25, golds=4)
    people = [begin(invite(gateway, made["id"], name)["url"]) for name in "abc"]
    done = [people[0].finish("NEW", "GOOD"), people[1].finish("NEW", "GOOD")]
    assert done == [29, 29]
    assert "Thank you" in people[0].page.text
    people[2].finish("NEW", "GOOD")
    # The evidence is there before the third has seen all: it may stop early.
    assert people[2].page.status_code == 410
    assert "This comparison is over" in people[2].page.text
    with gateway.client() as client:
        shown = client.get(f"/v1/comparisons/{made['id']}").json()
    standing = shown["standing"]
    assert standing["verdict"] == "PASS"
    assert shown["status"] == "closed"
    assert shown["closed_by"] == ""
    assert shown["closed_why"] == standing["reason"]
    assert standing["consensus"]["candidate"] == standing["decided"] < 25
    assert all(rater["counts"] for rater in standing["raters"].values())


def test_sides_are_balanced_and_nothing_tells_them(gateway: RunningGateway, begin: Begin) -> None:
    made = create(gateway, items=10, stops_early=False)
    lefts = []
    for name in ("a", "b"):
        person = begin(invite(gateway, made["id"], name)["url"])
        seen: dict[str, str] = {}
        while person.place:
            page = person.page
            for secret in ("production-1", "compared-2", "candidate", "baseline", "gold"):
                assert secret not in page.text.lower()
                assert secret not in str(page.headers).lower()
            assert "driftgate-release" not in str(page.headers)
            assert page.headers["cache-control"] == "no-store"
            left, right = person.answers
            seen[left.split()[0]] = left.split()[1]
            assert {left.split()[1], right.split()[1]} == {"OLD", "NEW"}
            person.say("tie")
        lefts.append(seen)
    first, second = lefts
    assert len(first) == len(second) == 10
    assert sorted(first.values()) == ["NEW"] * 5 + ["OLD"] * 5
    assert all(first[number] != second[number] for number in first)


def test_a_link_opens_one_comparison_and_leaves_no_token(
    gateway: RunningGateway, begin: Begin
) -> None:
    made, other = create(gateway), create(gateway)
    mine, theirs = (invite(gateway, each["id"], "ada") for each in (made, other))
    landing = httpx.get(mine["url"])
    assert "Hello ada" in landing.text
    assert "set-cookie" not in landing.headers
    person = begin(mine["url"])
    assert person.page.url.path == f"/compare/at/{mine['id']}"
    assert mine["token"] not in person.page.text
    cookie = person.page.history[0].headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert f"Path=/compare/at/{mine['id']}" in cookie
    assert mine["token"] not in cookie
    elsewhere = person.page.url.copy_with(path=f"/compare/at/{theirs['id']}")
    assert person.client.get(elsewhere).status_code == 401
    sealed = cookie.split(";")[0].split("=", 1)[1]
    for forged in ("", sealed[:-2] + "xx", "e30.AAAA"):
        sent = {"cookie": f"driftgate_rater={forged}"}
        assert httpx.get(person.page.url, headers=sent).status_code == 401
    # It is no key: the API stays shut.
    asked = httpx.get(f"{gateway.url}/v1/comparisons", headers={"cookie": cookie.split(";")[0]})
    assert asked.status_code == 401
    again = begin(mine["url"])
    assert again.page.status_code == 200


def test_links_that_do_not_hold_say_why(gateway: RunningGateway, begin: Begin) -> None:
    made = create(gateway)
    revoked, expired, good = (invite(gateway, made["id"], name) for name in "abc")
    person = begin(revoked["url"])
    with gateway.client() as client:
        path = f"/v1/comparisons/{made['id']}/invites/{revoked['id']}/revoke"
        assert client.post(path).json()["revoked_at"] is not None
    for answer in (httpx.get(revoked["url"]), person.say("left")):
        assert answer.status_code == 410
        assert "withdrawn" in answer.text
    raters = Raters(gateway.database)
    known = raters.get(expired["id"])
    assert known is not None
    assert not replace(known, expires_at=time.time() - 1).is_open(time.time())
    unknown = httpx.get(f"{gateway.url}/compare/{'x' * 43}")
    assert (unknown.status_code, "not known" in unknown.text) == (404, True)
    assert httpx.get(f"{gateway.url}/compare/x").status_code == 404
    assert httpx.get(f"{gateway.url}/compare/a/b/c/d").status_code == 404
    Comparisons(gateway.database).close(made["id"], by="ada", why="enough")
    assert httpx.get(good["url"]).status_code == 410


def test_an_expired_invite_is_refused(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = create(gateway)
    with monkeypatch.context() as past:
        now = time.time()
        past.setattr("gateway.store.raters.time.time", lambda: now - 7200)
        _, token = Raters(gateway.database).invite(made["id"], "ada", by="ada", lasts_s=3600)
    answer = httpx.get(f"{gateway.url}/compare/{token}")
    assert answer.status_code == 410
    assert "This invite is over" in answer.text


def test_what_is_sent_twice_counts_once(gateway: RunningGateway, begin: Begin) -> None:
    made = create(gateway)
    person = begin(invite(gateway, made["id"], "ada")["url"])
    page = person.page
    person.say("left")
    person.page = page
    person.say("right")
    votes, _ = Raters(gateway.database).votes(made["id"])
    assert len(votes) == 1
    assert votes[0].choice == votes[0].left


def test_the_last_vote_is_taken_back_and_given_anew(gateway: RunningGateway, begin: Begin) -> None:
    made = create(gateway)
    person = begin(invite(gateway, made["id"], "ada")["url"])
    first = person.answers
    person.prefer("NEW")
    second = person.answers
    assert second != first
    person.undo()
    assert person.answers == first
    person.prefer("OLD", note="  on second thoughts ", **{"criterion-0": "tie", "criterion-2": ""})
    assert person.answers == second
    (vote,), _ = Raters(gateway.database).votes(made["id"])
    assert (vote.choice, vote.note) == ("baseline", "on second thoughts")
    assert vote.criteria == {"accuracy": "tie"}
    person.finish("NEW")
    person.undo()
    assert person.place
    assert person.finish("NEW") == 1


def test_what_cannot_be_read_is_told_and_changes_nothing(
    gateway: RunningGateway, begin: Begin
) -> None:
    made = create(gateway)
    person = begin(invite(gateway, made["id"], "ada")["url"])
    url = f"{person.page.url}/vote"
    for data in (
        {"place": "0"},
        {"place": "0", "choice": "candidate"},
        {"place": "-1", "choice": "left"},
        {"place": "99", "choice": "left"},
        {"place": "1e3", "choice": "left"},
        {"choice": "left"},
        {"place": "0", "choice": "left", "criterion-0": "much better"},
    ):
        answer = person.client.post(url, data=data)
        assert answer.status_code == 422, data
        assert "<h1>" in answer.text
    elsewhere = {"sec-fetch-site": "cross-site"}
    data = {"place": "0", "choice": "left"}
    assert person.client.post(url, data=data, headers=elsewhere).status_code == 403
    assert Raters(gateway.database).votes(made["id"])[0] == []


def test_texts_are_shown_as_texts(gateway: RunningGateway, begin: Begin) -> None:
    evil = "<script>alert(1)</script>{{ 7 * 7 }}<img src=x onerror=alert(1)>"
    made = create(
        gateway, name=evil, guidance=evil,
        items=[{
            "messages": [
                {"role": "system", "content": evil},
                {"role": "user", "content": [{"type": "text", "text": evil},
                                             {"type": "image_url", "image_url": {"url": "x"}}]},
            ],
            "baseline": evil, "candidate": "",
        }],
        criteria=[evil[:40]],
    )  # fmt: skip
    link = invite(gateway, made["id"], evil[:90])["url"]
    person = begin(link)
    for page in (httpx.get(link).text, person.page.text):
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "{{ 7 * 7 }}" in page
    assert "[image_url]" in person.page.text
    assert "(no text)" in person.page.text
    policy = person.page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy


def test_pages_have_no_inline_script_or_style(gateway: RunningGateway, begin: Begin) -> None:
    made = create(gateway)
    link = invite(gateway, made["id"], "ada")["url"]
    for page in (httpx.get(link).text, begin(link).page.text):
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son[a-z]+=|\sstyle=|<style", page)
        for source in re.findall(r'(?:src|href)="([^"]+\.(?:js|css|svg)[^"]*)"', page):
            assert httpx.get(f"{gateway.url}{source}").status_code == 200, source
