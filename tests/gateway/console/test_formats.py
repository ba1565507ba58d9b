"""Values as people read them."""

import pytest

from gateway.console import formats


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "\u2013"), (0.0123, "12 ms"), (0.9994, "999 ms"), (1.25, "1.2 s"), (42, "42 s"),
        (90, "2 min"), (3 * 3600, "3 h"), (200_000, "2 d"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, said: str) -> None:
    assert formats.lasting(seconds) == said


@pytest.mark.parametrize(
    ("at", "said"),
    [(None, "never"), (100, "just now"), (40, "1 min ago"), (130, "in 30 s"), (-7100, "2 h ago")],
)
def test_times(at: float | None, said: str) -> None:
    assert formats.ago(at, now=100) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "\u2013"), (float("nan"), "\u2013"), (float("inf"), "\u221e"), (0.01234, "0.0123"),
        (20.0, "20"), (1440.0, "1,440"), (4.6e299, "10^300"),
    ],
)  # fmt: skip
def test_figures(value: float | None, said: str) -> None:
    assert formats.number(value) == said


def test_a_time_is_there_for_programs_too() -> None:
    assert 'datetime="2001-09-09T01:46:40Z"' in formats.when(1e9)
    assert formats.size(54_488) == "53.2 KiB"
    assert formats.short("a\n  b " + "c" * 200, 10) == "a b ccccc\u2026"
    assert formats.percent(0.384) == "38 %"


def test_ticks_become_code_and_all_else_text() -> None:
    assert formats.ticked("run `a <b>` now & then") == "run <code>a &lt;b&gt;</code> now &amp; then"
    assert formats.ticked("one ` alone <i>") == "one ` alone &lt;i&gt;"
    assert formats.ticked("`x`") == "<code>x</code>"
