import json
from pathlib import Path
from typing import Any

import pytest

from training.advice.measured import MeasuredError, read_measured

_BASE: dict[str, Any] = {"system": "base", "score": 0.4, "low": 0.3, "high": 0.5, "n": 100}


def _file(folder: Path, data: object) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps(data))
    return path


def test_systems_are_read_cheapest_first(tmp_path: Path) -> None:
    tuned = {**_BASE, "system": "Fine_tuned", "level": 0.9, "latency_p95_s": 2}
    for data in ([tuned, _BASE], {"systems": [tuned, _BASE]}):
        base, other = read_measured(_file(tmp_path, data))
        assert (base.name, base.level, base.latency_p95_s) == ("base", 0.95, None)
        assert (other.name, other.level, other.latency_p95_s) == ("fine-tuned", 0.9, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"system": "gpt"}, "system 1: `system` is 'gpt', not one of base, base\\+retrieval"),
        ({"score": 1.5}, "system 1: `score` must be from 0 to 1, not 1.5"),
        ({"score": None}, "`score` must be"),
        ({"low": 0.45}, "`score` 0.4 is not between `low` and `high`"),
        ({"n": 0}, "`n` must be from 1"),
        ({"n": True}, "`n` must be from 1"),
        ({"level": 95}, "`level` must be from 0.5"),
        ({"latency_p95_s": "fast"}, "`latency_p95_s` must be"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(MeasuredError, match=message):
        read_measured(_file(tmp_path, [{**_BASE, **change}]))


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MeasuredError, match="cannot be read"):
        read_measured(tmp_path / "none.json")
    path = tmp_path / "results.json"
    path.write_text("{")
    with pytest.raises(MeasuredError, match="is not JSON"):
        read_measured(path)
    empty: tuple[object, ...] = ({}, [], {"systems": {}})
    for data in empty:
        with pytest.raises(MeasuredError, match="must hold a list of systems"):
            read_measured(_file(tmp_path, data))
    with pytest.raises(MeasuredError, match="twice"):
        read_measured(_file(tmp_path, [_BASE, _BASE]))
    with pytest.raises(MeasuredError, match="is no evaluation"):
        read_measured(_file(tmp_path, {"scores": [{"part": "test"}]}))


def test_an_evaluation_is_read_case_by_case(tmp_path: Path) -> None:
    interval = {"value": 0.5, "low": 0.1, "high": 0.9, "n": 2, "level": 0.95}
    place = {"part": "test", "slice": "all", "metric": "right", "interval": interval}
    said = [{"system": "base", "right": True}, {"system": "fine-tuned", "right": None}]
    data = {
        "systems": [
            {"name": "base", "latency_p95_s": {"value": 0.7}},
            {"name": "fine-tuned", "latency_p95_s": None},
        ],
        "scores": [
            {**place, "system": "base"},
            {**place, "system": "fine-tuned"},
            {**place, "system": "base", "metric": "bleu"},
        ],
        "cases": [
            {"id": "1", "part": "test", "said": said},
            {"id": "2", "part": "suite", "said": said},
        ],
    }
    base, tuned = read_measured(_file(tmp_path, data))
    assert (base.latency_p95_s, tuned.latency_p95_s) == (0.7, None)
    # A request that failed is neither right nor wrong; other parts are other questions.
    assert (base.right, tuned.right) == ({"1": True}, {})
