"""BM25: the delta scores as bm25s does, and a word weighs the same in all segments."""

from pathlib import Path

import numpy as np
import pytest

from retrieval.lexical import (
    LexicalIndex,
    Postings,
    Question,
    Tokens,
    build,
    joined,
    read_vocabulary,
    tokenise,
)
from retrieval.retriever import _largest

_TEXTS = [
    "The card was declined at the shop",
    "My card payment was declined, declined again",
    "How do I top up by bank transfer?",
    "",
    "Transfers between banks take two days, cards do not",
]


def _built(folder: Path, texts: list[str]) -> LexicalIndex:
    folder.mkdir()
    build(folder, *joined(None, np.zeros(0, np.int64), texts, {}))
    return LexicalIndex(folder)


def _postings(texts: list[str]) -> Postings:
    postings = Postings()
    for text in texts:
        postings.add(text)
    return postings


def test_words_are_stemmed_and_lowered_without_stop_words() -> None:
    assert tokenise("The Cards were declined: é_x1!") == ["card", "were", "declin", "é", "x1"]


def test_the_delta_scores_as_bm25s_does(tmp_path: Path) -> None:
    index, postings = _built(tmp_path / "a", _TEXTS), _postings(_TEXTS)
    for query in ("declined cards", "bank transfers take days", "unknown", "the of"):
        ours = postings.scores(Question(query, [postings]), len(_TEXTS))
        theirs = index.scores(Question(query, [index]), len(_TEXTS))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert ours.max() == 0


def test_a_word_weighs_the_same_in_the_generation_and_in_the_delta(tmp_path: Path) -> None:
    text = "refund policy"
    index = _built(tmp_path / "a", [text, "card one", "card two"])
    postings = _postings([text, "refund form", "refund desk"])
    question = Question("refund", [index, postings])
    kept, added = index.scores(question, 3), postings.scores(question, 3)
    assert kept[0] == pytest.approx(added[0], rel=0.02)
    assert question.most > kept[0] > 0


def test_a_search_sees_no_passage_that_was_added_later() -> None:
    postings = _postings(["apples", "apples"])
    scores = postings.scores(Question("apples", [postings]), 1)
    assert scores.shape == (1,)
    assert scores[0] > 0


def test_joining_keeps_some_and_adds_some_as_if_built_anew(tmp_path: Path) -> None:
    old = _built(tmp_path / "old", _TEXTS)
    kept = np.array([0, 2, 3])
    (tmp_path / "joined").mkdir()
    build(tmp_path / "joined", *joined(old.tokens, kept, ["new card"], old.vocabulary))
    found = LexicalIndex(tmp_path / "joined")
    fresh = _built(tmp_path / "fresh", [_TEXTS[row] for row in kept] + ["new card"])
    for query in ("declined card", "bank", "days", "new"):
        np.testing.assert_allclose(
            found.scores(Question(query, [found]), 4), fresh.scores(Question(query, [fresh]), 4)
        )
    assert "day" not in read_vocabulary(tmp_path / "joined")  # no word of what is gone
    assert isinstance(found.tokens, Tokens)


def test_the_largest_scores_are_found_by_blocks() -> None:
    random = np.random.default_rng(3)
    for size, limit in ((10, 3), (5_000, 7), (100_003, 50), (100_003, 1)):
        scores = random.random(size).astype(np.float32) * (random.random(size) < 0.02)
        expected = np.sort(scores)[::-1][:limit]
        found = np.sort(scores[_largest(scores.astype(np.float32), limit)])[::-1]
        np.testing.assert_array_equal(found, expected[expected > 0])
