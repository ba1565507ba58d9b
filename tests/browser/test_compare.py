"""Three people compare until they agree, each in a browser of their own."""

import re

import pytest
from playwright.sync_api import Page, expect

from gateway.store.comparisons import Comparison, Comparisons
from gateway.store.raters import Raters
from tests.browser.driving import DESK, PHONE, Visitor, barriers
from tests.browser.seeding_comparisons import item
from tests.browser.seeding_traffic import NEW, OLD


@pytest.fixture
def comparison(visitor: Visitor) -> Comparison:
    made = Comparison(name="Card <b>questions</b>", baseline=OLD, candidate=NEW)
    items = [*(item(n) for n in range(9)), *(item(100 + n, True) for n in range(3))]
    return Comparisons(visitor.world.gateway.database).add(made, items)


def _begin(visitor: Visitor, url: str) -> Page:
    page = visitor.page()
    page.goto(url)
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name="Answer 1")).to_be_visible()
    return page


def _rate(page: Page) -> int:
    """Prefer the longer answer, by keys alone, until nothing is left; returns the votes."""
    done = 0
    while page.locator("form.votes").count():
        # On a fresh page the first key must do: there is nothing to click first.
        texts = page.locator(".answer .text").all_inner_texts()
        place = page.locator("form.votes [name=place]").input_value()
        page.keyboard.press("1" if len(texts[0]) > len(texts[1]) else "2")
        page.keyboard.press("Enter")
        page.wait_for_function(
            "old => document.querySelector('form.votes [name=place]')?.value !== old", arg=place
        )
        done += 1
    return done


def test_three_raters_until_consensus(visitor: Visitor, comparison: Comparison) -> None:
    visitor.expected = 410
    page = visitor.log_in()
    visitor.open(page, f"/compare/{comparison.id}")
    links = []
    for name in ("Ada", "Bob", "Cy"):
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_role("button", name="Make a link").click()
        links.append(page.locator("#secret").inner_text())
        page.get_by_role("link", name="Back to the comparison").click()
    expect(page.locator("#raters tbody tr")).to_have_count(3)
    votes = [_rate(_begin(visitor, link)) for link in links]
    assert votes[:2] == [12, 12]
    assert 6 <= votes[2] <= 12
    visitor.open(page, f"/compare/{comparison.id}")
    expect(page.locator(".state").first).to_have_text("PASS")
    expect(page.locator(".notice")).to_contain_text(f"{NEW} is not worse by 15%")
    expect(page.get_by_role("img", name=re.compile("a verdict at 20"))).to_be_visible()
    expect(page.locator("#raters tbody tr", has_text="Ada")).to_contain_text("3 of 3")
    expect(page.get_by_role("button", name="Make a link")).to_have_count(0)
    late = visitor.page()
    late.goto(links[0])
    expect(late.get_by_role("heading", level=1)).to_have_text("This comparison is over")
    assert barriers(late) == []


def test_a_vote_by_mouse_its_criteria_and_undo(visitor: Visitor, comparison: Comparison) -> None:
    database = visitor.world.gateway.database
    made, token = Raters(database).invite(comparison.id, "Ada", by="test")
    page = _begin(visitor, f"{visitor.world.gateway.url}/compare/{token}")
    assert token not in page.url
    first = page.locator(".answer .text").first.inner_text()
    page.get_by_role("button", name="Next").click()  # nothing is chosen yet
    assert Raters(database).votes(comparison.id)[0] == []
    page.get_by_role("group", name="Which answer is better?").get_by_label("Tie").check()
    page.get_by_role("group", name="accuracy").get_by_label("Both bad").check()
    note = page.get_by_label("Note (if you like)")
    note.fill("1 2 t b <script>alert(1)</script>")  # keys in a note choose nothing
    page.get_by_role("button", name="Next").dblclick()
    expect(page.locator(".progress")).to_contain_text("2 of 12")
    (vote,), _ = Raters(database).votes(comparison.id)
    assert (vote.choice, vote.criteria) == ("tie", {"accuracy": "both_bad"})
    assert vote.note.endswith("<script>alert(1)</script>")
    page.keyboard.press("u")
    expect(page.locator(".progress")).to_contain_text("1 of 12")
    assert page.locator(".answer .text").first.inner_text() == first
    assert Raters(database).votes(comparison.id)[0] == []
    assert made.id in page.url


def test_the_pages_of_raters(visitor: Visitor, comparison: Comparison) -> None:
    _, token = Raters(visitor.world.gateway.database).invite(comparison.id, "Ada", by="test")
    page = visitor.page()
    for name in ("rater-begin", "rater-item"):
        if name == "rater-begin":
            page.goto(f"{visitor.world.gateway.url}/compare/{token}")
            expect(page.get_by_role("heading", level=1)).to_have_text("Card <b>questions</b>")
        else:
            page.get_by_role("button", name="Begin").click()
            expect(page.locator("form.votes")).to_be_visible()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert barriers(page) == []
            visitor.picture(page, f"{name}-{scheme}")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        visitor.picture(page, f"{name}-phone")
        page.set_viewport_size(DESK)
