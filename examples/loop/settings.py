"""The numbers of the demonstration: sizes, levels, plans. Small, so that it ends soon.

A service that runs for months would keep the defaults: 5,000 requests of reference, windows of 50,
a false alarm a month, canaries of 1, 5 and 25 %. What the levels promise holds for any of these.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from examples.loop.task import PASSAGES, Sizes

FALSE_ALARM_WINDOWS = 1440
BASELINE = 60
BUSY_S, CALM_S = 0.5, 8.0
"""Mean pause of a customer between an answer and the next question, in seconds."""

SERVE = {
    "DRIFTGATE_MONITOR": "true",
    "DRIFTGATE_MONITOR_PORT": "0",
    "DRIFTGATE_MONITOR_PERIOD_S": "1",
    "DRIFTGATE_MONITOR_SETTLE_S": "3",
    "DRIFTGATE_MONITOR_REFERENCE_ROWS": "200",
    "DRIFTGATE_MONITOR_WINDOW": "25",
    "DRIFTGATE_MONITOR_WINDOW_EVERY_S": "0",  # every request is judged, to see it sooner
    "DRIFTGATE_MONITOR_BASELINE": str(BASELINE),
    "DRIFTGATE_MONITOR_FALSE_ALARM_WINDOWS": str(FALSE_ALARM_WINDOWS),
    "DRIFTGATE_MONITOR_REPORT_WINDOWS": "1000",
    # Two cores that train, embed and answer at once are late.
    "DRIFTGATE_RETRIEVAL_DEADLINE_MS": "5000",
    "DRIFTGATE_MAX_MODEL_LEN": "1024",
}
# One thread each for trainer and engines: on two cores, threads that wait for each other crawl.
TRAINING: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "threads": 1,
    "eval_every": 1000,
}
POLICY = {
    "mode": "auto",
    "insufficient": "plain",
    "unsupported": "drop",
    "top_k": str(PASSAGES),
    "sufficient": "0",
}
ROLLOUT: dict[str, Any] = {
    "staging_questions": 10,
    "max_tokens": 32,
    "latency_ratio": 4.0,  # another engine and a trainer share the two cores
    "shadow_share": 0.5,
    "shadow_requests": 30,
    "shares": [0.25, 0.5],
    "stage_requests": 25,
    "least_scores": 15,
    "stage_timeout_s": 900.0,
    "margin": 0.05,
    "warm_s": 20.0,
    "settle_s": 2.0,
    "late_s": 60.0,
}
LOOP: dict[str, Any] = {
    "approval": "auto",
    "sources": ["act", "warn"],
    "warn_windows": 8,
    "least_rows": 25,
    "cool_down_s": 0.0,
    "back_off_s": 15.0,
    "longest_back_off_s": 60.0,
    "recipe": "tiny-cpu",
    "cases": 120,
    "margin": 0.1,
    # Whoever reads the documents well does no harm: drift that lasts is cause enough to learn them.
    "attribution": {"cases": 30, "margin": 0.1, "max_tokens": 32, "documents": "bridge"},
    "rollout": ROLLOUT,
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """How large a run is.

    Attributes:
        sizes: Of the task.
        grounded_rows: Rows of the first training that carry passages.
        test_rows: Held-out questions of each topic that measure.
        users: Customers at once.
        usual_windows: Windows after the reference, before the shift.
        feedback: Share of the answers that somebody judges.
        new: Share of the new topics after the shift.
        harm_s: How long it is waited for harm to be shown too, before what documents do is
            measured.
        bad_candidates: Whether bad releases are rolled out as well, to be stopped.
        serve: More settings of the service.
        training: More settings of each training.
        loop: More settings of the loop.
    """

    sizes: Sizes = field(default_factory=lambda: Sizes(known=6, new=3, rows=40, valid=14))
    grounded_rows: int = 120
    test_rows: int = 12
    users: int = 3
    usual_windows: int = 4
    feedback: float = 0.4
    new: float = 0.5
    harm_s: float = 240.0
    bad_candidates: bool = True
    serve: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    loop: Mapping[str, Any] = field(default_factory=dict)

    def trained(self) -> dict[str, Any]:
        """Return how releases are trained."""
        return {**TRAINING, **self.training}

    def closed(self) -> dict[str, Any]:
        """Return the settings of the loop."""
        return {**LOOP, "overrides": self.trained(), **self.loop}


FULL = Scenario(training={"max_steps": 100})
QUICK = Scenario(
    sizes=Sizes(known=2, new=1, rows=32, valid=22),
    grounded_rows=12,
    test_rows=10,
    users=2,
    usual_windows=2,
    bad_candidates=False,
    serve={"DRIFTGATE_MONITOR_REFERENCE_ROWS": "100", "DRIFTGATE_MONITOR_WINDOW": "10"},
    training={"max_steps": 32, "evaluation.cases": 8},
    loop={"cases": 80},
)
"""The same steps, as small as they can be and still show something; `make test` has them."""
