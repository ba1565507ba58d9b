"""The overview alarms nobody without a reason."""

import time

from gateway.store.engines import Engine, Engines, EngineState
from tests.gateway.console.conftest import Desk


def test_an_engine_that_has_served_for_long_is_shown_without_an_alarm(desk: Desk) -> None:
    since = time.time() - 3 * 3600
    Engines(desk.database).put(
        Engine("blue", "here", "new", "unix:x", EngineState.READY, 1, 0, None, since)
    )
    page = desk.log_in().get("/").text
    row = page.partition("here / blue")[2].partition("</tr>")[0]
    assert "ready" in row
    assert "3 h ago" in row
    assert "bad" not in row
