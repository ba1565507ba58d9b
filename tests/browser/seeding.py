"""A store with a believable history: drift was found, a release retrained, a canary is running.

Tests and `scripts/screenshots.py` show the console over it. What the monitor and the worker would
have written is written here in their shapes; nothing of them runs.
"""

import math
import random
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway import signing
from gateway.store.certificates import Certificate, Certificates
from gateway.store.database import Database, metadata
from gateway.store.health import Healths
from gateway.store.keys import SCOPES, KeyLimits, Keys
from gateway.store.monitoring import Monitoring, MonitorState, StoredWindow
from gateway.store.releases import Release, Releases, Target
from gateway.store.retraining import Retraining
from gateway.store.rollouts import Rollout, Rollouts
from tests.browser.seeding_comparisons import seed_comparisons
from tests.browser.seeding_jobs import DONE, seed_data, seed_jobs
from tests.browser.seeding_traffic import BASE, NEW, OLD, Day, seed_traffic

ROLLOUT = "rlt-5eed00000000000000000001"
_RELATED = "new: travel card, exchange rate: 38% of traffic (0.0% before)"


@dataclass(frozen=True)
class Seeded:
    """A filled store, and what tests look for in it."""

    admin: str
    looker: str
    other: str
    day: Day
    request: str


def seed(database: Database, home: Path, requests: int = 900) -> Seeded:
    """Fill an empty store."""
    now = time.time()
    keys = Keys(database)
    _, admin = keys.create("operations", SCOPES)
    _, looker = keys.create("on call, may look", ["view"])
    _, other = keys.create("mobile app", ["inference", "feedback"], _limits())
    keys.revoke(keys.create("intern, summer", ["inference"])[0].prefix)
    _releases(database, home, now)
    day = seed_traffic(database, now, requests)
    request = _loop(database, now)
    _monitor(database, home, now)
    _space_out(database, now)
    seed_jobs(database, home, now, request)
    seed_data(home, request)
    seed_comparisons(database, now)
    return Seeded(admin, looker, other, day, request)


def _limits() -> KeyLimits:
    return KeyLimits(requests_per_minute=600, tokens_per_day=2_000_000)


def _releases(database: Database, home: Path, now: float) -> None:
    releases, certificates = Releases(database), Certificates(database)
    key = signing.SigningKey.load_or_make(home / "signing.key")
    gates = [
        {"name": "integrity", "verdict": "PASS", "reason": "every number finite", "missing": None},
        {"name": "paired", "verdict": "PASS", "reason": "shown on all of: all, new, old",
         "missing": None},
    ]  # fmt: skip
    for id, base, age, before, after in (
        (BASE, None, 9, None, None),
        (OLD, BASE, 6, 0.12, 0.94),
        (NEW, OLD, 0.06, 0.31, 0.93),
    ):
        digests = {"model.safetensors": f"{zlib.crc32(id.encode()):064x}", "config.json": "ab" * 32}
        scores = {
            name: {"system": name, "score": score, "low": max(0, score - 0.09),
                   "high": min(1, score + 0.05), "level": 0.95, "n": 120,
                   "latency_p50_s": 0.81, "latency_p95_s": 1.9}
            for name, score in (("baseline", before), ("candidate", after)) if score is not None
        }  # fmt: skip
        release = Release(
            id, "smollm2-135m-instruct", "main", str(home / "models" / id), digests,
            now - age * 86_400, source="hub" if base is None else "job", base_release=base,
            dataset=None if base is None else "f70b481985a636847ad97a1e13f84ec7" * 2,
            recipe=None if base is None else {"name": "tiny-cpu", "method": "lora", "epochs": 2.0},
            evaluation=None if base is None else
            {"verdict": "PASS", "cases": 120, "systems": scores, "gates": gates, "baseline": base},
            trigger=None if base is None else "fine_tuning_api" if id == OLD else "harm",
            job={OLD: DONE.replace("a2", "a1"), NEW: DONE}.get(id),
        )  # fmt: skip
        releases.register(release)
        if base is not None:
            statement = {
                "type": "driftgate/release-certificate/1", "subject": id, "files": digests,
                "parents": [{"id": base}], "certified_at": now, "evaluation": {"verdict": "PASS"},
            }  # fmt: skip
            certificates.put(Certificate(id, statement, key.public.id, key.sign(statement)))
    by, live = "root (command line)", "live"
    releases.point("production", [Target(BASE, 1.0, live)], by=by, why="the first release")
    releases.point("production", [Target(OLD, 1.0, live)], by=by, why="trained on our own answers")
    releases.point("candidate", [Target(NEW, 1.0, live)], by=ROLLOUT, why="rollout to production")
    releases.point(
        "production", [Target(OLD, 0.75, live), Target(NEW, 0.25, live)],
        by=ROLLOUT, why="canary with 0.25 of the conversations",
    )  # fmt: skip


def _loop(database: Database, now: float) -> str:
    """How it came: drift, harm, a request to retrain, a rollout."""
    health = Healths(database)
    topics = [_RELATED]
    health.put("production", "WARN", {"release": OLD, "drift": 76702.8, "topics": topics})
    health.put("production", "DEGRADED", {"release": OLD, "topics": topics})
    requests = Retraining(database)
    request, _ = requests.open(
        "production", OLD, "The answers got worse: harm was shown.", "act", {"topics": topics}
    )
    requests.take(request.id)
    requests.note(
        request.id, step="roll_out", rows=214, job=DONE,
        rollout=ROLLOUT,
        attribution={"verdict": "train", "reason": "Documents do not bring it back: 13% right on "
                     "what drifted, 96% usual, 20% with documents."},
    )  # fmt: skip
    health.put("production", "RETRAINING", {"request": request.id})
    health.put("production", "CANARY", {"rollout": ROLLOUT, "share": 0.25})
    Rollouts(database).add(
        Rollout(ROLLOUT, "production", NEW, OLD, _plan(), request=request.id,
                job=DONE)
    )  # fmt: skip
    Rollouts(database).write(ROLLOUT, stage="canary-25", evidence=_evidence(now))
    old = Rollout("rlt-5eed00000000000000000000", "staging", OLD, BASE, _plan())
    Rollouts(database).add(old)
    Rollouts(database).write(
        old.id, stage="canary-5", status="rolled_back",
        reason="The candidate is scored worse more often than chance allows: mean loss 0.31 "
        "against 0.12 (e-value of score: 412, limit 300).",
    )  # fmt: skip
    return request.id


def _space_out(database: Database, now: float) -> None:
    """Give what was written at once the times at which it would have happened."""
    ages = {
        "health_transitions": (9400, 6900, 6300, 1500),
        "alias_moves": (777_600, 518_400, 4200, 1500),
    }
    with database.begin() as connection:
        for name, seconds in ages.items():
            table = metadata.tables[name]
            ids = connection.scalars(sa.select(table.c.id).order_by(table.c.id)).all()
            for id, age in zip(ids, seconds, strict=True):
                connection.execute(table.update().where(table.c.id == id).values(at=now - age))
        for name, column, age in (
            ("alias_health", "since", 1500),
            ("rollouts", "created_at", 4300),
            ("retraining_requests", "created_at", 6500),
        ):
            connection.execute(metadata.tables[name].update().values({column: now - age}))


def _plan() -> dict[str, Any]:
    return {
        "shares": [0.05, 0.25, 0.5], "stage_requests": 150, "shadow_share": 0.2,
        "shadow_requests": 60, "approval": "human", "alpha_promote": 0.05,
        "alpha_rollback": 0.01, "margin": 0.03,
    }  # fmt: skip


def _evidence(now: float) -> dict[str, Any]:
    def stage(begun: float, ended: float | None, **told: Any) -> dict[str, Any]:
        ends = {} if ended is None else {"ended_at": now - ended, "verdict": "passed"}
        return {"started_at": now - begun, **told, **ends}

    canary = {
        "share": 0.25, "share_of_scores": 1.1,
        "failure": {"candidate": {"requests": 97, "mean": 0.0},
                    "control": {"requests": 301, "mean": 0.02}, "promote": 9.4, "rollback": 0.4},
        "score": {"candidate": {"requests": 31, "mean": 0.06},
                  "control": {"requests": 84, "mean": 0.38}, "promote": 31.0, "rollback": 0.02},
        "needed": {"promote": 20.0, "rollback": 300.0},
        "curve": _curve(), "curve_columns": ["requests", "failure_promote", "failure_rollback",
                                             "score_promote", "score_rollback"],
    }  # fmt: skip
    return {
        "asked": {"by": "retraining"},
        "start": stage(4200, 3900, reason="The engine is ready.", files_checked=6),
        "staging": stage(3890, 3700, questions=20, answered=20, reason="20 of 20 answered; 1.04 "
                         "times the old release's time.",
                         latency_ratio={"value": 1.04, "low": 0.88, "high": 1.21}),
        "shadow": stage(3690, 2400, requests=60, reason="No harm in 60 mirrored requests.",
                        length_ratio={"value": 1.12, "low": 0.97, "high": 1.3}),
        "canary-5": stage(2390, 1500, requests=152, share=0.05, missing=None,
                          reason="152 requests, no harm."),
        "canary-25": stage(1490, None, requests=97, missing="97 of 150 requests", **canary),
    }  # fmt: skip


def _curve() -> list[list[float]]:
    chance = random.Random(3)
    points, logs = [[0.0, 1.0, 1.0, 1.0, 1.0]], [0.0] * 4
    for n in range(1, 98):
        for k, (drift, noise) in enumerate(((2.2, 3), (-0.9, 2), (3.5, 9), (-3.8, 5))):
            logs[k] += drift / 97 + chance.gauss(0, noise / 97)
        points.append([float(n * 4), *(round(math.exp(each), 4) for each in logs)])
    return points


def _monitor(database: Database, home: Path, now: float) -> None:
    chance = random.Random(5)
    windows, drift, harm = [], 0.0, 0.0
    for n in range(72):
        drift = max(0.0, drift + (chance.gauss(0, 0.5) if n < 46 else chance.gauss(0.3, 0.4)))
        harm = max(-3.0, harm + (chance.gauss(-0.1, 0.3) if n < 50 else chance.gauss(0.24, 0.3)))
        evidence = {"all": math.exp(drift), "feedback": math.exp(harm), "failed": 0.13}
        at = now - (72 - n) * 300
        windows.append(StoredWindow("production", OLD, n, at - 290, at, [], {}, evidence, at))
    last = windows[-1].evidence
    signals = {
        "all": {"kind": "drift", "evidence": last["all"], "threshold": 1440.0, "count": 720},
        "feedback": {"kind": "harm", "evidence": last["feedback"], "threshold": 200.0,
                     "mean": 0.41, "limit": 0.377, "count": 214},
        "failed": {"kind": "harm", "evidence": 0.13, "threshold": 200.0, "mean": 0.011,
                   "limit": 0.168, "count": 720},
        "refusal": {"kind": "harm", "evidence": 2.4, "threshold": 200.0, "mean": 0.06,
                    "limit": 0.168, "count": 712},
    }  # fmt: skip
    topics = [
        {"id": "new-1", "label": "travel card, exchange rate, kronor", "share": 0.38,
         "reference_share": 0.0, "loss": 0.71, "news": _RELATED,
         "examples": ["What exchange rate do you use for the new travel card?",
                      "Is there a fee for paying in kronor with the travel card?",
                      "<b>Where</b> do the rates come from & who sets them?"]},
        {"id": "0", "label": "card, lost, stolen", "share": 0.27, "reference_share": 0.41,
         "loss": 0.03, "news": "", "examples": ["My card is gone. What should I do?"]},
        {"id": "1", "label": "pin, change", "share": 0.19, "reference_share": 0.31, "loss": 0.02,
         "news": "", "examples": ["How do I change my PIN?"]},
        {"id": "2", "label": "refund, shop", "share": 0.16, "reference_share": 0.28, "loss": 0.05,
         "news": "", "examples": ["How long does a refund take?"]},
    ]  # fmt: skip
    descriptors: dict[str, dict[str, float | None]] = {
        "prompt_words": {"now": 11.4, "reference": 8.2},
        "refusal": {"now": 0.31, "reference": 0.02},
        "answer_words": {"now": 12.9, "reference": 15.1}, "failed": {"now": 0.01, "reference": 0.0},
    }  # fmt: skip
    folder = home / "monitoring" / "reports" / "production"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "2026-11-28T10-54-01Z.html").write_text(
        "<!doctype html><title>Report</title><h1>Drift report</h1><script>1</script>"
    )
    Monitoring(database).write(
        MonitorState(
            "production", OLD, "watching", 72, 720, 12, 100, 100, now - 20, signals, descriptors,
            topics, "/reports/production/2026-11-28T10-54-01Z.html",
        ),
        windows,
    )  # fmt: skip
    Monitoring(database).write(
        MonitorState("production", NEW, "no_reference", reference_rows=64, reference_needed=100)
    )
