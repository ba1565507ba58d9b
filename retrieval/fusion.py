"""Fusion of the dense and the lexical ranking: weighted reciprocal ranks.

Source: Cormack, Clarke and Büttcher 2009, "Reciprocal Rank Fusion outperforms Condorcet and
individual Rank Learning Methods"; weights as in Bruch, Gai and Ingber 2023, arXiv:2210.11934.
"""

from collections.abc import Sequence

DENSE, LEXICAL = 1.0, 0.5
_K = 60.0


def reciprocal_ranks(dense: Sequence[int], lexical: Sequence[int]) -> list[int]:
    """Return the rows of both rankings, best first.

    Args:
        dense: Rows, the nearest first.
        lexical: Rows, the highest BM25 first.
    """
    scores: dict[int, float] = {}
    for ranking, weight in ((dense, DENSE), (lexical, LEXICAL)):
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
    share = LEXICAL / (DENSE + LEXICAL)
    return min(max((1 - share) * max(dense, 0.0) + share * lexical, 0.0), 1.0)


def descending(scores: Sequence[float]) -> list[float]:
    """Return scores that never rise: each the greatest from its place on.

    Ranks decide the order and relevances are shown; a threshold on them must cut off an end.
    """
    result: list[float] = []
    for score in reversed(scores):
        result.append(max(score, result[-1]) if result else score)
    return result[::-1]
