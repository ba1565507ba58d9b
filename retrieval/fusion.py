"""Fusion of the dense and the lexical ranking: reciprocal ranks, weighted by each half's evidence.

With fixed weights no choice serves both kinds of collections that we measured: intents of short
questions (BANKING77), where words hardly tell one from the other, and descriptions of Debian
packages, where they tell most. What differs is how far the best BM25 score stands out from the
tenth. So the dense half weighs as much as the best cosine, the lexical half as much as its best
stands out.

Source: Cormack, Clarke and Büttcher 2009, "Reciprocal Rank Fusion outperforms Condorcet and
individual Rank Learning Methods"; on weights Bruch, Gai and Ingber 2023, arXiv:2210.11934.
"""

from collections.abc import Mapping, Sequence

_K = 10.0
_LEXICAL = 0.9
_COMPARED = 10  # the rank that the best lexical score is compared with
_SHARE = 0.2  # of the words in a relevance that is shown


def reciprocal_ranks(dense: Mapping[int, float], lexical: Mapping[int, float]) -> list[int]:
    """Return the rows of both rankings, best first.

    Args:
        dense: Cosines of rows, the nearest first.
        lexical: BM25 scores above 0 of rows, the highest first.
    """
    scores: dict[int, float] = {}
    best = max(next(iter(dense.values()), 0.0), 0.01)
    weights = (best, _LEXICAL * _standing_out(list(lexical.values())))
    for ranking, weight in zip((dense, lexical), weights, strict=True):
        for rank, row in enumerate(ranking, 1):
            scores[row] = scores.get(row, 0.0) + weight / (_K + rank)
    return sorted(scores, key=scores.__getitem__, reverse=True)


def relevance(dense: float | None, lexical: float) -> float:
    """Return how relevant a passage looks, from 0 to 1, whatever else was found.

    Args:
        dense: The cosine to the query, where it is known.
        lexical: BM25 as a share of the most that any passage can have.
    """
    if dense is None:
        return min(max(lexical, 0.0), 1.0)
    return min(max((1 - _SHARE) * max(dense, 0.0) + _SHARE * lexical, 0.0), 1.0)


def descending(scores: Sequence[float]) -> list[float]:
    """Return scores that never rise: each the greatest from its place on.

    Ranks decide the order and relevances are shown; a threshold on them must cut off an end.
    """
    result: list[float] = []
    for score in reversed(scores):
        result.append(max(score, result[-1]) if result else score)
    return result[::-1]


def _standing_out(scores: Sequence[float]) -> float:
    if not scores:
        return 0.0
    compared = scores[_COMPARED - 1] if len(scores) >= _COMPARED else 0.0
    return max((scores[0] - compared) / scores[0], 0.01)
