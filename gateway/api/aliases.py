"""`/v1/aliases`: where aliases point, how they are, and what a person may do with them at once.

For keys with `admin`. A rollback is written to the store in one transaction, and every worker of
every host takes it over with its next reading (`DRIFTGATE_REFRESH_S`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.access import principal_of
from gateway.api.files import listed
from gateway.api.retraining import request_object
from gateway.auth import KeyRing, Principal
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.store.database import Database
from gateway.store.engines import Engines, EngineState
from gateway.store.health import AliasHealth, Healths
from gateway.store.overview import Overview
from gateway.store.releases import AliasMove, Releases, Target, leading
from gateway.store.retraining import Retraining
from gateway.store.rollback import CannotRollBack, Rollback
from gateway.store.rollouts import LIVE, Rollout, Rollouts

_SHOWN_MOVES = 20
_Alias = Annotated[str, Path(max_length=200, pattern=r"^[^\x00]+$")]
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "No such alias."}}


class RollbackRequest(BaseModel):
    """Why, and how, an alias is rolled back."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")
    release: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00]*$",
        description="The release that is to go; naming it makes a repetition harmless.",
    )
    force: bool = Field(False, description="Go back to a release without a ready engine, too.")


class RetrainRequest(BaseModel):
    """Why an alias is to be retrained."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")


class _Seen:
    """The store as it is now, read once for all aliases of an answer."""

    def __init__(self, database: Database) -> None:
        self.targets: Mapping[str, tuple[Target, ...]] = Releases(database).aliases()
        self._ready = Counter(
            engine.release
            for engine in Engines(database).all()
            if engine.state is EngineState.READY
        )
        self._health = {health.alias: health for health in Healths(database).all()}
        self._rollouts = {each.alias: each for each in Rollouts(database).all(among=LIVE)}
        self._changed = {t.alias: t.changed_at for t in Overview(database).targets()}

    def alias(self, name: str) -> dict[str, Any]:
        rollout = self._rollouts.get(name)
        return {
            "id": name,
            "object": "alias",
            "changed_at": self._changed.get(name),
            "targets": [
                {
                    "release": target.release,
                    "weight": target.weight,
                    "mode": target.mode,
                    "ready_engines": self._ready[target.release],
                }
                for target in self.targets[name]
            ],
            "health": _health(self._health.get(name)),
            "rollout": None if rollout is None else _under_way(rollout),
        }


def router(keys: KeyRing, database: Database) -> APIRouter:
    """Return the routes of aliases."""
    caller = Annotated[Principal, Depends(principal_of(keys, "admin"))]
    api = APIRouter(prefix="/v1/aliases", tags=["rollouts"])
    releases, requests, rollback = Releases(database), Retraining(database), Rollback(database)

    def shown(alias: str) -> dict[str, Any]:
        seen = _Seen(database)
        if alias not in seen.targets:
            raise unknown_alias(alias, seen.targets)
        moves = [_move(move) for move in releases.moves(alias, _SHOWN_MOVES)]
        return seen.alias(alias) | {"moves": moves}

    @api.get("", summary="List aliases")
    def listing(_: caller) -> dict[str, Any]:
        seen = _Seen(database)
        return listed([seen.alias(name) for name in sorted(seen.targets)], more=False)

    @api.get("/{alias}", summary="Show an alias and its last moves", responses=_UNKNOWN)
    def retrieve(alias: _Alias, _: caller) -> dict[str, Any]:
        return shown(alias)

    @api.post("/{alias}/rollback", summary="Serve again what was served before", responses=_UNKNOWN)
    def roll_back(alias: _Alias, body: RollbackRequest, principal: caller) -> dict[str, Any]:
        try:
            done = rollback.roll_back(
                alias,
                by=who(principal),
                why=body.reason,
                release=body.release,
                force=body.force,
            )
        except CannotRollBack as error:
            raise _refusal(error) from None
        told = {
            "gone": done.gone,
            "moved": done.moved,
            "aborted_rollout": done.aborted,
            "undone_rollout": done.undone,
        }
        return shown(alias) | {"rollback": told}

    @api.post("/{alias}/retrain", summary="Ask for a new release", responses=_UNKNOWN)
    def retrain(alias: _Alias, body: RetrainRequest, principal: caller) -> dict[str, Any]:
        targets = releases.aliases()
        release = leading(targets.get(alias, ()))
        if release is None:
            raise unknown_alias(alias, targets)
        request, new = requests.open(alias, release, body.reason, "person", {"by": who(principal)})
        return request_object(request) | {"new": new}

    return api


def who(principal: Principal) -> str:
    """Return how a caller is named in the store, for people."""
    return f"key {principal.key_prefix}"


def unknown_alias(alias: str, known: Mapping[str, object], param: str = "alias") -> NotFound:
    """Return the error of an alias that there is not, which names those that there are."""
    names = ", ".join(f"`{name}`" for name in sorted(known)[:20])
    return NotFound(
        f"There is no alias `{alias}`. Known: {names or 'none yet'}.",
        code="alias_not_found",
        param=param,
    )


def _refusal(error: CannotRollBack) -> Exception:
    if error.code == "alias_not_found":
        return NotFound(str(error), code=error.code, param="alias")
    if error.code == "release_not_found":
        return InvalidRequest(str(error), code=error.code, param="release")
    return Conflict(str(error), code=error.code)


def _health(health: AliasHealth | None) -> dict[str, Any]:
    if health is None:
        return {"state": "HEALTHY", "since": None, "evidence": {}}
    return {"state": health.state, "since": health.since, "evidence": health.evidence}


def _under_way(rollout: Rollout) -> dict[str, Any]:
    return {
        "id": rollout.id,
        "candidate": rollout.candidate,
        "status": rollout.status,
        "stage": rollout.stage,
    }


def _move(move: AliasMove) -> dict[str, Any]:
    def targets(of: Sequence[Target]) -> list[dict[str, Any]]:
        return [{"release": t.release, "weight": t.weight, "mode": t.mode} for t in of]

    return {
        "before": targets(move.before),
        "after": targets(move.after),
        "by": move.by,
        "why": move.why,
        "at": move.at,
    }
