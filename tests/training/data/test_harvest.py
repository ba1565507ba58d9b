import json
from pathlib import Path
from typing import Any

import pytest

from gateway.store.database import Database, StoreError
from gateway.store.examples import Example, read_jsonl
from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.traffic import Traffic, TrafficRecord
from training.data import manifest
from training.data.curation import Rules
from training.data.harvest import harvest


def record(
    number: int, question: Any, answer: str | None, *, key: str | None = "askerkey", **other: Any
) -> TrafficRecord:
    choice = {"index": 0, "message": {"role": "assistant", "content": answer}}
    fields: dict[str, Any] = dict.fromkeys(TrafficRecord.__dataclass_fields__)
    return TrafficRecord(
        **fields
        | {
            "completion_id": f"chatcmpl-{number}",
            "created_at": 1000.0 + number,
            "operation": "chat",
            "key_prefix": key,
            "alias": "production",
            "release": "m-1",
            "messages": [{"role": "user", "content": question}],
            "answer": None if answer is None else {"choices": [choice]},
            "finish_reason": "stop",
            "duration_s": 0.1,
            "outcome": "done",
            "status": 200,
            "metadata": {"slice": "faq"},
        }
        | other
    )


def fill(url: str) -> None:
    """Write answers and feedback as the gateway does."""
    database = Database(url)
    database.migrate()
    parts = [{"type": "text", "text": "Which "}, {"type": "text", "text": "way?"}]
    picture = [{"type": "image_url", "image_url": {"url": "data:"}}]
    traffic, log = Traffic(database), FeedbackLog(database)
    traffic.add(
        [
            record(1, "What is the fee?", "Ten."),
            record(2, "what is the fee", "Eleven."),
            record(3, "Is it open?", "Yes, until nine."),
            record(4, "Who writes?", "Ask jane.doe@example.org about it."),
            record(5, parts, "Left.", key=None),
            record(6, picture, "A cat."),
            record(7, "No texts kept", "x", messages=None),
            record(8, "Unjudged?", "Indeed."),
            record(9, "Cut off?", "Because it", finish_reason="length"),
            record(10, "Other alias?", "Yes.", alias="beta"),
            *(record(100 + n, f"Bulk {n}?", "Fine.") for n in range(600)),
        ]
    )
    said = [
        (1, "keyann", None, "Twelve."),
        (2, "keybob", None, "twelve"),
        (3, "keyann", 1.0, None),
        (4, "keyann", 1.0, None),
        (5, None, 0.9, None),
        (6, "keyann", 1.0, None),
        (9, "keyann", 1.0, None),
        (10, "keyann", 1.0, None),
        (699, "keyann", 0.1, None),
    ]
    for number, (completion, key, score, correction) in enumerate(said):
        log.add(
            Feedback(
                f"fb_{number}",
                f"chatcmpl-{completion}",
                key,
                2000.0 + number,
                score,
                None,
                correction,
                None,
                {},
            )
        )
    database.close()


def check(url: str, folder: Path) -> None:
    made = harvest(url, folder, Rules(), model="production")
    rows = [row for row in read_jsonl(folder / "curated.jsonl") if isinstance(row, Example)]
    assert [(row.question, row.answer, row.contributor, row.source) for row in rows] == [
        ("What is the fee?", "Twelve.", "keyann", "correction:chatcmpl-1"),
        ("Is it open?", "Yes, until nine.", "askerkey", "good_answer:chatcmpl-3"),
        ("Which way?", "Left.", "anonymous", "good_answer:chatcmpl-5"),
    ]
    assert {row.slice for row in rows} == {"faq"}
    aside = [json.loads(line) for line in (folder / "quarantine.jsonl").read_text().splitlines()]
    assert [row["source"] for row in aside] == ["good_answer:chatcmpl-4"]
    assert made == manifest.read(folder)
    assert made.verify(folder) == []
    assert made.time_range == (1001.0, 1005.0)
    expected = {
        "without_text": 2,
        "without_score_or_correction": 600,
        "incomplete_answers": 1,
        "low_score": 1,
        "kept_corrections": 1,
        "kept_good_answers": 3,
        "quarantined": 1,
        "answers": 607,
    }
    assert expected.items() <= made.filters.items()


def test_a_store_is_curated(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'driftgate.db'}"
    fill(url)
    check(url, tmp_path / "out")


@pytest.mark.services
def test_a_store_in_postgresql_is_curated(postgres_url: str, tmp_path: Path) -> None:
    fill(postgres_url)
    check(postgres_url, tmp_path / "out")


def test_a_time_range_is_kept_to(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'driftgate.db'}"
    fill(url)
    made = harvest(url, tmp_path / "out", Rules(), since=1003.0, until=1005.0)
    assert made.filters["answers"] == 2
    assert made.settings["since"] == 1003.0


def test_an_absent_store_is_named_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "home" / "driftgate.db"
    with pytest.raises(StoreError, match="there is no such store"):
        harvest(f"sqlite:///{path}", tmp_path / "out", Rules())
    assert not path.parent.exists()
