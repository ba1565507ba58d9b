"""`/v1/rollouts`: a release on its way to an alias, followed and steered by people.

For keys with `admin`. Nothing here moves an alias: a rollout is a row that a worker (`driftgate
worker`) carries out. People write that it is to pause, to go on or to end, and that they approve.
The plan's fields are the worker's to read (`training.rollout.plan`): a rollout whose plan it cannot
use ends at once and says why.
"""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.api.access import principal_of
from gateway.api.aliases import unknown_alias, who
from gateway.api.files import listed, no_cursor
from gateway.auth import KeyRing, Principal
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.store.database import Database
from gateway.store.releases import Releases
from gateway.store.rollouts import Rollout, Rollouts
from gateway.store.steering import CannotSteer, Steering

_Id = Annotated[str, Path(max_length=64, pattern=r"^[^\x00]+$")]
_After = Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")]
_Alias = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
_Limit = Annotated[int, Query(ge=1, le=100)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
_Text = Annotated[str, StringConstraints(max_length=20_000, pattern=r"^[^\x00]*$")]
_Value = bool | int | Annotated[float, Field(allow_inf_nan=False)] | _Text | None
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "No such rollout."}}


class RolloutRequest(BaseModel):
    """A rollout to be started."""

    model_config = ConfigDict(extra="forbid")

    alias: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")
    candidate: str = Field(
        min_length=1, max_length=200, pattern=r"^[^\x00]*$", description="The release."
    )
    plan: dict[_Name, _Value | Annotated[list[_Value], Field(max_length=1000)]] = Field(
        default_factory=dict,
        max_length=100,
        description="Stages, shares, limits; each has a default.",
    )


def router(keys: KeyRing, database: Database) -> APIRouter:
    """Return the routes of rollouts."""
    caller = Annotated[Principal, Depends(principal_of(keys, "admin"))]
    api = APIRouter(prefix="/v1/rollouts", tags=["rollouts"])
    rollouts, steering, releases = Rollouts(database), Steering(database), Releases(database)

    @api.post("", summary="Start a rollout")
    def create(body: RolloutRequest, principal: caller) -> dict[str, Any]:
        try:
            return rollout_object(
                steering.start(body.alias, body.candidate, body.plan, by=who(principal))
            )
        except CannotSteer as error:
            if error.code == "alias_not_found":
                raise unknown_alias(body.alias, releases.aliases()) from None
            raise _refusal(error) from None

    @api.get("", summary="List rollouts")
    def listing(
        _: caller, alias: _Alias = None, after: _After = None, limit: _Limit = 20
    ) -> dict[str, Any]:
        try:
            found, more = rollouts.page(alias=alias, after=after or None, limit=limit)
        except KeyError:
            raise no_cursor("rollout", after) from None
        return listed([rollout_object(rollout) for rollout in found], more)

    @api.get("/{rollout_id}", summary="Show a rollout and its evidence", responses=_UNKNOWN)
    def retrieve(rollout_id: _Id, _: caller) -> dict[str, Any]:
        rollout = rollouts.get(rollout_id)
        if rollout is None:
            raise _refusal(CannotSteer("rollout_not_found", f"There is no rollout `{rollout_id}`."))
        return rollout_object(rollout)

    def steered(step: str, summary: str) -> None:
        @api.post(
            f"/{{rollout_id}}/{step}",
            summary=summary,
            responses=_UNKNOWN,
            operation_id=f"{step}_rollout",
        )
        def steer(rollout_id: _Id, principal: caller) -> dict[str, Any]:
            try:
                return rollout_object(steering.steer(rollout_id, step, by=who(principal)))
            except CannotSteer as error:
                raise _refusal(error) from None

    steered("pause", "Let it stand where it is")
    steered("resume", "Let a paused rollout go on")
    steered("approve", "Approve the promotion, before it is asked for or when it is")
    steered("abort", "End it, and serve the old release alone")
    return api


def rollout_object(rollout: Rollout) -> dict[str, Any]:
    """Return a rollout as it is shown."""
    return {"object": "rollout", **asdict(rollout)}


def _refusal(error: CannotSteer) -> Exception:
    if error.code == "rollout_not_found":
        return NotFound(str(error), code=error.code, param="rollout_id")
    kind = Conflict if error.param is None else InvalidRequest
    return kind(str(error), code=error.code, param=error.param)
