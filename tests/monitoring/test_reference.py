"""References: frozen, checked, refused where they are damaged."""

import json
from pathlib import Path

import numpy as np
import pytest

from monitoring import reference
from monitoring.reference import ReferenceUnusable, Row


def rows(count: int) -> list[Row]:
    return [
        Row(f"c{n}", f"question {n}\u2028?", None, {"prompt_words": float(n % 7)}, "en")
        for n in range(count)
    ]


def unit(count: int, seed: int = 0) -> reference.Vectors:
    found = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    unit: reference.Vectors = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def test_what_was_frozen_is_read_again(tmp_path: Path) -> None:
    made = reference.made(rows(120), unit(120), "traffic")
    assert reference.load(tmp_path / "r") is None
    reference.save(made, tmp_path / "r")
    read = reference.load(tmp_path / "r")
    assert read is not None
    assert read.rows == made.rows
    assert (read.vectors == made.vectors).all()
    assert read.mean("prompt_words") == pytest.approx(np.mean([n % 7 for n in range(120)]))
    assert read.mean("nll") is None


def test_it_stays_as_it_is(tmp_path: Path) -> None:
    reference.save(reference.made(rows(100), unit(100), "first"), tmp_path / "r")
    with pytest.raises(FileExistsError):
        reference.save(reference.made(rows(100), unit(100), "second"), tmp_path / "r")
    read = reference.load(tmp_path / "r")
    assert read is not None
    assert read.source == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize("file", ["vectors.npy", "rows.jsonl", "manifest.json"])
@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_damage_is_told_with_its_place(tmp_path: Path, file: str, damage: str) -> None:
    reference.save(reference.made(rows(100), unit(100), "traffic"), tmp_path / "r")
    path = tmp_path / "r" / file
    content = bytearray(path.read_bytes())
    if damage == "changed":
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
    with pytest.raises(ReferenceUnusable, match="r: "):
        reference.load(tmp_path / "r")


def test_another_form_is_refused(tmp_path: Path) -> None:
    reference.save(reference.made(rows(100), unit(100), "traffic"), tmp_path / "r")
    path = tmp_path / "r" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"form": 2}))
    with pytest.raises(ReferenceUnusable, match="form 2"):
        reference.load(tmp_path / "r")


def test_too_few_rows_and_vectors_that_are_none_are_refused() -> None:
    with pytest.raises(ReferenceUnusable, match="99 rows"):
        reference.made(rows(99), unit(99), "traffic")
    broken = unit(100)
    broken[3, 2] = np.nan
    for vectors in (broken, unit(99), np.zeros(100, np.float32)):
        with pytest.raises(ReferenceUnusable, match="vector"):
            reference.made(rows(100), vectors, "traffic")
