"""Traffic: find requests, follow one on its whole way, say what its answer should have been."""

import hashlib
import time
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, Query, Request, Response

from gateway.console.access import Changing, Looking
from gateway.console.parts import Parts
from gateway.console.texts import answer_of, question_of, turns_of
from gateway.errors import InvalidRequest, NotFound
from gateway.store.database import StoreError
from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.overview import Overview
from gateway.store.releases import Releases
from gateway.store.traffic import Traffic, TrafficRecord
from gateway.store.traffic_search import RATED, TrafficSearch, Wanted

_PAGE = 50
_Word = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]
_Text = Annotated[str, Form(max_length=100_000)]
OUTCOMES = ("done", "error", "truncated", "cancelled")


@dataclass(frozen=True, slots=True)
class Step:
    """A step on the way of a request: what was done, and for how long, as shares of the whole."""

    name: str
    seconds: float
    begin: float
    share: float


def router(parts: Parts) -> APIRouter:
    """Return the routes of traffic."""
    pages = APIRouter(prefix="/traffic")
    search, traffic = TrafficSearch(parts.database), Traffic(parts.database)
    log, releases = FeedbackLog(parts.database), Releases(parts.database)

    def known(id: str) -> TrafficRecord:
        record = traffic.get(id)
        if record is None:
            raise NotFound(
                f"There is no request `{id}`: it was never here, is older than the log keeps, or "
                "is still on its way into it."
            )
        return record

    @pages.get("")
    def listing(
        request: Request,
        viewer: Looking,
        text: _Word = "",
        alias: _Word = "",
        release: _Word = "",
        outcome: _Word = "",
        key: _Word = "",
        rated: _Word = "any",
        slower: _Word = "",
        before: _Word = "",
    ) -> Response:
        fields = {
            "text": text.strip(), "alias": alias, "release": release, "outcome": outcome,
            "key": key, "rated": rated, "slower": slower,
        }  # fmt: skip
        wanted = Wanted(
            fields["text"], alias, release, outcome, key, rated, _seconds(slower), _place(before)
        )
        found, more = search.find(wanted, _PAGE)
        chosen = {name: value for name, value in fields.items() if value and value != "any"}
        last = found[-1] if found and more else None
        return parts.pages.show(
            request,
            viewer,
            "traffic.html",
            records=[(record, question_of(record), answer_of(record)) for record in found],
            fields=fields,
            is_narrowed=bool(chosen),
            aliases=sorted(releases.aliases()),
            releases=[each.id for each in reversed(releases.all())],
            outcomes=OUTCOMES,
            ratings=RATED,
            keys=Overview(parts.database).key_names(),
            further=None
            if last is None
            else urlencode(chosen | {"before": f"{last.created_at!r}~{last.completion_id}"}),
        )

    @pages.get("/{id}")
    def one(request: Request, viewer: Looking, id: str) -> Response:
        record = known(id)
        return parts.pages.show(
            request,
            viewer,
            "request.html",
            record=record,
            turns=turns_of(record),
            answer=answer_of(record),
            steps=steps(record),
            notes=record.retrieval or {},
            feedback=log.of(record.completion_id),
            mirrors=[(m, answer_of(m)) for m in search.mirror_of(record.completion_id)],
            key_name=Overview(parts.database).key_names().get(record.key_prefix or "", ""),
            now=time.time(),
        )

    @pages.post("/{id}/feedback")
    def say(
        viewer: Changing,
        id: str,
        score: Annotated[str, Form(pattern="^(|0|1)$")] = "",
        correction: _Text = "",
        comment: Annotated[str, Form(max_length=10_000)] = "",
        made: Annotated[str, Form(max_length=40)] = "",
    ) -> Response:
        record = known(id)
        if record.shadow_of:
            raise InvalidRequest("Nobody saw this answer: it was mirrored.")
        words = correction.replace("\r\n", "\n").strip()
        if not score and not words:
            raise InvalidRequest("Say whether it was good, or what it should have been.")
        feedback = Feedback(
            feedback_id(viewer.key, id, made, score, words),
            id,
            viewer.key,
            time.time(),
            float(score) if score else None,
            None,
            words or None,
            comment.strip() or None,
            {"from": "console"},
        )
        back = f"/traffic/{quote(id, safe='')}#feedback"
        if not note(log, feedback):
            return parts.pages.told(back, "This was noted already.", "no")
        return parts.pages.told(back, "Noted. It counts from the next retraining on.")

    return pages


def steps(record: TrafficRecord) -> list[Step]:
    """Return the way of a request through the gateway, in the order of time, as far as it is known.

    Searching comes before the first token, so it is taken from that time.
    """
    whole = max(record.duration_s, 1e-9)
    search = (record.retrieval or {}).get("search_s")
    known: list[tuple[str, float]] = []
    if isinstance(search, int | float):
        known.append(("search of documents", min(float(search), whole)))
    before = sum(seconds for _, seconds in known)
    if record.ttft_s is not None:
        known.append(("to the first token", max(record.ttft_s - before, 0.0)))
        known.append(("the other tokens", max(record.duration_s - record.ttft_s, 0.0)))
    else:
        known.append(("answer, in one piece", max(record.duration_s - before, 0.0)))
    found, begin = [], 0.0
    for name, seconds in known:
        found.append(Step(name, seconds, begin / whole, min(seconds / whole, 1 - begin / whole)))
        begin += seconds
    return found


def note(log: FeedbackLog, feedback: Feedback) -> bool:
    """Write feedback once, whoever writes the same at the same time; returns whether it is new."""

    def is_known() -> bool:
        return any(each.id == feedback.id for each in log.of(feedback.completion_id))

    if is_known():
        return False
    try:
        log.add(feedback)
    except StoreError:
        if is_known():
            return False
        raise
    return True


def feedback_id(*parts: str) -> str:
    """Return an id that is the same when a form is sent twice."""
    return f"fb_{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:24]}"


def _seconds(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise InvalidRequest(f"slower: {text!r} is no number of seconds.") from None


def _place(text: str) -> tuple[float, str] | None:
    at, _, id = text.partition("~")
    try:
        return (float(at), id) if text else None
    except ValueError:
        raise InvalidRequest("before: this is no place in the log.") from None
