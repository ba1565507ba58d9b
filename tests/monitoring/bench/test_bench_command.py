"""`driftgate bench drift`, its questions, and their vectors."""

import random
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from monitoring.bench import banking as questions_of
from monitoring.bench.alterations import ALTERATIONS, altered
from monitoring.bench.banking import DataMissing, Question, foreign, questions
from monitoring.bench.material import material
from monitoring.commands.bench import app
from retrieval.embedder import HashEmbedder, Vectors
from tests.monitoring.bench.made import banking


def test_missing_questions_are_told_with_the_option_that_names_them(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        app, ["drift", "--data", str(tmp_path / "no"), "--cache", str(tmp_path), "--peers", "0"]
    )
    assert found.exit_code == 2
    assert "train.csv is missing" in found.stderr
    assert "--data" in found.stderr


def test_a_missing_embedder_is_told(tmp_path: Path) -> None:
    folder = banking(tmp_path / "banking77")
    found = CliRunner().invoke(
        app,
        ["drift", "--data", str(folder), "--cache", str(tmp_path), "--peers", "0",
         "--embedder", str(tmp_path / "none")],
    )  # fmt: skip
    assert found.exit_code == 2
    assert "--embedder" in found.stderr


def test_another_table_is_no_banking77(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataMissing, match="text and category"):
        questions(tmp_path)


def test_each_text_is_there_once(tmp_path: Path) -> None:
    folder = banking(tmp_path / "banking77")
    with (folder / "test.csv").open("a") as file:
        file.write('"Where is my train card, number 1?",card\n')
    assert len(questions(folder)) == 12


def test_foreign_questions_are_all_different_and_of_real_intents() -> None:
    found = foreign()
    assert len({each.text for each in found}) == len(found) == 420
    assert questions_of.FOREIGN.exists()
    assert len({each.intent for each in found}) == 20


@pytest.mark.parametrize("kind", ALTERATIONS)
def test_an_alteration_keeps_the_intent_and_changes_the_text(kind: str) -> None:
    asked = [Question(f"How do I top up my card {number}?", "top_up") for number in range(20)]
    first, again = altered(kind, asked), altered(kind, asked)
    assert first == again
    assert {each.intent for each in first} == {"top_up"}
    assert sum(a.text == b.text for a, b in zip(asked, first, strict=True)) < 3


def test_typos_leave_a_text_of_about_the_same_length() -> None:
    asked = Question("Why was my payment declined this morning?", "declined")
    typo = ALTERATIONS["typos"](asked, random.Random(1))
    assert typo != asked.text
    assert abs(len(typo) - len(asked.text)) <= 3


class _Counting(HashEmbedder):
    calls = 0

    def embed(self, texts: list[str]) -> tuple[Vectors, list[int]]:
        self.calls += 1
        return super().embed(texts)


def test_vectors_are_made_once_and_belong_to_their_questions(tmp_path: Path) -> None:
    asked = questions(banking(tmp_path / "banking77", 40))
    embedder = _Counting()
    first = material(asked, foreign(), embedder, tmp_path / "vectors")
    calls = embedder.calls
    again = material(asked, foreign(), embedder, tmp_path / "vectors")
    assert embedder.calls == calls > 0
    assert np.array_equal(first.vectors, again.vectors)
    assert len(first.rows) == len(first.vectors) == len(first.intents)
    expected, _ = HashEmbedder().embed([first.rows[int(first.foreign[7])].prompt])
    assert np.array_equal(first.vectors[first.foreign[7]], expected[0])
    for forms in first.altered.values():
        has = np.flatnonzero(forms >= 0)
        assert len(has) == 20
        assert (first.intents[has] == first.intents[forms[has]]).all()
