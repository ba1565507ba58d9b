"""A search over a view: candidates of both halves, fused, with what they are."""

import msgspec
import numpy as np
import numpy.typing as npt

from retrieval.database import Vector
from retrieval.fusion import descending, reciprocal_ranks, relevance
from retrieval.lexical import Question, Scores
from retrieval.masks import Mask
from retrieval.records import Hit, Search
from retrieval.view import View

Rows = npt.NDArray[np.int64]
_CANDIDATES = 50
_BLOCK = 512


def retrieve(view: View, name: str, search: Search, vector: Vector | None, now: float) -> list[Hit]:
    """Return the best passages of documents that hold at `now`, best first.

    Args:
        view: What is searched.
        name: The collection's name.
        search: The query.
        vector: Its unit vector; without it only words count.
        now: Unix seconds.
    """
    limit = max(search.limit, 0)
    candidates = max(_CANDIDATES, 2 * limit) if search.mode == "hybrid" else limit
    masks = [segment.mask(now, search.filters) for segment in view.segments]
    firsts = np.cumsum([0] + [segment.rows for segment in view.segments])
    dense: dict[int, float] = {}
    lexical: dict[int, float] = {}
    if vector is not None and search.mode != "lexical":
        dense = _nearest(view, masks, firsts, vector, candidates)
    question = None
    scores: list[Scores] = []
    if vector is None or search.mode != "dense":
        question = Question(search.query, [segment.segment.words for segment in view.segments])
        scores = _scores(view, question, masks)
        lexical = _best(scores, firsts, candidates)
    ordered = reciprocal_ranks(dense, lexical)[:limit]
    cosines = dict(dense)
    if vector is not None:
        _complete(view, firsts, vector, cosines, [row for row in ordered if row not in cosines])
    hits = []
    for row in ordered:
        part = int(np.searchsorted(firsts, row, side="right")) - 1
        segment, local = view.segments[part], row - int(firsts[part])
        words = float(scores[part][local]) if scores else 0.0
        share = words / question.most if question is not None and words > 0 else 0.0
        cosine = cosines.get(row)
        hit = Hit(
            collection=name,
            document=segment.segment.document(int(segment.owners[local])),
            passage=segment.segment.passage(local),
            score=max(cosine, 0.0)
            if cosine is not None and not scores
            else relevance(cosine, share),
            dense=cosine,
            lexical=words if words > 0 else None,
        )
        hits.append(hit)
    shown = descending([hit.score for hit in hits])
    return [msgspec.structs.replace(h, score=s) for h, s in zip(hits, shown, strict=True)]


def nearest(view: View, vector: Vector, now: float) -> float | None:
    """Return the cosine of the nearest passage that holds at `now`."""
    masks = [segment.mask(now, None) for segment in view.segments]
    firsts = np.cumsum([0] + [segment.rows for segment in view.segments])
    return next(iter(_nearest(view, masks, firsts, vector, 1).values()), None)


def _nearest(
    view: View, masks: list[Mask], firsts: Rows, vector: Vector, limit: int
) -> dict[int, float]:
    found: dict[int, float] = {}
    for segment, mask, first in zip(view.segments, masks, firsts[:-1].tolist(), strict=True):
        if mask.passing and limit:
            rows, similarities = segment.segment.nearest(vector, limit, mask)
            found.update(zip((rows + first).tolist(), similarities.tolist(), strict=True))
    best = sorted(found, key=found.__getitem__, reverse=True)[:limit]
    return {row: found[row] for row in best}


def _scores(view: View, question: Question, masks: list[Mask]) -> list[Scores]:
    result = []
    for segment, mask in zip(view.segments, masks, strict=True):
        scores = segment.segment.words.scores(question, segment.rows)
        if mask.rows is not None:
            scores *= mask.rows
        result.append(scores)
    return result


def _best(scores: list[Scores], firsts: Rows, limit: int) -> dict[int, float]:
    found: dict[int, float] = {}
    for part, first in zip(scores, firsts[:-1].tolist(), strict=True):
        rows = _largest(part, limit)
        found.update(zip((rows + first).tolist(), part[rows].tolist(), strict=True))
    best = sorted(found, key=found.__getitem__, reverse=True)[:limit]
    return {row: found[row] for row in best}


def _largest(scores: Scores, limit: int) -> Rows:
    """Return the rows of the `limit` largest scores above 0.

    The largest of all lie in the blocks with the largest maxima, and a maximum of each block is
    found many times faster than a partition of everything.
    """
    rows = np.arange(len(scores))
    blocks = len(scores) // _BLOCK
    if blocks > 2 * limit > 0:
        whole = scores[: blocks * _BLOCK].reshape(blocks, _BLOCK)
        best = np.argpartition(-whole.max(axis=1), limit - 1)[:limit]
        inside = (best[:, None] * _BLOCK + np.arange(_BLOCK)).ravel()
        rows = np.concatenate((inside, np.arange(blocks * _BLOCK, len(scores))))
    values = scores[rows]
    if len(rows) > limit > 0:
        best = np.argpartition(-values, limit - 1)[:limit]
        rows, values = rows[best], values[best]
    return rows[values > 0] if limit else rows[:0]


def _complete(
    view: View, firsts: Rows, vector: Vector, cosines: dict[int, float], rows: list[int]
) -> None:
    for segment, first, end in zip(view.segments, firsts[:-1], firsts[1:], strict=True):
        inside = np.array([row for row in rows if first <= row < end], np.int64)
        if len(inside):
            found = segment.segment.cosines(inside - first, vector)
            cosines.update(zip(inside.tolist(), found.tolist(), strict=True))
