"""Stored chat completions in OpenAI's shape, for a key with `admin`.

https://platform.openai.com/docs/api-reference/chat/list: list, retrieve, messages, update, delete.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field, StringConstraints

from gateway.api.access import requires
from gateway.auth import KeyRing
from gateway.errors import InvalidRequest, NotFound
from gateway.store.traffic import Traffic, TrafficRecord

_Id = Annotated[str, Path(max_length=200, pattern=r"^[^\x00]+$")]
_Key = Annotated[str, StringConstraints(max_length=64, pattern=r"^[^\x00]*$")]
_Value = Annotated[str, StringConstraints(max_length=512, pattern=r"^[^\x00]*$")]


class MetadataUpdate(BaseModel):
    """New metadata of a stored completion; it takes the place of the old."""

    metadata: dict[_Key, _Value] = Field(max_length=16)


def router(keys: KeyRing, traffic: Traffic) -> APIRouter:
    """Return the routes of stored completions."""
    api = APIRouter(
        prefix="/v1/chat/completions",
        tags=["stored completions"],
        dependencies=[requires(keys, "admin")],
    )
    unknown: dict[int | str, dict[str, Any]] = {404: {"description": "No such completion."}}

    @api.get("", summary="List stored completions")
    def listing(
        request: Request,
        after: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "asc",
        model: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
    ) -> dict[str, Any]:
        try:
            records, more = traffic.page(
                after=after,
                limit=limit,
                ascending=order == "asc",
                model=model,
                metadata=_metadata_filter(request),
            )
        except KeyError:
            raise InvalidRequest(
                f"There is no completion `{after}` to go on after.",
                code="invalid_cursor",
                param="after",
            ) from None
        data = [completion(record) for record in records]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": more,
        }

    @api.get("/{completion_id}", summary="Show a stored completion", responses=unknown)
    def retrieve(completion_id: _Id) -> dict[str, Any]:
        return completion(_known(traffic.get(completion_id), completion_id))

    @api.get("/{completion_id}/messages", summary="List its messages", responses=unknown)
    def messages(completion_id: _Id) -> dict[str, Any]:
        record = _known(traffic.get(completion_id), completion_id)
        found = record.messages if isinstance(record.messages, list) else []
        data = [{"id": f"{completion_id}-{i}", **message} for i, message in enumerate(found)]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": False,
        }

    @api.post("/{completion_id}", summary="Replace its metadata", responses=unknown)
    def update(completion_id: _Id, body: MetadataUpdate) -> dict[str, Any]:
        _known(traffic.get(completion_id), completion_id)
        changed = traffic.set_metadata(completion_id, body.metadata)
        return completion(_known(changed, completion_id))

    @api.delete("/{completion_id}", summary="Delete a stored completion", responses=unknown)
    def delete(completion_id: _Id) -> dict[str, Any]:
        _known(traffic.get(completion_id), completion_id)
        deleted = traffic.delete(completion_id)
        return {
            "id": completion_id,
            "object": "chat.completion.deleted",
            "deleted": deleted,
        }

    return api


def completion(record: TrafficRecord) -> dict[str, Any]:
    """Return a record as OpenAI's chat completion object, with what Driftgate knows beside it."""
    prompt, answer = record.prompt_tokens or 0, record.completion_tokens or 0
    return {
        "id": record.completion_id,
        "object": "chat.completion",
        "created": int(record.created_at),
        "model": record.release,
        "choices": (record.answer or {}).get("choices", []),
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
        },
        "system_fingerprint": record.system_fingerprint,
        "metadata": record.metadata,
        "driftgate": {
            "alias": record.alias,
            "outcome": record.outcome,
            "ttft_s": record.ttft_s,
            "duration_s": record.duration_s,
            "key": record.key_prefix,
        },
    }


def _known(record: TrafficRecord | None, completion_id: str) -> TrafficRecord:
    if record is None or record.operation != "chat" or record.answer is None or record.shadow_of:
        raise NotFound(
            f"There is no stored completion `{completion_id}`.",
            code="completion_not_found",
            param="completion_id",
        )
    return record


def _metadata_filter(request: Request) -> dict[str, str] | None:
    """Read `metadata[key]=value` from the query, as OpenAI's clients write it."""
    found = {
        name[len("metadata[") : -1]: value
        for name, value in request.query_params.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    if any("\x00" in text for pair in found.items() for text in pair):
        raise InvalidRequest("NUL in metadata.", code="invalid_type", param="metadata")
    return found or None
