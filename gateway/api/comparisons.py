"""`/v1/comparisons`: blind comparisons of two releases by people, for keys with `admin`.

What raters see and say has pages of its own (`gateway.rating`), which an invite opens.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from gateway.api.access import principal_of
from gateway.api.aliases import who
from gateway.api.files import listed, no_cursor
from gateway.auth import KeyRing, Principal
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.store.comparison_files import FORMATS, jsonl, rows, table
from gateway.store.comparisons import CRITERIA, Comparison, ComparisonInvalid, Comparisons, Item
from gateway.store.database import Database
from gateway.store.raters import DAY_S, Invite, Raters
from gateway.store.releases import Releases

LINK = "/compare"
_Id = Annotated[str, Path(max_length=64, pattern=r"^[^\x00]+$")]
_After = Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")]
_Alias = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
_Limit = Annotated[int, Query(ge=1, le=100)]
_Text = Annotated[str, StringConstraints(max_length=400_000)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "No such comparison."}}


class Asked(BaseModel):
    """A conversation, as `prompt` (one turn of a user) or `messages`."""

    model_config = ConfigDict(extra="forbid")

    prompt: _Text | None = None
    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _is_one_of_them(self) -> "Asked":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("an item has a `prompt` or `messages`, and not both")
        return self

    def turns(self) -> list[dict[str, Any]]:
        """Return the conversation."""
        return self.messages or [{"role": "user", "content": self.prompt}]


class CompareItem(Asked):
    """A conversation and the answers of both releases to it."""

    baseline: _Text
    candidate: _Text


class GoldItem(Asked):
    """A conversation and two answers of which it is known which is the better one."""

    good: _Text
    bad: _Text


class ComparisonRequest(BaseModel):
    """A comparison to be made."""

    model_config = ConfigDict(extra="forbid")

    name: _Name = Field(description="What raters read at the top.")
    alias: _Name | None = Field(None, description="Where the candidate is to be served.")
    baseline: _Name = Field(description="The release that is served.")
    candidate: _Name = Field(description="The release that may take its place.")
    items: list[CompareItem] = Field(min_length=1, max_length=5000)
    gold: list[GoldItem] = Field(default_factory=list, max_length=500)
    criteria: list[str] = Field(default=list(CRITERIA), max_length=6)
    guidance: str = Field("", max_length=10_000, description="What raters are told first.")
    raters: int = Field(3, ge=3, le=25, description="Votes that decide an item.")
    margin: _Finite = Field(0.15, gt=0, lt=1, description="By how much it may be worse.")
    alpha: _Finite = Field(0.05, gt=0, le=0.5, description="Chance of a wrong verdict.")
    gold_accuracy: _Finite = Field(0.7, ge=0, le=1)
    stops_early: bool = Field(True, description="Close it once the verdict is there.")


class InviteRequest(BaseModel):
    """A person to be invited."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")
    lasts_s: _Finite = Field(14 * DAY_S, ge=60, le=366 * DAY_S)


class CloseRequest(BaseModel):
    """Why a comparison takes no more votes."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=2000)


def router(keys: KeyRing, database: Database) -> APIRouter:
    """Return the routes of comparisons."""
    caller = Annotated[Principal, Depends(principal_of(keys, "admin"))]
    api = APIRouter(prefix="/v1/comparisons", tags=["comparisons"])
    comparisons, raters, releases = Comparisons(database), Raters(database), Releases(database)

    def known(id: str) -> Comparison:
        found = comparisons.get(id)
        if found is None:
            raise NotFound(
                f"There is no comparison `{id}`.", code="comparison_not_found",
                param="comparison_id",
            )  # fmt: skip
        return found

    @api.post("", summary="Make a comparison of answers that are there already")
    def create(body: ComparisonRequest, principal: caller) -> dict[str, Any]:
        for field in ("baseline", "candidate"):
            if releases.get(getattr(body, field)) is None:
                raise NotFound(
                    f"There is no release `{getattr(body, field)}`.", code="release_not_found",
                    param=field,
                )  # fmt: skip
        items = [Item(0, each.turns(), each.baseline, each.candidate) for each in body.items]
        items += [Item(0, each.turns(), each.bad, each.good, True) for each in body.gold]
        fields = body.model_dump(exclude={"items", "gold"})
        try:
            made = comparisons.add(Comparison(**fields, created_by=who(principal)), items)
        except ComparisonInvalid as error:
            raise InvalidRequest(f"{error}.", code="invalid_comparison") from None
        return comparison_object(made)

    @api.get("", summary="List comparisons")
    def listing(
        _: caller, alias: _Alias = None, after: _After = None, limit: _Limit = 20
    ) -> dict[str, Any]:
        try:
            found, more = comparisons.page(alias=alias, after=after or None, limit=limit)
        except KeyError:
            raise no_cursor("comparison", after) from None
        return listed([comparison_object(each) for each in found], more)

    @api.get("/{comparison_id}", summary="Show what a comparison has shown", responses=_UNKNOWN)
    def retrieve(comparison_id: _Id, _: caller) -> dict[str, Any]:
        return comparison_object(known(comparison_id), raters.invites(comparison_id))

    @api.post("/{comparison_id}/invites", summary="Invite a rater", responses=_UNKNOWN)
    def invite(
        comparison_id: _Id, body: InviteRequest, principal: caller, request: Request
    ) -> dict[str, Any]:
        found = known(comparison_id)
        if found.closed_at is not None:
            raise Conflict(f"`{comparison_id}` is closed.", code="comparison_closed")
        try:
            made, token = raters.invite(
                comparison_id, body.name, by=who(principal), lasts_s=body.lasts_s
            )
        except ValueError as error:
            raise InvalidRequest(f"{error}.".capitalize(), code="invalid_invite") from None
        url = f"{str(request.base_url).rstrip('/')}{LINK}/{token}"
        return invite_object(made) | {"token": token, "url": url}

    @api.post(
        "/{comparison_id}/invites/{invite_id}/revoke", summary="Revoke an invite",
        responses=_UNKNOWN,
    )  # fmt: skip
    def revoke(comparison_id: _Id, invite_id: _Id, _: caller) -> dict[str, Any]:
        found = raters.get(invite_id)
        if found is None or found.comparison != comparison_id:
            raise NotFound(
                f"`{comparison_id}` has no invite `{invite_id}`.", code="invite_not_found",
                param="invite_id",
            )  # fmt: skip
        raters.revoke(invite_id)
        return invite_object(raters.get(invite_id) or found)

    @api.post("/{comparison_id}/close", summary="Take no more votes", responses=_UNKNOWN)
    def close(comparison_id: _Id, body: CloseRequest, principal: caller) -> dict[str, Any]:
        known(comparison_id)
        comparisons.close(comparison_id, by=who(principal), why=body.reason)
        return comparison_object(known(comparison_id))

    @api.get(
        "/{comparison_id}/export", summary="Download the votes", responses=_UNKNOWN,
        response_class=Response,
    )  # fmt: skip
    def export(
        comparison_id: _Id, _: caller, format: Literal["jsonl", "csv"] = "jsonl"
    ) -> Response:
        return exported(known(comparison_id), format, comparisons, raters)

    return api


def exported(
    comparison: Comparison, format: str, comparisons: Comparisons, raters: Raters
) -> Response:
    """Return a comparison as a file."""
    names = {invite.id: invite.name for invite in raters.invites(comparison.id)}
    votes, _ = raters.votes(comparison.id)
    found = rows(comparison, comparisons.items(comparison.id), votes, names)
    lines = table(found, comparison.criteria) if format == "csv" else jsonl(found)
    name = f'attachment; filename="{comparison.id}.{format}"'
    return StreamingResponse(
        lines, media_type=FORMATS[format], headers={"content-disposition": name}
    )


def comparison_object(
    comparison: Comparison, invites: Sequence[Invite] | None = None
) -> dict[str, Any]:
    """Return a comparison as it is shown; its seed stays in the store."""
    shown = {"object": "comparison", **asdict(comparison)}
    del shown["seed"], shown["version"]
    if comparison.standing is not None:  # item by item it is in the export
        shown["standing"] = {n: v for n, v in comparison.standing.items() if n != "items"}
    shown["status"] = "open" if comparison.closed_at is None else "closed"
    if invites is not None:
        shown["invites"] = [invite_object(invite) for invite in invites]
    return shown


def invite_object(invite: Invite) -> dict[str, Any]:
    """Return an invite as it is shown, without what opens it."""
    shown = asdict(invite)
    del shown["digest"], shown["place"]
    return {"object": "comparison.invite", **shown}
