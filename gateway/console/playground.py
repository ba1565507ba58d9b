"""Playground: ask two models the same, side by side, and see where the answers come from."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from gateway.console.access import FORM_HEADER, Asking, Looking
from gateway.console.asking import ask
from gateway.console.parts import Parts
from gateway.store.engines import Engines, EngineState
from gateway.store.releases import Releases

_PASSED = ("content-type", "x-driftgate-release", "x-driftgate-retrieval", "x-request-id")
_Content = Annotated[str, Field(max_length=100_000)]


class Turn(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: _Content


class Question(BaseModel):
    """What is asked in the playground."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Annotated[list[Turn], Field(min_length=1, max_length=200)]
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.0
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] = 256
    documents: Literal["policy", "off", "auto", "always"] = "policy"


def router(parts: Parts) -> APIRouter:
    """Return the routes of the playground."""
    pages = APIRouter(prefix="/playground")

    @pages.get("")
    def playground(request: Request, viewer: Looking, one: str = "", other: str = "") -> Response:
        aliases = sorted(Releases(parts.database).aliases(), key=lambda n: (n != "production", n))
        ready = {e.release for e in Engines(parts.database).all() if e.state is EngineState.READY}
        models = [*aliases, *sorted(ready)]
        principal = parts.keys.named(viewer.key)
        return parts.pages.show(
            request,
            viewer,
            "playground.html",
            models=models,
            chosen=(one or next(iter(models), ""), other),
            header=FORM_HEADER,
            may_ask=principal is not None and "inference" in principal.scopes,
        )

    @pages.post("/ask")
    async def answer(viewer: Asking, question: Question) -> Response:
        asked = await ask(parts, viewer.key, msgspec.json.encode(request_of(question)))
        headers = {name: asked.headers[name] for name in _PASSED if name in asked.headers}
        return StreamingResponse(asked.body, asked.status, headers | {"cache-control": "no-store"})

    return pages


def request_of(question: Question) -> dict[str, Any]:
    """Return the chat completion request that a question is."""
    request = question.model_dump(exclude={"documents"}) | {
        "stream": True,
        "stream_options": {"include_usage": True},
        "metadata": {"from": "playground"},
    }
    if question.documents != "policy":
        request["retrieval"] = {"mode": question.documents}
    return request
