"""Each page opens without a complaint of the browser, in light and dark, on a desk and a phone."""

import pytest

from tests.browser.driving import PHONE, Visitor, barriers
from tests.browser.seeding import ROLLOUT
from tests.browser.seeding_comparisons import COMPARISON
from tests.browser.seeding_jobs import DONE, FAILED, RUNS
from tests.browser.seeding_traffic import NEW, OLD

PAGES = {
    "overview": "/",
    "releases": "/releases",
    "release": f"/releases/{NEW}",
    "differences": f"/releases/{NEW}/differences?against={OLD}",
    "promote": f"/releases/{NEW}/promote?alias=production",
    "roll-back": "/releases/roll-back/production",
    "rollouts": "/rollouts",
    "rollout": f"/rollouts/{ROLLOUT}",
    "abort": f"/rollouts/{ROLLOUT}/abort",
    "drift": "/drift",
    "traffic": "/traffic?rated=any",
    "data": "/data",
    "rows": "/data/retraining/{request}?part=quarantine",
    "request": "/traffic/{grounded}",
    "compare": "/compare",
    "comparison": f"/compare/{COMPARISON}",
    "jobs": "/jobs",
    "job": f"/jobs/{RUNS}",
    "job-done": f"/jobs/{DONE}",
    "job-failed": f"/jobs/{FAILED}",
    "keys": "/keys",
    "playground": f"/playground?one=production&other={NEW}",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page(visitor: Visitor, name: str) -> None:
    seeded = visitor.world.seeded
    path = PAGES[name].format(request=seeded.request, grounded=seeded.day.grounded)
    page = visitor.log_in()
    visitor.open(page, path)
    assert barriers(page) == []
    visitor.picture(page, f"{name}-light")
    page.emulate_media(color_scheme="dark")
    assert barriers(page, "color-contrast") == [], "in the dark"
    visitor.picture(page, f"{name}-dark", whole=False)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    visitor.picture(page, f"{name}-phone", whole=False)


def test_the_log_in_page(visitor: Visitor) -> None:
    page = visitor.page()
    assert barriers(page) == []
    visitor.picture(page, "log-in-light")


def test_pages_do_not_jump_while_they_load(visitor: Visitor) -> None:
    page = visitor.log_in()
    page.add_init_script(
        "window.jumped = 0; new PerformanceObserver(list => {"
        "for (const e of list.getEntries()) if (!e.hadRecentInput) window.jumped += e.value;"
        "}).observe({type: 'layout-shift', buffered: true});"
    )
    for path in ("/", "/drift", f"/rollouts/{ROLLOUT}", f"/jobs/{RUNS}"):
        visitor.open(page, path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.jumped") < 0.02, path
