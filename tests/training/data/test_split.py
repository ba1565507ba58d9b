import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.store.examples import Example, Message, read_jsonl
from training.data import manifest
from training.data.source import SourceError
from training.data.split import SplitError, clusters, split, split_file

SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
NAMES = "amber basil cedar delta ember fjord grove haven inlet jolly karst lunar maple north"
WORDS = NAMES.split()


def example(question: str, answer: str = "Yes.", slice: str = "", line: int = 0) -> Example:
    return Example((Message("user", question), Message("assistant", answer)), line, slice)


QUESTIONS = st.lists(st.sampled_from(WORDS), min_size=3, max_size=9).map(" ".join)


@settings(max_examples=25, deadline=None)
@given(st.lists(QUESTIONS, min_size=30, max_size=60), st.integers(0, 99))
def test_no_cluster_is_apart_and_no_row_is_lost(questions: list[str], seed: int) -> None:
    rows = [example(question, line=n) for n, question in enumerate(questions)]
    if len(clusters(rows)) < 15:
        return
    parts = split(rows, SHARES, seed=seed)
    part_of = {row.line: part for part, found in parts.items() for row in found}
    assert sorted(part_of) == list(range(len(rows)))
    for group in clusters(rows):
        assert len({part_of[index] for index in group}) == 1
    assert parts == split(rows, SHARES, seed=seed)


def test_slices_are_spread_alike() -> None:
    rows = [
        example(f"{a} {b} {c}", slice="rare" if a == "amber" else "common")
        for a in WORDS
        for b in WORDS
        for c in WORDS[:2]
        if a != b
    ]
    parts = split(rows, SHARES, seed=3)
    for part, share in SHARES.items():
        assert len(parts[part]) == pytest.approx(share * len(rows), abs=0.03 * len(rows))
        rare = Counter(row.slice for row in parts[part])["rare"]
        assert rare == pytest.approx(share * 26, abs=2.5)


def test_labels_of_banking77_are_in_every_part(banking: Path, tmp_path: Path) -> None:
    made = split_file(banking, tmp_path / "parts", SHARES, seed=7)
    rows = {record.name: record.rows for record in made.files}
    assert sum(rows.values()) == 2000
    assert rows["valid.jsonl"] == pytest.approx(200, abs=20)
    assert rows["test.jsonl"] == pytest.approx(200, abs=20)
    test = list(read_jsonl(tmp_path / "parts" / "test.jsonl"))
    assert len({row.answer for row in test if isinstance(row, Example)}) >= 70
    again = split_file(banking, tmp_path / "again", SHARES, seed=7)
    assert again.files == made.files
    assert split_file(banking, tmp_path / "other", SHARES, seed=8).files != made.files
    assert manifest.read(tmp_path / "parts").verify(tmp_path / "parts") == []


def test_too_few_clusters_are_refused() -> None:
    same = [example("always the very same question") for _ in range(50)]
    with pytest.raises(SplitError, match="50 rows make 1 clusters"):
        split(same, SHARES, seed=0)


@pytest.mark.parametrize("shares", [{"train": 0.5, "valid": 0.2}, {"train": 1.5, "valid": -0.5}])
def test_shares_must_add_up(shares: dict[str, float]) -> None:
    with pytest.raises(SplitError, match="add up to 1"):
        split([example("a")], shares, seed=0)


def test_a_row_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n{\n")
    with pytest.raises(SourceError, match=r"rows\.jsonl, line 2: this is not JSON"):
        split_file(path, tmp_path / "out", SHARES, seed=0)
    assert not (tmp_path / "out").exists()
