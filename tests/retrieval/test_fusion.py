"""Fusion: agreement counts, each half weighs what its evidence is worth, and scores fall."""

from retrieval.fusion import descending, reciprocal_ranks, relevance


def test_what_both_halves_find_goes_before_what_one_finds() -> None:
    assert reciprocal_ranks({1: 0.6, 2: 0.6, 3: 0.5}, {9: 3.0, 2: 3.0})[0] == 2
    assert reciprocal_ranks({}, {5: 2.0, 6: 1.0}) == [5, 6]
    assert reciprocal_ranks({5: 0.4, 6: 0.2}, {}) == [5, 6]
    assert reciprocal_ranks({5: -0.1, 6: -0.2}, {}) == [5, 6]


def test_words_decide_where_one_passage_stands_out_by_them_alone() -> None:
    dense = {1: 0.5, 2: 0.49}
    alike = dict.fromkeys(range(2, 14), 3.0)
    assert reciprocal_ranks(dense, {13: 3.0} | alike)[0] in (1, 2)
    assert reciprocal_ranks(dense, {13: 9.0, 50: 1.0})[0] == 13


def test_relevance_is_between_0_and_1_and_grows_with_both() -> None:
    assert relevance(-0.3, 0.0) == 0.0
    assert relevance(1.0, 1.0) == 1.0
    assert relevance(0.5, 0.0) < relevance(0.5, 0.4) < relevance(0.6, 0.4)
    assert relevance(None, 0.4) == 0.4


def test_shown_scores_never_rise() -> None:
    assert descending([0.5, 0.9, 0.2, 0.3]) == [0.9, 0.9, 0.3, 0.3]
    assert descending([]) == []
