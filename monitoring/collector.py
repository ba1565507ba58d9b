"""What the store knows of models, jobs and keys, as Prometheus metrics read at each scrape."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.store.database import Database, StoreError
from gateway.store.health import STATES, Healths
from gateway.store.monitoring import Monitoring, MonitorState
from gateway.store.overview import AliasTarget, LastRollout, Overview
from monitoring.across import believed_harm
from monitoring.key_use import RunningUse

_RELEASE = ("alias", "release")
_SIGNAL = (*_RELEASE, "signal")
# Topics with series of their own, of a release; those with the largest shares.
_SHOWN_TOPICS = 50
_KEEP_S = 30.0


class StoreCollector(Collector):
    """Reads the store at each scrape; of what keys use at most once in 30 s.

    A store that cannot be read leaves `driftgate_monitor_store_up` 0 and nothing else. Only
    releases that an alias points at are shown: a test that stood high when its release was
    replaced alarms no more.

    Args:
        database: The store.
        budgets: Whether the ledger of budgets is in the store (it may be in Redis).
        clock: Unix seconds.
    """

    def __init__(
        self, database: Database, *, budgets: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        self._monitoring = Monitoring(database)
        self._healths = Healths(database)
        self._overview = Overview(database)
        self._budgets = budgets
        self._clock = clock
        self._use = RunningUse(self._overview, clock())
        self._keys: tuple[float, list[Metric]] | None = None
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        try:
            targets = self._overview.targets()
            families = [
                *_states(_shown(self._monitoring.states(), targets)),
                _healths(targets, {each.alias: each.state for each in self._healths.all()}),
                *_targets(targets),
                _jobs(self._overview.jobs()),
                *_rollouts(self._overview.rollouts()),
                *self._key_families(),
            ]
        except StoreError:
            return [_up(0)]
        return [_up(1), *families]

    def _key_families(self) -> list[Metric]:
        with self._lock:
            now = self._clock()
            if self._keys is None or now - self._keys[0] >= _KEEP_S:
                self._keys = now, self._read_keys(now)
            return self._keys[1]

    def _read_keys(self, now: float) -> list[Metric]:
        names = self._overview.key_names()
        tokens = CounterMetricFamily(
            "driftgate_key_tokens",
            "Tokens of a key's requests since the monitor started, by type.",
            labels=("key", "name", "type"),
        )
        requests = CounterMetricFamily(
            "driftgate_key_requests",
            "Requests of a key since the monitor started.",
            labels=("key", "name"),
        )
        for use in self._use.read(now, names):
            name = names.get(use.key or "", "")
            requests.add_metric((use.key or "none", name), use.requests)
            tokens.add_metric((use.key or "none", name, "input"), use.input_tokens)
            tokens.add_metric((use.key or "none", name, "output"), use.output_tokens)
        families: list[Metric] = [tokens, requests]
        if self._budgets:
            used = GaugeMetricFamily(
                "driftgate_key_budget_used_ratio",
                "Share of a key's budget of tokens that is used, by budget.",
                labels=("key", "name", "budget"),
            )
            for each in self._overview.budgets(now):
                used.add_metric((each.key, each.name, each.budget), each.used / each.limit)
            families.append(used)
        return families


def _up(value: int) -> Metric:
    return GaugeMetricFamily(
        "driftgate_monitor_store_up", "1 while the monitor can read the store.", value=value
    )


def _shown(states: Sequence[MonitorState], targets: Sequence[AliasTarget]) -> list[MonitorState]:
    served = {(target.alias, target.release) for target in targets}
    # A release may be asked for by its own name; then no alias has to point at it.
    return [s for s in states if (s.alias, s.release) in served or s.alias == s.release]


class _Families:
    """Gauges and counters of one set of labels, each described once."""

    def __init__(self) -> None:
        self._made: dict[str, Metric] = {}

    def gauge(
        self, name: str, about: str, labels: Sequence[str]
    ) -> Callable[[Sequence[str], float | None], None]:
        family = GaugeMetricFamily(f"driftgate_monitor_{name}", about, labels=labels)
        self._made[name] = family

        def add(values: Sequence[str], value: float | None) -> None:
            if value is not None:
                family.add_metric(values, value)

        return add

    def counter(
        self, name: str, about: str, labels: Sequence[str]
    ) -> Callable[[Sequence[str], float], None]:
        family = CounterMetricFamily(f"driftgate_monitor_{name}", about, labels=labels)
        self._made[name] = family
        return family.add_metric

    def all(self) -> list[Metric]:
        return list(self._made.values())


def _states(states: Sequence[MonitorState]) -> list[Metric]:
    made = _Families()
    rows = made.gauge("reference_rows", "Rows of the reference so far.", _RELEASE)
    needed = made.gauge("reference_needed", "Rows that the reference needs.", _RELEASE)
    windows = made.counter("windows", "Windows judged so far.", _RELEASE)
    requests = made.counter("requests", "Requests in judged windows.", _RELEASE)
    left_out = made.counter(
        "requests_left_out",
        "Requests in no window: a later turn of a conversation, or no prompt.",
        _RELEASE,
    )
    last = made.gauge("last_window_timestamp_seconds", "When the last window was judged.", _RELEASE)
    for state in states:
        of = (state.alias, state.release)
        rows(of, state.reference_rows)
        needed(of, state.reference_needed)
        windows(of, state.windows)
        requests(of, state.requests)
        left_out(of, state.left_out)
        last(of, state.last_window_at)
    return [*made.all(), *_signals(states), *_descriptors(states), *_topics(states)]


def _signals(states: Sequence[MonitorState]) -> list[Metric]:
    made = _Families()
    evidence = {
        "drift": made.gauge("drift_evidence", "Evidence that the questions changed.", _SIGNAL),
        "harm": made.gauge("harm_evidence", "Evidence that the answers got worse.", _SIGNAL),
    }
    thresholds = {
        "drift": made.gauge("drift_threshold", "Drift evidence that alarms.", _RELEASE),
        "harm": made.gauge("harm_threshold", "Harm evidence that alarms.", _RELEASE),
    }
    loss = made.gauge("loss", "Mean loss of a harm signal, from 0 to 1.", _SIGNAL)
    limit = made.gauge("loss_limit", "Mean loss that counts as harm when surpassed.", _SIGNAL)
    score = made.gauge("probe_score", "Mean score of the golden probes, from 0 to 1.", _RELEASE)
    sure = made.gauge(
        "harm_believed", "1 where harm is believed with all aliases looked at together.", _RELEASE
    )
    among_all = believed_harm(states)
    for state in states:
        of = (state.alias, state.release)
        sure(of, float(of in among_all))
        highest: dict[str, float] = {}
        for name, signal in sorted(state.signals.items()):
            kind = signal["kind"]
            evidence[kind]((*of, name), signal["evidence"])
            highest[kind] = max(highest.get(kind, 0.0), signal["threshold"])
            if kind == "harm":
                loss((*of, name), signal.get("mean"))
                limit((*of, name), signal.get("limit"))
        # Of drift only the average of all signals alarms.
        if "all" in state.signals:
            highest["drift"] = state.signals["all"]["threshold"]
        for kind, value in highest.items():
            thresholds[kind](of, value)
        failed = state.signals.get("probes", {}).get("mean")
        score(of, None if failed is None else 1 - failed)
    return made.all()


def _descriptors(states: Sequence[MonitorState]) -> list[Metric]:
    made = _Families()
    labels = (*_RELEASE, "descriptor")
    now = made.gauge("descriptor", "Mean of a descriptor in the last window.", labels)
    reference = made.gauge("descriptor_reference", "Mean of a descriptor in the reference.", labels)
    for state in states:
        for name, means in sorted(state.descriptors.items()):
            now((state.alias, state.release, name), means.get("now"))
            reference((state.alias, state.release, name), means.get("reference"))
    return made.all()


def _topics(states: Sequence[MonitorState]) -> list[Metric]:
    made = _Families()
    labels = (*_RELEASE, "topic")
    share = made.gauge("topic_share", "Share of a topic in the last windows.", labels)
    reference = made.gauge("topic_reference_share", "Share of a topic in the reference.", labels)
    for state in states:
        named: dict[str, tuple[float, float]] = {}
        for topic in sorted(state.topics, key=lambda topic: -topic["share"])[:_SHOWN_TOPICS]:
            label = topic["label"] or topic["id"]
            if label in named:  # two topics may come to the same words
                label = f"{label} ({topic['id']})"
            named[label] = topic["share"], topic["reference_share"]
        for label, (now, before) in named.items():
            share((state.alias, state.release, label), now)
            reference((state.alias, state.release, label), before)
    return made.all()


def _healths(targets: Sequence[AliasTarget], known: dict[str, str]) -> Metric:
    health = GaugeMetricFamily(
        "driftgate_monitor_alias_health",
        "1 for the state that an alias is in, 0 for the others.",
        labels=("alias", "state"),
    )
    for alias in sorted({target.alias for target in targets} | set(known)):
        for state in STATES:
            health.add_metric((alias, state), int(known.get(alias, "HEALTHY") == state))
    return health


def _targets(targets: Sequence[AliasTarget]) -> list[Metric]:
    weight = GaugeMetricFamily(
        "driftgate_alias_weight",
        "Share of an alias's traffic that a release gets, by mode.",
        labels=("alias", "release", "mode"),
    )
    changed = GaugeMetricFamily(
        "driftgate_alias_changed_timestamp_seconds",
        "When an alias was last pointed at releases.",
        labels=("alias",),
    )
    for target in targets:
        weight.add_metric((target.alias, target.release, target.mode), target.weight)
    for alias, at in {target.alias: target.changed_at for target in targets}.items():
        changed.add_metric((alias,), at)
    return [weight, changed]


def _jobs(counts: dict[str, int]) -> Metric:
    jobs = GaugeMetricFamily(
        "driftgate_training_jobs", "Fine-tuning jobs, by status.", labels=("status",)
    )
    for status, count in counts.items():
        jobs.add_metric((status,), count)
    return jobs


def _rollouts(newest: Sequence[LastRollout]) -> list[Metric]:
    info = GaugeMetricFamily(
        "driftgate_rollout_info",
        "1: where the newest rollout of an alias is, and how it stands.",
        labels=("alias", "candidate", "stage", "status"),
    )
    finished = GaugeMetricFamily(
        "driftgate_rollout_finished_timestamp_seconds",
        "When the newest rollout of an alias was over.",
        labels=("alias",),
    )
    for each in newest:
        info.add_metric((each.alias, each.candidate, each.stage, each.status), 1)
        if each.finished_at is not None:
            finished.add_metric((each.alias,), each.finished_at)
    return [info, finished]
