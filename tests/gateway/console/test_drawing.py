"""Pictures are well-formed SVG that say in words what they show, whatever the figures are."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console import drawing
from gateway.console.drawing import Level, Series

_figures = st.floats(min_value=0, max_value=1e300, allow_nan=False)


def _parsed(picture: str) -> ElementTree.Element:
    root = ElementTree.fromstring(picture)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]
    assert "style" not in picture
    assert not re.search(r"\b(nan|inf)\b", picture.partition(">")[2])
    return root


@given(st.lists(st.none() | _figures, max_size=30))
def test_any_line(values: list[float | None]) -> None:
    _parsed(drawing.spark(values, "line"))


def test_a_gap_breaks_the_line() -> None:
    root = _parsed(drawing.spark([1, 2, None, 3, 4, None, 5], "line"))
    assert len(root.findall("polyline")) == 2
    assert len(root.findall("circle")) == 1


@given(st.lists(_figures, max_size=20))
def test_any_bars(values: list[float]) -> None:
    root = _parsed(drawing.bars(values, [0.0] * len(values), "bars"))
    assert len(root.findall("rect")) == sum(1 for value in values if value)


@given(_figures, st.floats(min_value=1, max_value=1e9))
def test_a_meter_is_full_at_its_threshold(evidence: float, threshold: float) -> None:
    root = _parsed(drawing.meter(evidence, threshold, "evidence"))
    rail, bar = root.findall("rect")
    assert float(bar.attrib["width"]) <= float(rail.attrib["width"])
    assert (bar.attrib["class"] == "high") == (evidence >= threshold)


@given(st.lists(st.tuples(_figures, _figures), min_size=1, max_size=20), st.booleans())
def test_any_chart(points: list[tuple[float, float]], log: bool) -> None:
    level = Level("20: limit", 20.0)
    picture = drawing.chart([Series("a", points)], "chart", levels=[level], log=log)
    root = _parsed(picture)
    line = root.find("polyline")
    assert line is not None
    for x, y in (pair.split(",") for pair in line.attrib["points"].split()):
        assert 0 <= float(x) <= 440
        assert 0 <= float(y) <= 230


def test_axes_are_written_in_round_figures() -> None:
    picture = drawing.chart([Series("loss", [(0, 3.1), (120, 0.2)])], "loss", x_name="steps")
    assert [each.text for each in _parsed(picture).findall("text")] == [
        "0", "1", "2", "3", "0", "steps", "120",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["<script>", '"><b>', "a & b"])
def test_labels_are_text(text: str) -> None:
    chart = drawing.chart([Series(text, [(0, 1), (1, 2)])], text, levels=[Level(text, 1)])
    assert _parsed(chart).attrib["aria-label"] == text
    assert "<script>" not in chart


def test_what_is_done_is_no_alarm_and_a_used_up_budget_is() -> None:
    assert 'class="high"' not in drawing.progress(12, 12, "items decided")
    assert "12 of 12 items decided" in drawing.progress(12, 12, "items decided")
    assert 'class="high"' in drawing.meter_of(12, 12, "tokens")
    assert "0 of 0" in drawing.progress(0, 0, "items decided")
