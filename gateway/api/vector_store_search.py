"""`/v1/vector_stores/{id}/search` in OpenAI's shape.

https://platform.openai.com/docs/api-reference/vector-stores/search. A result is a passage, so a
file may be found several times. A score is between 0 and 1 and says how much the passage has of the
query's sense and words. Queries are searched as they are: `rewrite_query` true is refused.
"""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from gateway.api.access import principal_of
from gateway.api.vector_store_access import StoreAccess
from gateway.api.vector_stores import UNKNOWN, StoreId
from gateway.auth import KeyRing, Principal
from gateway.errors import InvalidRequest
from gateway.filters import read_filter
from gateway.indexed import Indexed
from gateway.store.vector_store_files import REMOVING
from retrieval.records import Hit, Search

_MAX_QUERIES = 8
_MAX_QUERY = 8192
_TEXT = {"type": "string", "minLength": 1, "maxLength": _MAX_QUERY}


def _queries(given: Any) -> list[str]:
    """Check the queries: one plain message, where a union of types would give two."""
    queries = [given] if isinstance(given, str) else given
    if (
        not isinstance(queries, list)
        or not 1 <= len(queries) <= _MAX_QUERIES
        or not all(isinstance(q, str) and q.strip() and len(q) <= _MAX_QUERY for q in queries)
    ):
        raise PydanticCustomError(
            "query",
            "The query must be a text of 1 to {size} characters, or a list of 1 to {most} of them",
            {"size": _MAX_QUERY, "most": _MAX_QUERIES},
        )
    return queries


class RankingOptions(BaseModel):
    """How results are ranked; `none` is without the cross-encoder that the service may have."""

    model_config = ConfigDict(extra="forbid")

    ranker: Literal["none", "auto", "default-2024-11-15", "default_2024_08_21"] = "auto"
    score_threshold: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)


class SearchRequest(BaseModel):
    """A search."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[
        list[str],
        PlainValidator(_queries),
        WithJsonSchema(
            {"anyOf": [_TEXT, {"type": "array", "maxItems": _MAX_QUERIES, "items": _TEXT}]}
        ),
    ]
    filters: dict[str, Any] | None = Field(
        None, description="A comparison {type, key, value} or a compound {type, filters}."
    )
    max_num_results: int = Field(10, ge=1, le=50)
    ranking_options: RankingOptions | None = None
    rewrite_query: bool = False


def router(keys: KeyRing, access: StoreAccess, indexed: Indexed) -> APIRouter:
    """Return the route of searches; the scope is `inference`."""
    caller = Annotated[Principal, Depends(principal_of(keys, "inference"))]
    api = APIRouter(prefix="/v1/vector_stores/{vector_store_id}", tags=["vector stores"])

    @api.post("/search", summary="Search a vector store", responses=UNKNOWN)
    async def search(id: StoreId, body: SearchRequest, principal: caller) -> dict[str, Any]:
        if body.rewrite_query:
            raise InvalidRequest(
                "Queries are searched as they are; leave `rewrite_query` out.",
                code="unsupported_field",
                param="rewrite_query",
            )
        wanted = None if body.filters is None else read_filter(body.filters)
        ranking = body.ranking_options or RankingOptions()
        store = await asyncio.to_thread(lambda: access.usable(access.seen(id, principal)))
        queries = body.query
        hits = await indexed.search(
            [
                Search(
                    query=query,
                    collections=(store.id,),
                    limit=body.max_num_results,
                    filters=wanted,
                    rerank=False if ranking.ranker == "none" else None,
                )
                for query in queries
            ]
        )
        hits = [hit for hit in hits if hit.score >= ranking.score_threshold]
        places = {(store.id, hit.document.file_id) for hit in hits if hit.document.file_id}
        files = await asyncio.to_thread(access.files.among, places)
        data = []
        for hit in hits:
            file = files.get((store.id, hit.document.file_id))
            if file is None or file.status != REMOVING:
                data.append(_result(hit, {} if file is None else file.attributes))
        return {
            "object": "vector_store.search_results.page",
            "search_query": queries,
            "data": data[: body.max_num_results],
            "has_more": False,
            "next_page": None,
        }

    return api


def _result(hit: Hit, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a hit as OpenAI's result, with what a citation needs beside it."""
    document, passage = hit.document, hit.passage
    return {
        "file_id": document.file_id,
        "filename": document.filename,
        "score": hit.score,
        # What the document says of itself, and what the client said of its file.
        "attributes": {**document.metadata, **attributes},
        "content": [{"type": "text", "text": passage.text}],
        "driftgate": {
            "document_id": document.id,
            "title": document.title,
            "url": document.url,
            "heading": passage.heading,
            "page": passage.page,
            "passage": passage.number,
            "start": passage.start,
            "valid_from": document.valid_from,
            "valid_to": document.valid_to,
        },
    }
