"""A store in which the monitor has been at work, for tests of what shows it."""

import time
from typing import Any

from gateway.store.database import Database
from gateway.store.health import AliasHealth
from gateway.store.jobs import FAILED, RUNNING, Job, Jobs, job_id
from gateway.store.keys import ApiKey, KeyLimits, Keys
from gateway.store.ledger import DAY, MONTH, Lease, Ledger
from gateway.store.monitoring import Monitoring, MonitorState
from gateway.store.releases import Release, Releases, Target
from gateway.store.traffic import Traffic, TrafficRecord

DRIFT = ("far", "crowded", "length", "language", "uncertainty", "all")
HARM = ("format", "refusal", "ungrounded", "feedback", "judge", "probes", "failed")


def signals(drift: float = 3.2, harm: float = 1.5) -> dict[str, dict[str, Any]]:
    """Every signal, with these evidences."""
    return {
        name: {"kind": "drift", "evidence": drift, "threshold": 43_200.0, "count": 40}
        for name in DRIFT
    } | {
        name: {
            "kind": "harm",
            "evidence": harm,
            "threshold": 100.0,
            "mean": 0.1,
            "limit": 0.15,
            "count": 2000,
        }
        for name in HARM
    }


def state(alias: str, release: str, **fields: Any) -> MonitorState:
    """A release that is being watched."""
    known: dict[str, Any] = {
        "stage": "watching",
        "windows": 40,
        "requests": 2000,
        "left_out": 35,
        "reference_rows": 2000,
        "reference_needed": 2000,
        "last_window_at": time.time() - 30,
        "signals": signals(),
        "descriptors": {"words": {"now": 14.0, "reference": 11.5}, "json": {"now": None}},
        "topics": [
            {
                "id": "t1", "label": "lost cards", "share": 0.2, "reference_share": 0.05,
                "loss": 0.4, "examples": ["my card is gone"],
            },
            {
                "id": "t2", "label": "fees", "share": 0.1, "reference_share": 0.1,
                "loss": None, "examples": [],
            },
        ],
        "report": f"/reports/{alias}/latest.html",
        "updated_at": time.time(),
    }  # fmt: skip
    return MonitorState(alias, release, **known | fields)


def register(database: Database, release: str) -> None:
    """Add a release."""
    Releases(database).register(Release(release, "m", "r", "/models/m", {"a": "00"}, 1.0))


def watched(
    database: Database,
    alias: str = "production",
    release: str = "production-1",
    health: str = "HEALTHY",
    **fields: Any,
) -> MonitorState:
    """Point an alias at a release that is being watched."""
    register(database, release)
    Releases(database).point(alias, [Target(release, 1.0, "live")])
    return Monitoring(database).write(
        state(alias, release, **fields), (), AliasHealth(alias, health, {}, time.time())
    )


def limited_key(database: Database, day: int, month: int) -> ApiKey:
    """A key that has used these many of the 1,000 tokens of its day and its month."""
    limits = KeyLimits(tokens_per_day=1000, tokens_per_month=1000)
    key, _ = Keys(database).create("web shop", ["inference"], limits)
    now = time.time()
    today = int(now // 86400) * 86400
    first = time.gmtime(now)
    month_start = today - (first.tm_mday - 1) * 86400
    used = {(DAY, today): day, (MONTH, month_start): month}
    Ledger(database).book({key.prefix: used}, Lease("test", now, now + 60))
    return key


def job(database: Database, status: str = FAILED) -> None:
    """A job in this state, or a running one."""
    made = Job(
        job_id(), None, time.time(), "m", "m-1", "file-1", None, {}, 0, None, {}, None, {}, None,
        status=status if status else RUNNING,
    )  # fmt: skip
    Jobs(database).add(made)


def asked(database: Database, id: str, at: float, key: str | None, tokens: int = 10) -> None:
    """A request in the traffic log: `tokens` of prompt, and twice as many of answer."""
    record = TrafficRecord(
        completion_id=id, created_at=at, operation="chat", key_prefix=key, alias="production",
        release="production-1", index_generation=None, messages=None, parameters=None, answer=None,
        finish_reason="stop", prompt_tokens=tokens, completion_tokens=2 * tokens, ttft_s=None,
        duration_s=0.1, logprob_mean=None, logprob_tail=None, retrieval=None, outcome="done",
        status=200, metadata={}, system_fingerprint=None, conversation=None,
    )  # fmt: skip
    Traffic(database).add([record])
