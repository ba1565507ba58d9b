"""`/v1/retraining`: requests to retrain, whoever made them, and what became of each.

For keys with `admin`. A person asks by `POST /v1/aliases/{alias}/retrain`.
"""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query

from gateway.api.access import requires
from gateway.api.files import listed, no_cursor
from gateway.auth import KeyRing
from gateway.errors import NotFound
from gateway.store.retraining import Retraining, RetrainingRequest

_Id = Annotated[str, Path(max_length=64, pattern=r"^[^\x00]+$")]
_After = Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")]
_Alias = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
_Limit = Annotated[int, Query(ge=1, le=100)]


def router(keys: KeyRing, requests: Retraining) -> APIRouter:
    """Return the routes of requests to retrain."""
    api = APIRouter(
        prefix="/v1/retraining", tags=["rollouts"], dependencies=[requires(keys, "admin")]
    )

    @api.get("", summary="List requests to retrain")
    def listing(
        alias: _Alias = None,
        status: Literal["open", "taken", "closed"] | None = None,
        after: _After = None,
        limit: _Limit = 20,
    ) -> dict[str, Any]:
        try:
            found, more = requests.page(
                alias=alias, status=status, after=after or None, limit=limit
            )
        except KeyError:
            raise no_cursor("request", after) from None
        return listed([request_object(request) for request in found], more)

    @api.get(
        "/{request_id}",
        summary="Show a request to retrain",
        responses={404: {"description": "No such request."}},
    )
    def retrieve(request_id: _Id) -> dict[str, Any]:
        request = requests.get(request_id)
        if request is None:
            raise NotFound(
                f"There is no request to retrain `{request_id}`.",
                code="request_not_found",
                param="request_id",
            )
        return request_object(request)

    return api


def request_object(request: RetrainingRequest) -> dict[str, Any]:
    """Return a request as it is shown."""
    return {"object": "retraining.request", **asdict(request)}
