"""`POST /v1/embeddings`, answered by the retrieval service."""

import base64
import struct
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.errors import EngineFailed, InvalidRequest, NotFound, Unavailable
from retrieval.client import RetrievalClient, RetrievalFailed, RetrievalUnavailable

_MAX_INPUTS = 2048
_DEADLINE_S = 60.0
_Text = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]


class EmbeddingRequest(BaseModel):
    """OpenAI's request: https://platform.openai.com/docs/api-reference/embeddings/create."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(max_length=200)
    input: _Text | Annotated[list[_Text], Field(min_length=1, max_length=_MAX_INPUTS)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    user: str | None = None


def router(client: RetrievalClient, model: str) -> APIRouter:
    """Return the embeddings route for the one embedding model that is served."""
    api = APIRouter(tags=["inference"])

    @api.post("/v1/embeddings", summary="Embed texts")
    async def create(request: EmbeddingRequest) -> dict[str, Any]:
        if request.model != model:
            raise NotFound(
                f"The embedding model `{request.model}` does not exist. Known: `{model}`.",
                code="model_not_found",
                param="model",
            )
        texts = [request.input] if isinstance(request.input, str) else request.input
        texts = [text.encode("utf-8", "replace").decode() for text in texts]
        try:
            vectors, tokens = await client.embed(texts, deadline_s=_DEADLINE_S)
        except RetrievalUnavailable as error:
            raise Unavailable(
                f"Embeddings are not available: {error}.",
                code="embedder_unavailable",
                retry_after=2,
            ) from error
        except RetrievalFailed as error:
            raise EngineFailed(f"The embedder failed: {error}", code="embedder_error") from error
        size = len(vectors[0]) // 4
        if request.dimensions not in (None, size):
            raise InvalidRequest(
                f"`{model}` has {size} dimensions, not {request.dimensions}.",
                code="invalid_dimensions",
                param="dimensions",
            )
        as_text = request.encoding_format == "base64"
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": (
                    base64.b64encode(vector).decode()
                    if as_text
                    else list(struct.unpack(f"<{size}f", vector))
                ),
            }
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "model": model, "data": data, "usage": usage}

    return api
