"""What `driftgate status` shows, gathered from the store and from the gateway itself."""

import json
import math
import time
from collections import Counter
from dataclasses import asdict
from typing import Any

import httpx

from gateway.settings import Settings
from gateway.store.activity import Activity
from gateway.store.database import Database
from gateway.store.engines import Engines, EngineState
from gateway.store.health import Healths
from gateway.store.job_events import JobEvents
from gateway.store.jobs import LIVE as LIVE_JOBS
from gateway.store.jobs import Jobs
from gateway.store.monitoring import Monitoring
from gateway.store.overview import Overview
from gateway.store.releases import Releases, leading
from gateway.store.retraining import CLOSED, Retraining
from gateway.store.rollouts import LIVE, Rollouts
from gateway.store.vector_store_files import VectorStoreFiles
from gateway.store.vector_stores import VectorStores

_HOUR_S = 3600.0
_MOST = 20
# From this share of a budget on a key is shown.
_NEAR = 0.8


def gather(database: Database, settings: Settings) -> dict[str, Any]:
    """Return the state of the whole system, as JSON has it; times are Unix seconds.

    Raises:
        StoreError: The store cannot be read.
    """
    now = time.time()
    pace = Activity(database).pace(now - _HOUR_S, now, 1)
    jobs, _ = Jobs(database).page(limit=_MOST)
    stores, _ = VectorStores(database).page(limit=_MOST)
    files = VectorStoreFiles(database).counts([each.id for each in stores])
    return {
        "at": now,
        "gateway": gateway(settings),
        "last_hour": {
            "requests": pace.requests, "failed": pace.failed, "p95_s": pace.p95_s
        },
        "engines": [asdict(each) for each in Engines(database).all()],
        "workers": [asdict(each) for each in JobEvents(database).workers()],
        "aliases": aliases(database),
        "rollouts": [
            _of(each, "id", "alias", "candidate", "stage", "status", "created_at")
            for each in Rollouts(database).all(among=LIVE)
        ],
        "retraining": [
            _of(each, "id", "alias", "status", "step", "reason", "told", "created_at")
            for each in Retraining(database).all(limit=_MOST)
            if each.status != CLOSED
        ],
        "jobs": [
            _of(each, "id", "model", "status", "step", "created_at")
            for each in jobs
            if each.status in LIVE_JOBS or each.status == "paused"
        ],
        "stores": [
            {"id": each.id, "name": each.name, "files": asdict(files[each.id])}
            for each in stores
            if each.id in files
        ],
        "budgets": [
            budget._asdict()
            for budget in Overview(database).budgets(now)
            if budget.used >= _NEAR * budget.limit
        ],
    }  # fmt: skip


def gateway(settings: Settings) -> dict[str, Any]:
    """Return where the gateway is and how it says it is; `away` where it does not answer."""
    told: dict[str, Any] = {"url": settings.url(), "workers": settings.workers, "status": "away"}
    try:
        answer = httpx.get(f"{settings.url()}/health/ready", timeout=2, trust_env=False)
        body = answer.json()
        return told | {"status": body["status"], "store": body["store"]}
    except (httpx.HTTPError, json.JSONDecodeError, KeyError, TypeError):
        return told


def aliases(database: Database) -> list[dict[str, Any]]:
    """Return each alias with its releases, health, and the evidence about what it serves most."""
    ready = Counter(e.release for e in Engines(database).all() if e.state is EngineState.READY)
    health = {each.alias: each for each in Healths(database).all()}
    states = {(each.alias, each.release): each for each in Monitoring(database).states()}
    found = []
    for name, targets in sorted(Releases(database).aliases().items()):
        state = states.get((name, leading(targets) or ""))
        signals = {} if state is None else state.signals
        found.append(
            {
                "alias": name,
                "targets": [asdict(t) | {"ready_engines": ready[t.release]} for t in targets],
                "health": health[name].state if name in health else "HEALTHY",
                "since": health[name].since if name in health else None,
                "windows": 0 if state is None else state.windows,
                "evidence": {
                    key: {"evidence": signal["evidence"], "threshold": signal["threshold"]}
                    for key, signal in signals.items()
                    if _finite(signal.get("evidence")) and _finite(signal.get("threshold"))
                },
            }
        )
    return found


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _of(record: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}
