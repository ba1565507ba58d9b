"""`/v1/fine_tuning/jobs` in OpenAI's shape: make, follow and stop the training of a new release.

https://platform.openai.com/docs/api-reference/fine-tuning. A job is a row that a worker
(`driftgate worker`) takes up. It belongs to the key that made it; a key with `admin` sees all.
Beside OpenAI's fields there is `driftgate` (the official client's `extra_body`):

    {"driftgate": {"recipe": "tiny-cpu", "set": {"epochs": 2}, "alias": "candidate"}}
"""

import secrets
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from gateway.api.access import owner_of, principal_of
from gateway.api.files import known as known_file
from gateway.api.files import listed, no_cursor
from gateway.api.fine_tuning_shapes import (
    CANDIDATE,
    JobRequest,
    checkpoint_object,
    event_object,
    job_object,
)
from gateway.auth import KeyRing, Principal
from gateway.errors import InvalidRequest, NotFound, PermissionDenied
from gateway.routing import Routes
from gateway.store.files import Files
from gateway.store.job_events import JobEvents
from gateway.store.jobs import CANCELLED, LIVE, PAUSED, QUEUED, Job, Jobs, job_id
from gateway.store.releases import Release

_Id = Annotated[str, Path(max_length=64, pattern=r"^[^\x00]+$")]
_After = Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")]
_Limit = Annotated[int, Query(ge=1, le=100)]


def router(keys: KeyRing, routes: Routes, files: Files, jobs: Jobs, events: JobEvents) -> APIRouter:
    """Return the routes of fine-tuning jobs; the scope is `training`."""
    caller = Annotated[Principal, Depends(principal_of(keys, "training"))]
    api = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["fine-tuning"])
    unknown: dict[int | str, dict[str, Any]] = {404: {"description": "No such job."}}

    def known(id: str, principal: Principal) -> Job:
        job = jobs.get(id)
        owner = owner_of(principal)
        if job is None or (owner is not None and job.key_prefix != owner):
            raise NotFound(
                f"There is no fine-tuning job `{id}`.",
                code="job_not_found",
                param="fine_tuning_job_id",
            )
        return job

    def shown(job: Job) -> dict[str, Any]:
        return job_object(job, events.workers())

    def moved(id: str, principal: Principal, status: str, among: frozenset[str], told: str) -> Any:
        job = known(id, principal)
        if jobs.move(id, status, among):
            events.add(id, told)
        else:
            job = known(id, principal)
            if job.status != status:
                raise InvalidRequest(
                    f"The job is {job.status}; it cannot be {status} any more."
                    if status != QUEUED
                    else f"The job is {job.status}, not paused.",
                    code="invalid_job_state",
                    param="fine_tuning_job_id",
                )
        return shown(known(id, principal))

    @api.post("", summary="Make a fine-tuning job")
    def create(body: JobRequest, principal: caller) -> dict[str, Any]:
        if body.integrations:
            raise InvalidRequest(
                "Integrations are not supported; leave `integrations` out.",
                code="unsupported_field",
                param="integrations",
            )
        alias = body.driftgate.alias
        if alias not in (None, CANDIDATE) and "admin" not in principal.scopes:
            raise PermissionDenied(
                f"Another alias than `{CANDIDATE}` needs a key with the scope `admin`.",
                code="insufficient_scope",
                param="driftgate.alias",
            )
        base = _base(routes, body.model)
        for param in ("training_file", "validation_file"):
            _check_file(files, getattr(body, param), param, principal)
        job = jobs.add(
            Job(
                id=job_id(),
                key_prefix=principal.key_prefix,
                created_at=time.time(),
                model=body.model,
                base_release=base.id,
                training_file=body.training_file,
                validation_file=body.validation_file,
                hyperparameters=body.chosen_hyperparameters(),
                seed=secrets.randbelow(2**31) if body.seed is None else body.seed,
                suffix=body.suffix,
                metadata=body.metadata or {},
                recipe=body.driftgate.recipe,
                overrides=body.driftgate.set,
                alias=alias,
            )
        )
        events.add(job.id, f"Created fine-tuning job: {job.id}")
        return shown(job)

    @api.get("", summary="List fine-tuning jobs")
    def listing(principal: caller, after: _After = None, limit: _Limit = 20) -> dict[str, Any]:
        try:
            found, more = jobs.page(owner=owner_of(principal), after=after, limit=limit)
        except KeyError:
            raise no_cursor("job", after) from None
        workers = events.workers()
        return listed([job_object(job, workers) for job in found], more)

    @api.get("/{fine_tuning_job_id}", summary="Show a job", responses=unknown)
    def retrieve(fine_tuning_job_id: _Id, principal: caller) -> dict[str, Any]:
        return shown(known(fine_tuning_job_id, principal))

    @api.post("/{fine_tuning_job_id}/cancel", summary="Cancel a job", responses=unknown)
    def cancel(fine_tuning_job_id: _Id, principal: caller) -> Any:
        among = LIVE | {PAUSED}
        return moved(fine_tuning_job_id, principal, CANCELLED, among, "The job was cancelled.")

    @api.post("/{fine_tuning_job_id}/pause", summary="Pause a job", responses=unknown)
    def pause(fine_tuning_job_id: _Id, principal: caller) -> Any:
        return moved(fine_tuning_job_id, principal, PAUSED, LIVE, "The job was paused.")

    @api.post("/{fine_tuning_job_id}/resume", summary="Go on with a paused job", responses=unknown)
    def resume(fine_tuning_job_id: _Id, principal: caller) -> Any:
        among = frozenset({PAUSED})
        return moved(fine_tuning_job_id, principal, QUEUED, among, "The job goes on.")

    @api.get("/{fine_tuning_job_id}/events", summary="List a job's events", responses=unknown)
    def list_events(
        fine_tuning_job_id: _Id, principal: caller, after: _After = None, limit: _Limit = 20
    ) -> dict[str, Any]:
        known(fine_tuning_job_id, principal)
        try:
            found, more = events.page(fine_tuning_job_id, after=after, limit=limit)
        except KeyError:
            raise no_cursor("event", after) from None
        return listed([event_object(event) for event in found], more)

    @api.get(
        "/{fine_tuning_job_id}/checkpoints", summary="List a job's checkpoints", responses=unknown
    )
    def list_checkpoints(
        fine_tuning_job_id: _Id, principal: caller, after: _After = None, limit: _Limit = 10
    ) -> dict[str, Any]:
        known(fine_tuning_job_id, principal)
        try:
            found, more = events.checkpoints(fine_tuning_job_id, after=after, limit=limit)
        except KeyError:
            raise no_cursor("checkpoint", after) from None
        return listed([checkpoint_object(checkpoint) for checkpoint in found], more)

    return api


def _base(routes: Routes, model: str) -> Release:
    """Return the release to train on; of an alias the one with most traffic.

    Raises:
        NotFound: No alias and no release has this name.
        InvalidRequest: It has no weights here.
    """
    live = [t for t in routes.aliases.get(model, ()) if t.mode == "live"]
    name = max(live, key=lambda target: target.weight).release if live else model
    release = routes.releases.get(name)
    if release is None:
        names = ", ".join(f"`{n}`" for n in sorted({*routes.aliases, *routes.releases})[:20])
        raise NotFound(
            f"The model `{model}` does not exist. Known: {names or 'none yet'}.",
            code="model_not_found",
            param="model",
        )
    if not release.path:
        raise InvalidRequest(
            f"`{model}` has no weights to train; it is a stub.",
            code="model_not_trainable",
            param="model",
        )
    return release


def _check_file(files: Files, id: str | None, param: str, principal: Principal) -> None:
    """Raise InvalidRequest, naming `param`, unless the caller may train with this file."""
    if id is None:
        return
    try:
        file = known_file(files, id, principal)
    except NotFound as error:
        raise InvalidRequest(error.message, code="file_not_found", param=param) from error
    allowed = ("fine-tune",) if param == "training_file" else ("fine-tune", "evals")
    if file.purpose not in allowed:
        raise InvalidRequest(
            f"`{id}` was uploaded for `{file.purpose}`; a {param.replace('_', ' ')} needs the "
            f"purpose {' or '.join(f'`{purpose}`' for purpose in allowed)}.",
            code="invalid_file_purpose",
            param=param,
        )
