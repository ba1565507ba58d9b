"""The stage: search → decide → enough? → by chance → ground → answer → cite, in a line.

Whatever fails in retrieval leaves the request to the plain model (fail-open), with a header and a
count. The engine's own errors, and clients that leave, pass through as everywhere.
"""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from gateway.auth import Principal
from gateway.errors import InvalidRequest, NotFound
from gateway.grounding import said
from gateway.grounding.books import Books, Plan, is_granted, may_name
from gateway.grounding.chat import ChatEditor
from gateway.grounding.citing import Citing
from gateway.grounding.editor import AskAgain, Editor
from gateway.grounding.notes import Notes
from gateway.grounding.probe import Probe
from gateway.grounding.prompt import Prompt, is_text, wants_logprobs
from gateway.grounding.responses import ResponseEditor
from gateway.retrieval_metrics import RetrievalMetrics
from gateway.store.database import StoreError
from gateway.task import Task
from retrieval import gate
from retrieval.client import RetrievalFailed, RetrievalUnavailable
from retrieval.gate import admits_ignorance, after, asks_after, before
from retrieval.records import Found, Hit, Search
from retrieval.sufficiency import judge

_log = logging.getLogger(__name__)
_STORE_S: Final = 2.0
_SLACK_S: Final = 0.1  # the client keeps the deadline; this is for one that does not
Forward = Callable[[Task], Awaitable[None]]
Owners = Callable[[], Awaitable[Mapping[str, str | None]]]


class Searcher(Protocol):
    """What the stage needs of the retrieval client."""

    async def search(self, search: Search, *, deadline_s: float) -> Found: ...


@dataclass(frozen=True, slots=True)
class GroundingLimits:
    """See the settings of the same names; times in seconds."""

    deadline_s: float = 0.15
    holdout: float = 0.05
    nothing: str = "The documents do not say."
    context_tokens: int = 2048
    answer_tokens: int = 512


class Request:
    """What the steps of one request hand on."""

    def __init__(self, task: Task, plan: Plan, notes: Notes, limits: GroundingLimits) -> None:
        self.task = task
        self.plan = plan
        self.notes = notes
        self.prompt = Prompt(task.request, limits.context_tokens, limits.answer_tokens)
        self.question = self.prompt.question
        self.hits: tuple[Hit, ...] = ()
        self._lines = task.call.limits

    def announce(self) -> None:
        """Put what was decided into the headers; the last word before them holds."""
        self.task.call.limits = self._lines + self.notes.header()


class GroundingStage:
    """Answers requests that may be grounded.

    Args:
        client: The retrieval service.
        owners: Reads whose the vector stores are, for those made since the last refresh.
        metrics: Where it is counted.
        limits: Deadline, hold-out and sizes.
        draw: Returns a random number from 0 to 1.
    """

    def __init__(
        self,
        client: Searcher,
        owners: Owners,
        metrics: RetrievalMetrics,
        limits: GroundingLimits,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._owners = owners
        self._metrics = metrics
        self._limits = limits
        self._draw = draw
        self._books = Books()
        self.everywhere = False

    def learn(self, books: Books) -> None:
        """Take over what the store says."""
        self._books = books
        self.everywhere = bool(books.policies)

    async def answer(self, task: Task, principal: Principal, forward: Forward) -> None:
        request = task.request
        if request.operation == "completion":
            await forward(task)
            return
        plan = self._books.plan(
            request.retrieval, principal.key_prefix, task.route.alias, task.route.release
        )
        if plan.policy.mode == "off":
            await forward(task)
            return
        stores = await self._stores(task, principal, plan)
        notes = Notes(plan.policy.mode)
        try:
            await self._answer(Request(task, plan, notes, self._limits), stores, forward)
        finally:
            task.served.retrieval = notes.encode()
            self._metrics.observe(notes)

    async def _answer(self, request: Request, stores: tuple[str, ...], forward: Forward) -> None:
        plan, notes, task = request.plan, request.notes, request.task
        found = await self._search(request, stores)
        if found is None:
            await self._plainly(request, forward)
            return
        request.hits = tuple(hit for hit in found.hits if hit.score >= plan.least_score)
        about = gate.topic_of(msgspec.structs.replace(found, hits=request.hits))
        notes.topic = topic_of(about[0]) if about else ""
        decision = before(plan.policy, found, plan.calibration, plan.health)
        notes.reason = decision.reason
        if not decision.retrieve:
            judged = asks_after(plan.policy, decision, plan.calibration)
            if not judged or task.request.operation != "chat":
                await self._plainly(request, forward)
                return
            try:
                await self._probed(request, forward)
                return
            except AskAgain:
                pass
        else:
            self._choose(request)
        if notes.outcome == "said_so":
            await self._say_so(request)
        elif notes.outcome == "grounded":
            await self._grounded(request, forward)
        else:
            await self._plainly(request, forward)

    async def _search(self, request: Request, stores: tuple[str, ...]) -> Found | None:
        """Search within the deadline; None, and noted, where there is no result."""
        plan, notes, call = request.plan, request.notes, request.task.call
        if not stores or not request.question:
            notes.reason = "no_stores" if request.question else "no_question"
            return None
        deadline = self._limits.deadline_s
        search = Search(
            query=request.question,
            collections=stores,
            limit=plan.policy.top_k,
            filters=plan.policy.filters,
            reference=plan.calibration.reference if plan.policy.mode == "auto" else None,
            areas=plan.drifted if plan.policy.mode == "auto" else (),
        )
        started = time.perf_counter()
        task = call.flow.loop.create_task(self._client.search(search, deadline_s=deadline))
        try:
            found = await call.flow.result_of(task, deadline + _SLACK_S)
        except (RetrievalUnavailable, TimeoutError) as error:
            late = not isinstance(error, RetrievalUnavailable) or error.late
            self._failed(request, "timeout" if late else "unavailable")
            return None
        except RetrievalFailed as error:
            _log.warning("retrieval: %s", error)
            self._failed(request, error.reason)
            return None
        notes.found(found, time.perf_counter() - started)
        return found

    def _failed(self, request: Request, why: str) -> None:
        request.notes.outcome, request.notes.reason = "failed", why
        self._metrics.failures.labels(why).inc()

    def _choose(self, request: Request) -> None:
        """Note how a request is answered for which there is a reason to retrieve."""
        plan, notes = request.plan, request.notes
        wanted = plan.policy.sufficient
        threshold = plan.calibration.sufficient if wanted is None else wanted
        enough = judge(request.question, request.hits, threshold)
        notes.sufficiency = round(enough.score, 3)
        if not enough.enough:
            notes.outcome = "said_so" if admits_ignorance(plan.policy, plan.health) else "plain"
            return
        notes.outcome = "grounded"
        if plan.policy.mode != "auto":
            return  # who says `always` gets it always
        notes.topic = topic_of(request.hits[max(0, enough.best)])
        notes.drawn = self._limits.holdout > 0
        drawn = self._draw() < self._limits.holdout
        if notes.topic in self._books.switched_off:
            notes.outcome = "grounded" if drawn else "switched_off"
        elif drawn:
            notes.outcome = "held_out"

    async def _plainly(self, request: Request, forward: Forward) -> None:
        request.announce()
        await forward(request.task)

    async def _probed(self, request: Request, forward: Forward) -> None:
        """Let the model answer; AskAgain where it was too unsure and something else is done."""
        task, notes = request.task, request.notes

        def again(nll: float | None) -> bool:
            notes.nll = None if nll is None else round(nll, 4)
            decision = after(nll, request.plan.calibration)
            notes.reason = decision.reason
            if decision.retrieve:
                self._choose(request)
            request.announce()
            return notes.outcome in ("grounded", "said_so")

        probe = Probe(again, strip=not wants_logprobs(task.request))
        task.editor = probe
        task.body = task.request.for_engine(task.route.release, request.prompt.with_logprobs())
        try:
            await forward(task)
        except AskAgain:
            notes.discarded_tokens = probe.tokens
            # Nothing of it was delivered, so nothing of it is paid.
            served = task.served
            served.ttft_s = served.prompt_tokens = served.completion_tokens = None
            served.finish_reason = None
            served.answer = b""
            task.frames = 0
            raise

    async def _grounded(self, request: Request, forward: Forward) -> None:
        """Let the model answer from the passages, and cite what they support."""
        task, notes = request.task, request.notes
        plain = task.request.for_engine(task.route.release)
        grounded, fields = request.prompt.ground(request.hits)
        if not grounded.hits_used:
            task.body, task.editor = plain, None
            self._failed(request, "no_room")
            await self._plainly(request, forward)
            return
        notes.used(grounded.hits_used)
        notes.injections = grounded.injections
        task.body = task.request.for_engine(task.route.release, fields)
        task.editor = self._editor(request, grounded.hits_used)
        request.announce()
        try:
            await forward(task)
        except InvalidRequest:
            # Too long with the passages, perhaps: the client's own request may well be right.
            if task.call.begun:
                raise
            task.body, task.editor = plain, None
            notes.used(())
            self._failed(request, "rejected")
            await self._plainly(request, forward)

    def _editor(self, request: Request, hits: tuple[Hit, ...]) -> Editor | None:
        if not is_text(request.task.request):
            return None
        nothing = self._limits.nothing
        citing = Citing(hits, request.question, request.plan.policy, request.notes, nothing)
        chat = request.task.request.operation == "chat"
        return ChatEditor(citing) if chat else ResponseEditor(citing)

    async def _say_so(self, request: Request) -> None:
        """Answer that the documents do not hold the answer, without asking an engine."""
        request.announce()
        task = request.task
        task.body = b""
        call, served = task.call, task.served
        served.prompt_tokens = served.completion_tokens = 0
        served.finish_reason, served.status = "stop", 200
        call.overhead_s = time.perf_counter() - call.started
        release, text = task.route.release, self._limits.nothing
        if task.request.stream:
            served.ttft_s = call.overhead_s
            served.answer = said.frames(task.request, served.completion_id, release, text)
            await call.frames(served.answer, _STORE_S)
            call.end()
        else:
            served.answer = said.whole(task.request, served.completion_id, release, text)
            call.whole(200, b"application/json", served.answer)
        served.outcome = "done"

    async def _stores(self, task: Task, principal: Principal, plan: Plan) -> tuple[str, ...]:
        """Return the vector stores to search: those that are the caller's to search.

        Raises:
            NotFound: The request names one that is not.
            InvalidRequest: It names none where one is needed.
        """
        wanted = plan.named or plan.granted
        owners = self._books.owners
        if any(name not in owners for name in wanted):
            owners = await self._read_owners(task, owners)
        for name in plan.named:
            if name not in owners or not may_name(principal, owners[name]):
                raise NotFound(
                    f"There is no vector store `{name}`.",
                    code="vector_store_not_found",
                    param="retrieval.vector_store_ids",
                )
        if plan.policy.mode == "always" and not wanted and task.request.retrieval is not None:
            raise InvalidRequest(
                "Name the vector stores to search in `retrieval.vector_store_ids`.",
                code="missing_field",
                param="retrieval.vector_store_ids",
            )
        granted = [n for n in plan.granted if n in owners and is_granted(principal, owners[n])]
        return plan.named or tuple(granted)

    async def _read_owners(
        self, task: Task, known: Mapping[str, str | None]
    ) -> Mapping[str, str | None]:
        flow = task.call.flow
        try:
            return await flow.result_of(flow.loop.create_task(_awaited(self._owners())), _STORE_S)
        except (StoreError, TimeoutError) as error:
            _log.warning("vector stores cannot be read: %s", error)
            return known


async def _awaited(reading: Awaitable[Mapping[str, str | None]]) -> Mapping[str, str | None]:
    return await reading


def topic_of(hit: Hit) -> str:
    """Return what the benefit is counted by: the document's `topic`, where its metadata has one."""
    topic = hit.document.metadata.get("topic")
    return f"{hit.collection}/{topic}"[:200] if isinstance(topic, str) else hit.collection
