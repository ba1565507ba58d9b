"""Jobs: fine-tuning jobs, the loss curve of each while it trains, what it told, what it left."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Path, Request, Response

from gateway.console import drawing
from gateway.console.access import Changing, Looking
from gateway.console.drawing import Series
from gateway.console.parts import Parts
from gateway.errors import Conflict, NotFound
from gateway.store.job_events import JobEvent, JobEvents
from gateway.store.jobs import CANCELLED, LIVE, OVER, PAUSED, QUEUED, Job, Jobs

_PAGE = 500
_MOST_EVENTS = 5000
_SHOWN_EVENTS = 40
# What a person may do: the states it is done from, the state it leads to, what is told.
_STEPS = {
    "pause": (LIVE, PAUSED, "The job was paused."),
    "resume": (frozenset({PAUSED}), QUEUED, "The job goes on."),
    "cancel": (LIVE | {PAUSED}, CANCELLED, "The job was cancelled."),
}


class Progress(NamedTuple):
    """How far a training is: steps done and planned, tokens a second, losses; None: not known."""

    step: int | None
    total: int | None
    tokens_per_s: float | None
    train_loss: float | None
    valid_loss: float | None

    @property
    def share(self) -> float | None:
        """Of the steps that are done."""
        return self.step / self.total if self.step is not None and self.total else None


def router(parts: Parts) -> APIRouter:
    """Return the routes of jobs."""
    pages = APIRouter(prefix="/jobs")
    jobs, events = Jobs(parts.database), JobEvents(parts.database)

    def known(id: str) -> Job:
        job = jobs.get(id)
        if job is None:
            raise NotFound(f"There is no job `{id}`.")
        return job

    @pages.get("")
    def listing(request: Request, viewer: Looking, after: str = "") -> Response:
        try:
            found, more = jobs.page(after=after or None, limit=50)
        except KeyError:
            raise NotFound(f"There is no job `{after}`.") from None
        return parts.pages.show(
            request, viewer, "jobs.html", jobs=found, more=more, workers=events.workers()
        )

    def shown(job: Job) -> dict[str, Any]:
        told = list(_every(events, job.id))
        files = [file for id in job.result_files if (file := parts.files.get(id)) is not None]
        return {
            "job": job,
            "curve": curve(told),
            "progress": progress(told),
            "events": [event for event in reversed(told) if event.type != "metrics"][
                :_SHOWN_EVENTS
            ],
            "files": files,
            "is_over": job.status in OVER,
            "workers": events.workers(),
        }

    @pages.get("/{id}")
    def one(request: Request, viewer: Looking, id: str) -> Response:
        return parts.pages.show(request, viewer, "job.html", **shown(known(id)))

    @pages.get("/{id}/live")
    def live(request: Request, viewer: Looking, id: str) -> Response:
        job = jobs.get(id)
        if job is None:  # it has vanished under an open page
            raise NotFound("This job is not there any more.")
        answer = parts.pages.show(request, viewer, "part_job.html", **shown(job))
        if job.status in OVER:
            answer.headers["hx-refresh"] = "true"
        return answer

    @pages.post("/{id}/{step}")
    def steer(
        viewer: Changing, id: str, step: Annotated[str, Path(pattern="^(pause|resume|cancel)$")]
    ) -> Response:
        job = known(id)
        among, status, told = _STEPS[step]
        if jobs.move(id, status, among):
            events.add(id, told)
            return parts.pages.told(f"/jobs/{id}", told)
        if job.status == status:
            return parts.pages.told(f"/jobs/{id}", f"It is {status} already.", "no")
        raise Conflict(f"The job is {job.status}: it cannot {step} any more.")

    return pages


def _every(events: JobEvents, job: str) -> Iterator[JobEvent]:
    """Return the events of a job, the oldest first; of very many the newest."""
    found: list[JobEvent] = []
    more, after = True, None
    while more and len(found) < _MOST_EVENTS:
        page, more = events.page(job, after=after, limit=_PAGE)
        found += page
        after = page[-1].id if page else None
    return reversed(found)


def _values(events: Sequence[JobEvent], name: str) -> list[tuple[float, float]]:
    return [
        (float(event.data["step"]), float(event.data[name]))
        for event in events
        if event.data
        and isinstance(event.data.get("step"), int | float)
        and isinstance(event.data.get(name), int | float)
        and math.isfinite(event.data[name])
    ]


def curve(events: Sequence[JobEvent]) -> str:
    """Return the losses of a training as a picture, or nothing before there are any."""
    train, valid = _values(events, "train_loss"), _values(events, "valid_loss")
    series = [
        Series(name, points, css)
        for name, points, css in (("training", train, "s1"), ("validation", valid, "s2"))
        if points
    ]
    if not series:
        return ""
    label = "Loss over optimiser steps: " + ", ".join(
        f"{each.name} {each.points[-1][1]:.3f} at step {each.points[-1][0]:.0f}" for each in series
    )
    return drawing.chart(series, label, x_name="steps")


def progress(events: Sequence[JobEvent]) -> Progress:
    """Return how far the training is, by its last events."""

    def last(name: str) -> Any:
        return next((e.data[name] for e in reversed(events) if e.data and name in e.data), None)

    return Progress(
        last("step"), last("total_steps"), last("tokens_per_s"), last("train_loss"),
        last("valid_loss"),
    )  # fmt: skip
