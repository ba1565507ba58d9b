"""Searches through the service, one at a time, embedding included, and the share of exact hits."""

import time
from collections.abc import Sequence
from pathlib import Path

from loadtests.retrieval.results import Served
from loadtests.retrieval.serving import NAME, say, serving
from loadtests.retrieval.statistics import CUT, recall, times
from retrieval.embedder import Vectors
from retrieval.records import Search

_WARM_UP = 30
_DEADLINE_S = 10.0


async def measure(
    folder: Path,
    model: str,
    passages: Sequence[str],
    vectors: Vectors,
    perturbed: int,
    questions: Sequence[str],
    asked: Vectors,
) -> Served:
    """Measure a collection that `serving.prepare` has made of these passages.

    Args:
        folder: Where it is.
        model: Folder of the embedder, or `hash`.
        passages: Its texts.
        vectors: Their vectors, row by row.
        perturbed: How many of them are no texts of their own.
        questions: What is asked; none of them is a passage.
        asked: Their vectors.
    """
    async with serving(folder, model) as client:
        for question in questions[:_WARM_UP]:
            await client.search(_search(question), deadline_s=60)
        seconds = []
        for number, question in enumerate(questions, 1):
            began = time.perf_counter()
            await client.search(_search(question), deadline_s=_DEADLINE_S)
            seconds.append(time.perf_counter() - began)
            if number % 250 == 0:
                say(f"search through the service: {number:,} of {len(questions):,}")
        embedding = []
        for question in questions:
            began = time.perf_counter()
            await client.embed([question], deadline_s=_DEADLINE_S)
            embedding.append(time.perf_counter() - began)
        found = []
        for question in questions:
            dense = Search(query=question, collections=(NAME,), limit=CUT, mode="dense")
            hits = (await client.search(dense, deadline_s=_DEADLINE_S)).hits
            found.append([int(hit.document.id) for hit in hits])
        embedder = (await client.info()).get("embedder", "")
    return Served(
        passages=len(passages),
        perturbed=perturbed,
        words=round(sum(len(text.split()) for text in passages) / len(passages), 1),
        embedder=str(embedder),
        times=times(seconds),
        embedding=times(embedding),
        recall=round(recall(found, vectors, asked), 4),
    )


def _search(question: str) -> Search:
    return Search(query=question, collections=(NAME,), limit=CUT)
