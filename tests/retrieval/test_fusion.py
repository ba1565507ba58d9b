"""Fusion: agreement counts, and scores fall."""

from retrieval.fusion import descending, reciprocal_ranks, relevance


def test_what_both_halves_find_goes_before_what_one_finds_at_the_same_rank() -> None:
    assert reciprocal_ranks([1, 2, 3], [9, 2])[0] == 2
    assert reciprocal_ranks([1, 2], [2, 1])[0] == 1  # the dense half weighs more
    assert reciprocal_ranks([], [5, 6]) == [5, 6]
    assert reciprocal_ranks([5, 6], []) == [5, 6]


def test_relevance_is_between_0_and_1_and_grows_with_both() -> None:
    assert relevance(-0.3, 0.0) == 0.0
    assert relevance(1.0, 1.0) == 1.0
    assert relevance(0.5, 0.0) < relevance(0.5, 0.4) < relevance(0.6, 0.4)
    assert relevance(None, 0.4) == 0.4


def test_shown_scores_never_rise() -> None:
    assert descending([0.5, 0.9, 0.2, 0.3]) == [0.9, 0.9, 0.3, 0.3]
    assert descending([]) == []
