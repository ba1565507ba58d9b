"""`POST /v1/feedback`: a score, label or correction, tied to a completion."""

import asyncio
import secrets
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from gateway.api.access import principal_of
from gateway.auth import KeyRing, Principal
from gateway.errors import NotFound
from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.traffic import Traffic, TrafficRecord

# Records are written in batches: a completion's may be on its way when its feedback arrives.
_WAIT_S, _STEP_S = 1.0, 0.1
_Key = Annotated[str, StringConstraints(max_length=64)]
_Value = Annotated[str, StringConstraints(max_length=512)]


class FeedbackRequest(BaseModel):
    """What a user or an application says of an answer."""

    model_config = ConfigDict(extra="forbid")

    completion_id: str = Field(min_length=1, max_length=200, description="`id` of the answer.")
    score: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="From 0 (bad) to 1 (good)."
    )
    label: str | None = Field(None, min_length=1, max_length=200, description="A class of yours.")
    correction: str | None = Field(
        None, min_length=1, max_length=100_000, description="The answer as it should have been."
    )
    comment: str | None = Field(None, max_length=10_000)
    metadata: dict[_Key, _Value] = Field(default_factory=dict, max_length=16)

    @model_validator(mode="after")
    def _says_something(self) -> "FeedbackRequest":
        if self.score is None and self.label is None and self.correction is None:
            raise ValueError("give at least one of score, label and correction")
        return self


def router(keys: KeyRing, log: FeedbackLog, traffic: Traffic) -> APIRouter:
    """Return the feedback route."""
    api = APIRouter(tags=["feedback"])
    caller = principal_of(keys, "feedback")

    @api.post(
        "/v1/feedback",
        status_code=201,
        summary="Say how good an answer was, or what it should have been",
        responses={404: {"description": "No such completion of this key."}},
    )
    async def create(
        request: FeedbackRequest, principal: Annotated[Principal, Depends(caller)]
    ) -> dict[str, Any]:
        record = await _find(traffic, request.completion_id)
        # Another key's completion is as unknown as one that never was.
        own = record is not None and record.key_prefix == principal.key_prefix
        if record is None or record.shadow_of or not (own or "admin" in principal.scopes):
            raise NotFound(
                f"There is no completion `{request.completion_id}`.",
                code="completion_not_found",
                param="completion_id",
            )
        feedback = Feedback(
            id=f"fb_{secrets.token_hex(12)}",
            key_prefix=principal.key_prefix,
            created_at=time.time(),
            **request.model_dump(),
        )
        await asyncio.to_thread(log.add, feedback)
        return {
            "id": feedback.id,
            "object": "feedback",
            "created": int(feedback.created_at),
            **request.model_dump(),
        }

    return api


async def _find(traffic: Traffic, completion_id: str) -> TrafficRecord | None:
    if "\x00" in completion_id:  # PostgreSQL has no such text
        return None
    deadline = time.monotonic() + _WAIT_S
    while True:
        record = await asyncio.to_thread(traffic.get, completion_id)
        if record is not None or time.monotonic() > deadline:
            return record
        await asyncio.sleep(_STEP_S)
