"""The composition root of one gateway worker: builds every part and hands each what it needs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from gateway import __version__
from gateway.api import access, embeddings, feedback, health, models, stored_completions
from gateway.asgi import Application, Receive, Reply, Scope, Send, limited
from gateway.auth import KeyRing
from gateway.errors import MethodNotAllowed
from gateway.metrics import Metrics
from gateway.openapi import document
from gateway.recorder import Recorder
from gateway.refresh import Refresher
from gateway.relay import OPERATIONS, Limits, Relay
from gateway.routing import Routes
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.feedback import FeedbackLog
from gateway.store.traffic import Traffic
from retrieval.client import EmbeddingClient


def create_app(settings: Settings) -> Application:
    """Build the gateway's ASGI application.

    The hot routes are served by the relay, in front of FastAPI; every other route is FastAPI's.
    """
    database = Database(settings.resolved_database_url())
    metrics = Metrics()
    keys = KeyRing(open_without_keys=settings.is_loopback())
    routes = Routes()
    traffic = Traffic(database)
    recorder = Recorder(
        traffic,
        metrics,
        capacity=settings.record_queue,
        keep_texts=settings.record_texts,
        retention_s=settings.retention_days * 86400,
    )
    refresher = Refresher(database, keys, routes, metrics, settings.refresh_s)
    embedder = EmbeddingClient(settings.run_dir() / "retrieval.sock") if settings.embedder else None
    limits = Limits(
        body_bytes=settings.max_body_bytes,
        response_bytes=settings.max_response_bytes,
        record_bytes=settings.record_text_bytes,
        body_timeout_s=settings.body_timeout_s,
        connect_timeout_s=settings.connect_timeout_s,
        first_token_timeout_s=settings.first_token_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        reading = asyncio.create_task(refresher.run())
        await refresher.known()
        recorder.start()
        try:
            yield
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            await asyncio.to_thread(recorder.close)
            routes.close()
            if embedder is not None:
                await embedder.close()
            database.close()

    api = FastAPI(title="Driftgate", version=__version__, lifespan=lifespan)
    access.install_error_handlers(api)
    api.include_router(health.router(routes, refresher, metrics))
    api.include_router(models.router(keys, routes, settings.embedder))
    api.include_router(feedback.router(keys, FeedbackLog(database), traffic))
    api.include_router(stored_completions.router(keys, traffic))
    if embedder is not None:
        api.include_router(
            embeddings.router(embedder, settings.embedder),
            dependencies=[access.requires(keys, "inference")],
        )
    document(api)
    return front(Relay(keys, routes, recorder, metrics, limits), api, settings.max_body_bytes)


def front(relay: Application, api: Application, max_body_bytes: int) -> Application:
    """Return the application that sends hot routes to the relay and the rest to FastAPI."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["path"] in OPERATIONS:
                if scope["method"] == "POST":
                    await relay(scope, receive, send)
                    return
                if scope["path"] != "/v1/chat/completions":
                    await Reply(send, "").fail(
                        MethodNotAllowed(f"{scope['path']} takes POST.", code="method_not_allowed")
                    )
                    return
            receive = limited(receive, max_body_bytes)
        await api(scope, receive, send)

    return application
