"""What retrieval does for requests, as Prometheus metrics; see `gateway.metrics`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from gateway.grounding.notes import Notes
    from gateway.store.benefits import TopicBenefit

_SEARCH_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0)


class RetrievalMetrics:
    """The metrics of grounded requests.

    Args:
        registry: Where they are shown; a registry of their own by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.requests = Counter(
            "driftgate_retrieval_requests",
            "Requests that retrieval looked at, by what was done and why.",
            ("outcome", "reason"),
            registry=registry,
        )
        self.failures = Counter(
            "driftgate_retrieval_failures",
            "Requests that the plain model answered since retrieval failed, by what failed.",
            ("reason",),
            registry=registry,
        )
        self.search = Histogram(
            "driftgate_retrieval_search_seconds",
            "Time of a search as the gateway sees it.",
            buckets=_SEARCH_BUCKETS,
            registry=registry,
        )
        self.sentences = Counter(
            "driftgate_retrieval_sentences",
            "Sentences of grounded answers, by whether a passage says them.",
            ("supported",),
            registry=registry,
        )
        self.quotes = Counter(
            "driftgate_retrieval_quotes",
            "Answers of which no sentence was supported, answered by a document's own words.",
            registry=registry,
        )
        self.injections = Counter(
            "driftgate_retrieval_injections",
            "Attempts in passages to instruct the model, made harmless.",
            registry=registry,
        )
        self.benefit = Gauge(
            "driftgate_retrieval_benefit",
            "Mean score of answers with retrieval less that of answers without, by topic.",
            ("topic",),
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.measured = Gauge(
            "driftgate_retrieval_measured",
            "Scored requests behind the benefit of a topic.",
            ("topic", "way"),
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.switched_off = Gauge(
            "driftgate_retrieval_switched_off",
            "1 where `auto` does not retrieve for a topic, since that was shown to harm.",
            ("topic",),
            registry=registry,
            multiprocess_mode="livemostrecent",
        )

    def observe(self, notes: "Notes") -> None:
        """Take in one request."""
        self.requests.labels(notes.outcome, notes.reason).inc()
        if notes.search_s is not None:
            self.search.observe(notes.search_s)
        if notes.supported:
            self.sentences.labels("true").inc(notes.supported)
        if notes.sentences > notes.supported:
            self.sentences.labels("false").inc(notes.sentences - notes.supported)
        if notes.quoted:
            self.quotes.inc()
        if notes.injections:
            self.injections.inc(notes.injections)

    def show(self, topics: "Iterable[TopicBenefit]") -> None:
        """Publish what retrieval brings."""
        for topic in topics:
            benefit = topic.benefit
            if benefit.difference is not None:
                self.benefit.labels(topic.topic).set(benefit.difference)
            self.measured.labels(topic.topic, "grounded").set(benefit.grounded.count)
            self.measured.labels(topic.topic, "plain").set(benefit.plain.count)
            self.switched_off.labels(topic.topic).set(1 if benefit.off else 0)
