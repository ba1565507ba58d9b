"""The rows of RESTAURANTS-8K: strict JSON, and nothing measured that was trained on."""

import json
from pathlib import Path

from examples import restaurants
from gateway.store.examples import Example, read_jsonl


def test_the_rows_are_strict_json_and_no_utterance_is_in_two_files(
    public_data: Path, tmp_path: Path
) -> None:
    found = restaurants.build(public_data, tmp_path, rows=300, valid=20, test=40, seed=7)
    assert found == {"train": 300, "valid": 20, "test": 40}
    said: dict[str, set[str]] = {}
    for part in found:
        rows = [row for row in read_jsonl(tmp_path / f"{part}.jsonl") if isinstance(row, Example)]
        assert len(rows) == found[part]
        for row in rows:
            slots = json.loads(row.answer)
            assert row.answer == json.dumps(
                slots, sort_keys=True, ensure_ascii=False, separators=(",", ":")
            )
            assert all(value in row.question for value in slots.values())
        said[part] = {row.question for row in rows}
    assert not said["train"] & said["test"]
    assert not said["train"] & said["valid"]
