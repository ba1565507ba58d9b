"""Upserts until they are found, while searches come at a steady rate, and compaction under both."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.retrieval.results import Fresh
from loadtests.retrieval.serving import NAME, say, serving
from loadtests.retrieval.statistics import times
from retrieval.client import RetrievalClient, RetrievalFailed, RetrievalUnavailable
from retrieval.records import Document, Entry, Passage, Search

_DEADLINE_S = 5.0
_WARM_UP = 30
_NAMES = 20  # documents that are added and then replaced in turn
_MAX_REASONS = 5


@dataclass
class _Run:
    client: RetrievalClient
    began: float
    searches: list[tuple[float, float]] = field(default_factory=list)
    upserts: list[tuple[float, float]] = field(default_factory=list)
    compactions: list[tuple[float, float]] = field(default_factory=list)
    sent: int = 0
    failed: list[str] = field(default_factory=list)

    def now(self) -> float:
        """Return the seconds since it began."""
        return time.perf_counter() - self.began

    async def search(self, question: str) -> None:
        """Search once, and note how it went."""
        began = self.now()
        self.sent += 1
        search = Search(query=question, collections=(NAME,), limit=10)
        try:
            found = await self.client.search(search, deadline_s=_DEADLINE_S)
        except (RetrievalUnavailable, RetrievalFailed) as error:
            self.failed.append(str(error))
            return
        if NAME not in found.generations:
            self.failed.append("the collection was not searched")
        self.searches.append((began, self.now() - began))

    async def upsert(self, number: int) -> None:
        """Add or replace a document, and search until what it says is found."""
        began = self.now()
        name = f"fact-{number % _NAMES}"
        said = f"The berth of the ferry Zarnovia {number % _NAMES} is number {number + 1000}."
        entry = Entry(document=Document(id=name), passages=(Passage(number=0, text=said),))
        question = f"Which berth has the ferry Zarnovia {number % _NAMES}?"
        search = Search(query=question, collections=(NAME,), limit=_NAMES)
        try:
            await self.client.add_entries(NAME, [entry], deadline_s=30)
            while True:
                hits = (await self.client.search(search, deadline_s=_DEADLINE_S)).hits
                if said in [hit.passage.text for hit in hits if hit.document.id == name]:
                    break
                if self.now() - began > 30:
                    raise RetrievalFailed("an upsert was not found within 30 s")
        except (RetrievalUnavailable, RetrievalFailed) as error:
            self.failed.append(str(error))
            return
        self.upserts.append((began, self.now() - began))

    async def compact(self) -> None:
        """Compact, and note from when to when."""
        began = self.now()
        await self.client.compact(NAME)
        self.compactions.append((began, self.now()))


async def measure(
    folder: Path, model: str, passages: int, questions: Sequence[str], rate: float, seconds: float
) -> Fresh:
    """Measure a copy of a collection that `serving.prepare` made; it is changed.

    Args:
        folder: Where it is.
        model: Folder of the embedder, or `hash`.
        passages: How many passages it has.
        questions: What is asked, again and again.
        rate: Searches per second, sent whether or not those before were answered.
        seconds: How long before, and again after, the compaction.
    """
    async with serving(folder, model) as client:
        for question in questions[:_WARM_UP]:
            await client.search(Search(query=question, collections=(NAME,)), deadline_s=60)
        run = _Run(client, time.perf_counter())
        background = [
            asyncio.create_task(_searching(run, questions, rate)),
            asyncio.create_task(_upserting(run)),
        ]
        try:
            await asyncio.sleep(seconds)
            say("compacting under searches and upserts")
            await run.compact()
            say(f"compacted in {run.compactions[-1][1] - run.compactions[-1][0]:.0f} s")
            await asyncio.sleep(seconds)
        finally:
            for task in background:
                task.cancel()
            for task in background:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
    return _summary(run, passages, rate)


async def _searching(run: _Run, questions: Sequence[str], rate: float) -> None:
    async with asyncio.TaskGroup() as group:
        number = 0
        while True:
            await asyncio.sleep(max(0.0, number / rate - run.now()))
            group.create_task(run.search(questions[number % len(questions)]))
            number += 1


async def _upserting(run: _Run) -> None:
    number = 0
    while True:
        await run.upsert(number)
        number += 1
        await asyncio.sleep(0.5)


def _summary(run: _Run, passages: int, rate: float) -> Fresh:
    def compacts(began: float, took: float) -> bool:
        return any(began < end and began + took > start for start, end in run.compactions)

    quiet = [took for began, took in run.searches if not compacts(began, took)]
    busy = [took for began, took in run.searches if compacts(began, took)]
    visible = [took for _, took in run.upserts]
    return Fresh(
        passages=passages,
        rate=rate,
        searches=run.sent,
        failed=len(run.failed),
        reasons=sorted(set(run.failed))[:_MAX_REASONS],
        visible=times(visible),
        visible_max=round(1000 * max(visible, default=0.0), 1),
        quiet=times(quiet),
        compacting=times(busy),
        compactions=run.compactions,
        trace=[(round(began, 3), round(took, 5)) for began, took in run.searches],
        upserts=[(round(began, 3), round(took, 5)) for began, took in run.upserts],
    )
