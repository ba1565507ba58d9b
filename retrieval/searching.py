"""Searches over one or several collections, and the reranking of what they find."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np

from retrieval.database import IndexProblem, Vector
from retrieval.library import Library, NoCollection
from retrieval.records import Area, Found, Hit, Search
from retrieval.reranker import Reranker
from retrieval.scheduler import Scheduler

_log = logging.getLogger(__name__)
# Hits that a cross-encoder reads: it takes several milliseconds for each.
_RERANKED = 20


class Searching:
    """Answers searches.

    Args:
        library: The collections.
        scheduler: Embeds queries.
        reranker: Orders the best hits again; None: they stay as they are.
    """

    def __init__(self, library: Library, scheduler: Scheduler, reranker: Reranker | None) -> None:
        self._library, self._scheduler, self._reranker = library, scheduler, reranker
        self._thread = ThreadPoolExecutor(1, "rerank")

    async def find(self, search: Search) -> Found:
        """Return what a search finds; collections that do not exist have nothing.

        Raises:
            IndexProblem: None of its collections can be used.
            EmbeddingFailed, Overloaded: Its query cannot be embedded.
        """
        began = time.monotonic()
        wanted = search.limit
        reranks = self._reranker is not None and search.rerank is not False
        if reranks:
            search = msgspec.structs.replace(search, limit=max(wanted, _RERANKED))
        if search.now is None:
            search = msgspec.structs.replace(search, now=time.time())
        vector: Vector | None = None
        if search.mode != "lexical" or search.reference or search.areas:
            vector = (await self._scheduler.embed([search.query]))[0][0]
        found = await self._library.read(self._search, search, vector)
        hits = found.hits
        if reranks and hits:
            hits = await self._reranked(search.query, hits)
        self._library.count("searches")
        return msgspec.structs.replace(
            found, hits=hits[: max(wanted, 0)], took_s=time.monotonic() - began
        )

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _search(self, search: Search, vector: Vector | None) -> Found:
        hits: list[Hit] = []
        generations: dict[str, str] = {}
        problems: dict[str, IndexProblem] = {}
        dense = None if search.mode == "lexical" else vector
        for name in search.collections:
            try:
                collection = self._library.open(name)
            except NoCollection:
                continue
            except IndexProblem as error:
                problems[name] = error
                continue
            hits += collection.search(search, dense)
            generations[name] = collection.generation
        if problems and not generations:
            raise next(iter(problems.values()))
        similarity = None
        if search.reference and vector is not None:
            with contextlib.suppress(NoCollection, IndexProblem):
                similarity = self._library.open(search.reference).nearest(vector)
        hits.sort(key=lambda hit: hit.score, reverse=True)
        return Found(
            hits=tuple(hits[: max(search.limit, 0)]),
            generations=generations,
            reference_similarity=similarity,
            inside=None if vector is None else _inside(search.areas, vector),
            problems={name: str(error) for name, error in problems.items()},
        )

    async def _reranked(self, query: str, hits: tuple[Hit, ...]) -> tuple[Hit, ...]:
        """Order the best hits again; where that fails, they stay as they are."""
        assert self._reranker is not None  # noqa: S101 - looked at by the caller
        try:
            best = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._reranker.order, query, hits[:_RERANKED]
            )
        except Exception:
            _log.exception("the reranker failed")
            self._library.count("rerank_failures")
            return hits
        self._library.count("reranked_searches")
        # What it has not read comes after, with scores of another scale: none above its last.
        last = best[-1].score
        rest = [msgspec.structs.replace(h, score=min(h.score, last)) for h in hits[_RERANKED:]]
        return (*best, *rest)


def _inside(areas: Sequence[Area], vector: Vector) -> bool | None:
    """Return whether a vector lies in one of the areas; those of another embedder tell nothing."""
    known = [area for area in areas if len(area.middle) == len(vector)]
    if not known:
        return None
    return any(float(vector @ np.asarray(a.middle, vector.dtype)) >= a.least for a in known)
