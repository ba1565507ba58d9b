"""Watches one release behind one alias: window → scores → evidence → health, written at once.

A step reads the state, judges at most one window and writes what follows in one transaction, so a
monitor that is killed goes on with the same window. The first requests that a release answers
become its reference, unless it was given one.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.store.health import AliasHealth, Healths
from gateway.store.monitoring import Monitoring, MonitorState, StoredWindow
from monitoring import health, reference
from monitoring.embedding import Embedder
from monitoring.evidence.book import Book, Inputs
from monitoring.intake import Intake, Taken
from monitoring.novelty import MEMORY
from monitoring.reference import Reference
from monitoring.replay import RESTART
from monitoring.requests import Request, of_record
from monitoring.rows import Described, described, losses_of, mean_loss, means
from monitoring.scorer import Scorer
from monitoring.settings import MonitorSettings, slug
from monitoring.topic_view import TopicView

FEEDBACK = "feedback"


class Watcher:
    """The watch of one release behind one alias.

    Args:
        alias: The alias.
        release: The release.
        store: The monitor's part of the store.
        healths: The health of aliases.
        embedder: Makes vectors of prompts.
        settings: The monitor's settings.
        leads: Whether the alias's health follows from this release, not from another one that
            serves a smaller share.
        clock: Unix seconds.
    """

    def __init__(
        self,
        alias: str,
        release: str,
        store: Monitoring,
        healths: Healths,
        embedder: Embedder,
        settings: MonitorSettings,
        *,
        leads: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.alias, self.release, self.leads = alias, release, leads
        self.judged: tuple[Request, ...] = ()
        self.folder = settings.folder() / "references" / slug(alias, release)
        self.reference: Reference | None = None
        self._scorer: Scorer | None = None
        self._topics: TopicView | None = None
        self._store, self._healths, self._embedder = store, healths, embedder
        self._settings, self._clock = settings, clock
        self._levels = settings.levels()
        every_s = settings.monitor_window_every_s
        self._intake = Intake(store, settings.monitor_settle_s, clock, every_s)
        self._beside: dict[str, list[float]] = {}

    def add_losses(self, signal: str, losses: Sequence[float]) -> None:
        """Take losses that are of no window, such as those of probes; the next step judges them."""
        self._beside.setdefault(signal, []).extend(losses)

    async def step(self) -> MonitorState | None:
        """Judge what has come; returns the state after it, None where that was too little.

        Raises:
            ReferenceUnusable: The reference is damaged.
            RetrievalUnavailable, RetrievalFailed: There are no vectors.
            StoreError: The store is away, or another monitor writes.
        """
        state = self._store.state(self.alias, self.release)
        if state is None:
            state = MonitorState(self.alias, self.release)
        scorer = self._scorer or await self._opened()
        return await (self._collect(state) if scorer is None else self._judge(state, scorer))

    async def _opened(self) -> Scorer | None:
        found = reference.load(self.folder)
        return None if found is None else await self._using(found)

    async def _using(self, found: Reference) -> Scorer:
        """Score against a reference, with the last windows in memory."""
        scorer = Scorer(found, f"{self.alias}/{self.release}")
        ids = self._store.last_requests(self.alias, self.release, MEMORY)
        records = {record.completion_id: record for record in self._store.requests(ids)}
        texts = [of_record(records[id]).prompt or "" for id in ids if id in records]
        topics = await asyncio.to_thread(TopicView, found)
        if texts:
            vectors = await self._embedder.vectors(texts)
            scorer.novelty.recall(vectors)
            topics.recall(texts, vectors)
        self.reference, self._scorer, self._topics = found, scorer, topics
        return scorer

    async def _collect(self, state: MonitorState) -> MonitorState | None:
        """Make the reference of the first requests, as soon as there are enough of them."""
        needed = self._settings.monitor_reference_rows
        taken = self._intake.window(state, needed)
        if not taken.requests:
            textless = taken.textless >= self._settings.monitor_window
            stage = "no_text" if textless else "no_reference"
            return self._passed_by(replace(state, stage=stage, reference_needed=needed), taken)
        rows = await described(taken.requests, self._embedder)
        made = reference.made(rows.rows, rows.vectors, "traffic")
        reference.save(made, self.folder)
        scorer = await self._using(made)
        book = Book(self._levels, scorer.signals)
        # What was already answered is where the baselines of losses begin. Its requests are the
        # reference's, and no window's.
        losses = losses_of(taken.requests)
        return self._write(state, book, replace(taken, requests=()), {}, losses)

    async def _judge(self, state: MonitorState, scorer: Scorer) -> MonitorState | None:
        """Judge the next window, with the losses that came beside it."""
        taken = self._intake.window(state, self._settings.monitor_window)
        scores, place = self._intake.scores(state)
        losses = losses_of(taken.requests)
        for signal, more in [*self._beside.items(), (FEEDBACK, [1 - score for score in scores])]:
            losses.setdefault(signal, []).extend(more)
        if not taken.requests and not any(losses.values()):
            return self._passed_by(state, taken)
        taken.detail["feedback"] = place
        p_values: Mapping[str, Sequence[float]] = {}
        if taken.requests:
            rows = await described(taken.requests, self._embedder)
            p_values = scorer.score(rows.rows, rows.vectors, state.windows)
            state = self._seen(state, rows, taken.requests)
        if "book" in state.detail:
            book = Book.restored(state.detail["book"], self._levels)
        else:
            book = Book(self._levels, scorer.signals)
        written = self._write(state, book, taken, p_values, losses)
        self._beside.clear()
        self.judged = taken.requests
        return written

    def restart(self, reason: str) -> MonitorState | None:
        """Forget the evidence, since a person looked into it; baselines are measured again.

        Returns None where there is no evidence yet.
        """
        state = self._store.state(self.alias, self.release)
        if state is None or "book" not in state.detail:
            return None
        now = self._clock()
        book = Book(self._levels, tuple(state.detail["book"]["drift"]))
        inputs = Inputs({}, {}).as_dict() | {RESTART: reason}
        window = StoredWindow(
            self.alias, self.release, state.windows, now, now, [], inputs,
            book.observe(inputs), now,
        )  # fmt: skip
        after = replace(
            state, windows=state.windows + 1, signals=book.signals(), updated_at=now,
            detail=state.detail | {"book": book.state()},
        )  # fmt: skip
        cleared = AliasHealth(
            self.alias, "HEALTHY", {"release": self.release, "reason": reason}, now
        )
        return self._store.write(after, [window], cleared)

    def _passed_by(self, state: MonitorState, taken: Taken) -> MonitorState | None:
        """Write how far the traffic was read where it holds no window; None: nothing is new."""
        known = self._store.state(self.alias, self.release)
        left_out = state.left_out + taken.left_out
        if known == state and taken.detail == state.detail:
            return None
        return self._store.write(
            replace(state, detail=taken.detail, left_out=left_out, updated_at=self._clock())
        )

    def _seen(
        self, state: MonitorState, rows: Described, requests: Sequence[Request]
    ) -> MonitorState:
        """Return the state with what the window's requests look like beside the reference."""
        now = means(rows.rows)
        usual = {} if self.reference is None else means(self.reference.rows)
        shown = {
            name: {"now": now.get(name), "reference": usual.get(name)} for name in {*now, *usual}
        }
        if self._topics is not None:
            self._topics.add(rows.rows, rows.vectors, [mean_loss(each) for each in requests])
        return replace(state, descriptors=shown)

    def _write(
        self,
        state: MonitorState,
        book: Book,
        taken: Taken,
        p_values: Mapping[str, Sequence[float]],
        losses: Mapping[str, Sequence[float]],
    ) -> MonitorState:
        """Write the window, the state after it and the health that follows."""
        now = self._clock()
        inputs = Inputs(p_values, losses).as_dict()
        evidence = book.observe(inputs)
        times = [request.at for request in taken.requests] or [now]
        window = StoredWindow(
            self.alias, self.release, state.windows, min(times), max(times),
            [request.id for request in taken.requests], inputs, evidence, now,
        )  # fmt: skip
        topics = state.topics
        if taken.requests and self._topics is not None:
            topics = self._topics.shown(look=book.quiet == 0)
        after = replace(
            state,
            stage="watching",
            topics=topics,
            windows=state.windows + 1,
            requests=state.requests + len(taken.requests),
            left_out=state.left_out + taken.left_out,
            reference_rows=0 if self.reference is None else len(self.reference.rows),
            reference_needed=self._settings.monitor_reference_rows,
            last_window_at=now,
            signals=book.signals(),
            detail=taken.detail | {"book": book.state()},
            updated_at=now,
        )
        return self._store.write(after, [window], self._health(after, book))

    def _health(self, state: MonitorState, book: Book) -> AliasHealth | None:
        if not self.leads:
            return None
        known = self._healths.get(self.alias)
        before = "HEALTHY" if known is None else known.state
        if known is not None and known.evidence.get("release", self.release) != self.release:
            before = "HEALTHY" if before in health.WATCHED else before  # of another release
        after = health.next_state(before, book)
        if after not in health.WATCHED:
            return None
        reasons: dict[str, Any] = health.reasons(book, self.release, state.topics)
        return AliasHealth(self.alias, after, reasons, self._clock())
