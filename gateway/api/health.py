"""`/health/live`, `/health/ready` and `/metrics`."""

import asyncio
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from gateway.front import Front
from gateway.metrics import Metrics
from gateway.refresh import Refresher
from gateway.retrieval_metrics import RetrievalServiceMetrics
from gateway.routing import Routes

_PRODUCTION = "production"


def router(
    routes: Routes,
    refresher: Refresher,
    metrics: Metrics,
    front: Front,
    retrieval: RetrievalServiceMetrics | None = None,
) -> APIRouter:
    """Return the routes that orchestrators and Prometheus call, which need no key."""
    api = APIRouter(tags=["operations"])

    @api.get("/health/live", summary="The process answers")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @api.get(
        "/health/ready",
        summary="A request for `production` would be answered now",
        responses={
            503: {"description": "No engine of `production` is ready, or the worker drains."}
        },
    )
    async def ready() -> JSONResponse:
        serving = routes.serves(_PRODUCTION) and not front.draining
        status = "draining" if front.draining else "ready" if serving else "unavailable"
        body: dict[str, Any] = {
            "status": status,
            "store": "up" if refresher.store_up else "down",
            "engines": [
                {"slot": e.slot, "release": e.release, "state": e.state.value}
                for e in routes.engines()
            ],
        }
        return JSONResponse(
            body, 200 if serving else 503, None if serving else {"retry-after": "5"}
        )

    @api.get("/metrics", summary="Prometheus metrics of all workers")
    async def exposition() -> Response:
        content, media_type = await asyncio.to_thread(metrics.render)
        if retrieval is not None:
            content += await retrieval.render()
        return Response(content, media_type=media_type)

    return api
