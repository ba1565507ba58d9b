"""The composition root of one gateway worker: builds every part and hands each what it needs."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from gateway import __version__
from gateway.admission import Admission
from gateway.api import (
    access,
    aliases,
    comparisons,
    embeddings,
    feedback,
    files,
    fine_tuning,
    health,
    models,
    retraining,
    rollouts,
    stored_completions,
    vector_store_files,
    vector_store_search,
    vector_stores,
)
from gateway.api.vector_store_access import StoreAccess
from gateway.asgi import Application, guarded
from gateway.auth import KeyRing
from gateway.certified import Certified
from gateway.console.app import create_console
from gateway.console.pages import BASE, Pages
from gateway.console.parts import Parts
from gateway.console.session import Sealer, load_secret
from gateway.conversations import Conversations
from gateway.flow import Deadlines
from gateway.front import ClientLimits, Front
from gateway.gate import Gate
from gateway.grounding.reading import BooksReader
from gateway.grounding.stage import GroundingLimits, GroundingStage
from gateway.health import HealthChecks
from gateway.indexed import Indexed, InUse
from gateway.ingestion import Ingestion
from gateway.metrics import Metrics
from gateway.mirror import Mirrors
from gateway.openapi import document
from gateway.rating.app import BASE as RATING
from gateway.rating.app import create_rating
from gateway.refresh import Refresher
from gateway.relay import OPERATIONS, Relay
from gateway.retrieval_metrics import RetrievalServiceMetrics
from gateway.routing import Routes
from gateway.settings import Settings
from gateway.spool import Spool
from gateway.store.certificates import Certificates
from gateway.store.database import Database
from gateway.store.feedback import FeedbackLog
from gateway.store.files import Files
from gateway.store.job_events import JobEvents
from gateway.store.jobs import Jobs
from gateway.store.ledger import open_ledger
from gateway.store.owners import owners
from gateway.store.retraining import Retraining
from gateway.store.traffic import Traffic
from gateway.swaps import Swaps
from gateway.task import Limits
from gateway.tracing.context import Sampler
from retrieval.client import RetrievalClient

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gateway:
    """One worker's parts that face clients: the hot calls, and the application of all others."""

    front: Front
    api: Application


def create_gateway(settings: Settings) -> Gateway:
    """Build the gateway."""
    database = Database(settings.resolved_database_url())
    metrics = Metrics()
    keys = KeyRing(open_without_keys=settings.is_loopback())
    routes = Routes(Conversations(settings.run_dir() / "conversations"))
    spool = Spool(settings.spool_dir(), metrics.records, settings.record_spool_bytes)
    checks = HealthChecks(routes, settings.health_period_s)
    embedder = RetrievalClient(settings.run_dir() / "retrieval.sock") if settings.embedder else None
    client = embedder or RetrievalClient(settings.run_dir() / "retrieval.sock")
    uploads = Files(database, settings.files_dir())
    ingestion = Ingestion(database, uploads, client, metrics.retrieval)
    reader = BooksReader(database, lambda: owners(database))
    grounding = GroundingStage(
        InUse(client, ingestion),
        lambda: asyncio.to_thread(reader.owners),
        metrics.retrieval,
        _grounding_limits(settings),
    )
    refresher = Refresher(database, keys, routes, metrics, settings.refresh_s, reader, grounding)
    admission = Admission(
        open_ledger(settings.ledger_url, database), fail_open=settings.limits_fail_open
    )
    gate = Gate(settings.max_concurrency, settings.max_queue, settings.queue_timeout_s)
    deadlines, limits = Deadlines(), _limits(settings)
    mirrors = Mirrors(routes, gate, spool, metrics.shadows, limits, deadlines)
    swaps = None
    if settings.slots == 1:
        swaps = Swaps(routes, settings.swap_wait_s, settings.max_queue)
    relay = Relay(keys, admission, gate, routes, spool, metrics, limits, mirrors, grounding, swaps)
    sampler = Sampler(settings.tracing_share) if settings.tracing_endpoint else None
    front = Front(relay, deadlines, _client_limits(settings), sampler)
    deadlines.on_tick = [
        front.sweep,
        mirrors.tick,
        lambda _: metrics.tick(relay.in_flight, relay.waiting, deadlines.lag_s),
    ]

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        background = [
            asyncio.create_task(_forever(part.run))
            for part in (refresher, checks, admission, ingestion)
        ]
        await refresher.known()
        spool.start()
        deadlines.start()
        try:
            yield
        finally:
            mirrors.close()
            relay.cut(deadlines)
            deadlines.close()
            for task in background:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            # The records first: a ledger that hangs must not hold them back.
            await asyncio.to_thread(spool.close)
            await admission.close()
            metrics.flush()
            routes.close()
            await client.close()
            database.close()

    api = FastAPI(title="Driftgate", version=__version__, lifespan=lifespan)
    access.install_error_handlers(api)
    traffic = Traffic(database)
    service = RetrievalServiceMetrics(embedder) if embedder is not None else None
    api.include_router(health.router(routes, refresher, metrics, front, service))
    certified = Certified(Certificates(database), settings.signing_key_path())
    api.include_router(models.router(keys, routes, settings.embedder, certified))
    api.include_router(feedback.router(keys, FeedbackLog(database), traffic))
    api.include_router(stored_completions.router(keys, traffic))
    indexed, stores = Indexed(client, ingestion, metrics.retrieval), StoreAccess(database, uploads)
    forget = vector_store_files.forgetting(stores, indexed)
    api.include_router(files.router(keys, uploads, settings.max_file_bytes, forget))
    for routes_of in (vector_stores, vector_store_files, vector_store_search):
        api.include_router(routes_of.router(keys, stores, indexed))
    api.include_router(
        fine_tuning.router(keys, routes, uploads, Jobs(database), JobEvents(database))
    )
    for managed in (aliases, rollouts, comparisons):
        api.include_router(managed.router(keys, database))
    api.include_router(retraining.router(keys, Retraining(database)))
    if embedder is not None:
        api.include_router(
            embeddings.router(embedder, settings.embedder),
            dependencies=[access.requires(keys, "inference")],
        )
    document(api)
    sealer = Sealer(load_secret(settings.home, settings.console_secret))
    pages, home = Pages(sealer), settings.home.absolute()
    console = Parts(database, keys, sealer, pages, certified, uploads, home, relay, deadlines)
    api.mount(BASE, create_console(console))
    api.mount(RATING, create_rating(console))
    listed = OPERATIONS.keys() - {"/v1/chat/completions"}
    larger = {"/v1/files": settings.max_file_bytes + files.FORM_BYTES}
    return Gateway(front, guarded(api, keys, listed, settings.max_body_bytes, larger))


async def _forever(run: Callable[[], Awaitable[None]]) -> None:
    """Keep a background part running: one unexpected row must not end it for good."""
    while True:
        try:
            await run()
        except Exception:
            _log.exception("a background part failed; it goes on")
            await asyncio.sleep(1.0)


def _limits(settings: Settings) -> Limits:
    return Limits(
        response_bytes=settings.max_response_bytes,
        record_bytes=settings.record_text_bytes,
        connect_timeout_s=settings.connect_timeout_s,
        first_token_timeout_s=settings.first_token_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
        reserve_tokens=settings.reserve_tokens,
        prefix_affinity=settings.prefix_affinity,
    )


def _grounding_limits(settings: Settings) -> GroundingLimits:
    return GroundingLimits(
        deadline_s=settings.retrieval_deadline_ms / 1000,
        holdout=settings.retrieval_holdout,
        nothing=settings.retrieval_insufficient_text,
        context_tokens=settings.max_model_len,
        answer_tokens=settings.reserve_tokens,
    )


def _client_limits(settings: Settings) -> ClientLimits:
    return ClientLimits(
        connections=settings.max_connections,
        body_bytes=settings.max_body_bytes,
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        keep_alive_s=settings.keep_alive_s,
    )
