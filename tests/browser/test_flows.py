"""What people do in the console, in a real browser."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from gateway.store.feedback import FeedbackLog
from gateway.store.health import Healths
from gateway.store.job_events import JobEvents
from gateway.store.keys import Keys
from gateway.store.releases import Releases, leading
from gateway.store.rollouts import Rollouts
from tests.browser.driving import Visitor
from tests.browser.seeding import ROLLOUT
from tests.browser.seeding_jobs import RUNS
from tests.browser.seeding_traffic import INJECTED, NEW, OLD
from tests.gateway.running import wait


def _press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_a_wrong_key_and_a_right_one(visitor: Visitor) -> None:
    visitor.expected = 401
    page = visitor.page()
    page.get_by_label("API key").fill("dg-00000000-" + "x" * 43)
    _press(page, "Log in")
    expect(page.get_by_role("alert")).to_contain_text("not known")
    page.get_by_label("API key").fill(visitor.world.seeded.admin)
    _press(page, "Log in")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    (cookie,) = [c for c in page.context.cookies() if c["name"] == "driftgate_console"]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/console")
    _press(page, "Log out")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    page.goto(f"{visitor.world.url}/keys")
    expect(page.get_by_label("API key")).to_be_visible()


def test_who_may_only_look_finds_nothing_to_press(visitor: Visitor) -> None:
    page = visitor.log_in(visitor.world.seeded.looker)
    visitor.open(page, f"/rollouts/{ROLLOUT}")
    expect(page.get_by_text("may look")).to_be_visible()
    for name in ("Approve the promotion", "Pause"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)


def test_the_menu_and_the_pages_by_keyboard(visitor: Visitor) -> None:
    page = visitor.log_in()
    visitor.open(page, "/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.get_by_role("link", name="Releases")).to_be_hidden()
    page.get_by_text("Menu", exact=True).click()
    page.get_by_role("link", name="Releases").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Releases")


def test_script_in_prompts_is_shown_as_text(visitor: Visitor) -> None:
    page = visitor.log_in()
    page.on("dialog", lambda dialog: pytest.fail("a script of a prompt ran"))
    visitor.open(page, f"/traffic/{visitor.world.seeded.day.injected}")
    expect(page.get_by_text(INJECTED, exact=True)).to_be_visible()
    visitor.open(page, "/traffic?text=%3Cscript")
    expect(page.get_by_role("link", name=re.compile("<script>alert"))).to_be_visible()
    assert page.locator("main script").count() == 0


def test_the_passages_of_a_request_are_shown_as_text(visitor: Visitor) -> None:
    page = visitor.log_in()
    visitor.open(page, f"/traffic/{visitor.world.seeded.day.grounded}")
    page.locator("summary", has_text="What it said then").nth(1).click()
    expect(page.get_by_text("<script>alert(1)</script> Withdrawals abroad: 1.5 %.")).to_be_visible()
    expect(page.get_by_text("Fees 2026")).to_be_visible()


def test_a_request_is_found_and_its_answer_corrected(visitor: Visitor) -> None:
    day = visitor.world.seeded.day
    page = visitor.log_in()
    visitor.open(page, f"/traffic/{day.corrected}")
    page.get_by_label("bad", exact=True).check()
    page.get_by_label("What it should have been").fill("It uses the interbank rate.")
    _press(page, "Note it")
    expect(page.get_by_role("status")).to_contain_text("Noted")
    expect(page.locator("#feedback q")).to_have_text("It uses the interbank rate.")
    (said,) = FeedbackLog(visitor.world.gateway.database).of(day.corrected)
    assert (said.score, said.correction) == (0.0, "It uses the interbank rate.")


def test_a_contradiction_is_resolved(visitor: Visitor) -> None:
    page = visitor.log_in()
    visitor.open(page, "/data")
    side = page.locator(".side-of", has_text="Yes, it costs 1.5 %")
    side.get_by_role("button", name="Withdraw").click()
    expect(page.get_by_role("status")).to_contain_text("Withdrawn: 1 correction")
    expect(page.locator(".side-of", has_text="Yes, it costs 1.5 %")).to_have_count(0)
    right = page.locator(".side-of", has_text="No, payments in kronor are free")
    right.get_by_role("button", name="This is right").click()
    expect(page.get_by_role("status")).to_contain_text("source of its own")
    expect(right).to_contain_text("3 keys")


def test_a_running_job_draws_on(visitor: Visitor) -> None:
    page = visitor.log_in()
    visitor.open(page, f"/jobs/{RUNS}")
    expect(page.get_by_text("46 of 120")).to_be_visible()
    data = {"step": 64, "total_steps": 120, "train_loss": 0.11}
    JobEvents(visitor.world.gateway.database).add(RUNS, "Step 64/120", data=data)
    expect(page.get_by_text("64 of 120")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("at step 64"))).to_be_visible()


def test_a_stream_in_the_playground(visitor: Visitor) -> None:
    page = visitor.log_in()
    visitor.open(page, f"/playground?one=production&other={NEW}")
    asked = "say <b>this</b> again"
    page.get_by_label("Question").fill(asked)
    page.keyboard.press("Control+Enter")
    for n in (0, 1):
        side = page.locator(f"#answer-{n}")
        expect(side.locator(".answer")).to_contain_text("<b>this</b>")
        expect(side.get_by_role("link", name="request")).to_be_visible()
    expect(page.locator("#answer-1 .times")).to_contain_text(NEW)
    visitor.picture(page, "playground-asked-light")
    address = page.locator("#answer-1").get_by_role("link", name="request").get_attribute("href")
    assert address is not None
    record = visitor.world.gateway.record(address.rsplit("/", 1)[1])
    assert record.key_prefix == visitor.world.seeded.admin[3:11]
    assert (record.release, record.outcome) == (NEW, "done")


def test_citations_and_errors_of_a_stream_are_text(visitor: Visitor) -> None:
    page = visitor.log_in()
    page.on("dialog", lambda dialog: pytest.fail("a script of a document ran"))
    cited = {"title": "<img src=x onerror=alert(1)>.md", "quote": "it is <b>free</b>"}
    delta = {"content": "Free.", "annotations": [{"file_citation": cited}]}
    frames = [
        {"id": "chatcmpl-9", "choices": [{"delta": delta, "finish_reason": "stop"}]},
        {"error": {"message": "The engine <i>left</i>."}},
    ]
    body = "".join(f"data: {json.dumps(frame)}\n\n" for frame in frames)
    page.route(
        "**/playground/ask",
        lambda route: route.fulfill(content_type="text/event-stream", body=body),
    )
    visitor.open(page, "/playground?one=production")
    page.get_by_label("Question").fill("Is it free?")
    _press(page, "Send")
    side = page.locator("#answer-0")
    expect(side.locator(".answer")).to_have_text("Free.")
    expect(side.locator(".told")).to_have_text("The engine <i>left</i>.")
    expect(side.locator(".citations li")).to_contain_text(cited["title"])
    expect(side.locator(".citations q")).to_have_text(cited["quote"])
    assert page.locator("main img").count() == 0


def test_a_key_is_made_used_and_revoked(visitor: Visitor) -> None:
    visitor.expected = 401
    page = visitor.log_in()
    visitor.open(page, "/keys")
    page.get_by_label("What it is for").fill("browser test")
    page.get_by_label("view look at this console").check()
    _press(page, "Make it")
    text = page.locator("#secret").inner_text()
    page.get_by_role("link", name="I have it").click()
    made = next(k for k in Keys(visitor.world.gateway.database).all() if k.name == "browser test")
    assert made.scopes == {"inference", "feedback", "view"}
    with visitor.world.gateway.client(text) as client:
        wait(lambda: client.get("/v1/models").status_code == 200)
    other = visitor.log_in(text)
    page.get_by_role("link", name="browser test").click()
    _press(page, f"Revoke {made.prefix}")
    expect(page.get_by_role("status")).to_contain_text("revoked for good")
    page.wait_for_timeout(300)
    other.goto(f"{visitor.world.url}/keys")
    expect(other.get_by_label("API key")).to_be_visible()
    expect(other.get_by_role("status")).to_contain_text("session is over")


def test_a_promotion_is_approved(visitor: Visitor) -> None:
    database = visitor.world.gateway.database
    page, late = visitor.log_in(), visitor.log_in()
    for each in (page, late):
        visitor.open(each, f"/rollouts/{ROLLOUT}")
    _press(page, "Approve the promotion")
    expect(page.get_by_role("status")).to_contain_text("You approved")
    _press(late, "Approve the promotion")
    expect(late.get_by_role("status")).to_contain_text("nothing was changed")
    rollout = Rollouts(database).get(ROLLOUT)
    assert rollout is not None
    assert rollout.approved_by == f"key {visitor.world.seeded.admin[3:11]}"


def test_of_two_who_promote_at_once_one_is_told(visitor: Visitor) -> None:
    visitor.expected = 409
    first, second = visitor.log_in(), visitor.log_in()
    visitor.open(first, f"/releases/{OLD}/promote?alias=candidate")
    visitor.open(second, f"/releases/{OLD}/promote?alias=candidate")
    Releases(visitor.world.gateway.database).drop("candidate", by="somebody else")
    _press(first, "Promote at once")
    expect(first.get_by_role("heading", level=1)).to_have_text("It has moved on")
    expect(first.get_by_text("moved by somebody else")).to_be_visible()


def test_an_alias_is_rolled_back(visitor: Visitor) -> None:
    database = visitor.world.gateway.database
    page, late = visitor.log_in(), visitor.log_in()
    visitor.open(page, "/releases")
    page.get_by_role("link", name="Roll back production").click()
    visitor.open(late, "/releases/roll-back/production")
    expect(page.locator("dl")).to_contain_text(NEW)
    page.get_by_label("Why").fill("answers on kronor are wrong")
    _press(page, "Roll back")
    expect(page.get_by_role("status")).to_contain_text(f"production serves {OLD} again")
    assert leading(Releases(database).aliases()["production"]) == OLD
    (move,) = Releases(database).moves("production", 1)
    assert move.why == "answers on kronor are wrong"
    _press(late, "Roll back")
    expect(late.get_by_role("status")).to_contain_text("nothing was changed")
    assert len(Releases(database).aliases()["production"]) == 1
    assert Healths(database).get("production") is not None
