"""What retrieval does for requests, as Prometheus metrics; see `gateway.metrics`."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from retrieval.client import RetrievalClient, RetrievalFailed, RetrievalUnavailable
from retrieval.records import CollectionStats

if TYPE_CHECKING:
    from gateway.grounding.notes import Notes
    from gateway.store.benefits import TopicBenefit

# Collections with series of their own, the largest ones; the others are added up as `other`.
_SHOWN_COLLECTIONS = 100
_ASK_S = 1.0
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
        self.files = Counter(
            "driftgate_retrieval_files",
            "Files of vector stores that were indexed, by how it ended.",
            ("status",),
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


class RetrievalServiceMetrics:
    """What the retrieval service tells of itself, asked for at each scrape.

    Args:
        client: Asks the service.
    """

    def __init__(self, client: RetrievalClient) -> None:
        self._client = client

    async def render(self) -> bytes:
        """Return the exposition; without the service only that it is down."""
        try:
            async with asyncio.timeout(_ASK_S):
                found = await self._client.stats(deadline_s=_ASK_S)
                info = await self._client.info()  # after it: what that met is counted
        except (RetrievalUnavailable, RetrievalFailed, TimeoutError):
            return generate_latest(_Known([_up(0)]))
        families = [_up(1), _events(info["counters"]), *_collections(found)]
        return generate_latest(_Known(families))


class _Known(Collector):
    """A registry of what is known already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _up(value: int) -> Metric:
    return GaugeMetricFamily(
        "driftgate_retrieval_service_up",
        "1 while the retrieval service of the gateway's host answers.",
        value=value,
    )


def _events(counters: Mapping[str, int]) -> Metric:
    events = CounterMetricFamily(
        "driftgate_retrieval_service_events",
        "What the retrieval service has done and met since it started: searches, documents, "
        "compactions, corrupt files, collections that it cannot use.",
        labels=["event"],
    )
    for event, number in sorted(counters.items()):
        events.add_metric([event], number)
    return events


def _collections(found: Sequence[CollectionStats]) -> list[Metric]:
    states = GaugeMetricFamily(
        "driftgate_retrieval_collections",
        "Collections, by whether they can be used.",
        labels=["state"],
    )
    usable = [each for each in found if not each.problem]
    states.add_metric(["usable"], len(usable))
    states.add_metric(["unusable"], len(found) - len(usable))
    documents = GaugeMetricFamily(
        "driftgate_retrieval_documents",
        "Documents of a collection that can be found.",
        labels=["collection"],
    )
    passages = GaugeMetricFamily(
        "driftgate_retrieval_passages",
        "Passages of a collection that can be found.",
        labels=["collection"],
    )
    size = GaugeMetricFamily(
        "driftgate_retrieval_bytes", "Bytes of a collection on disk.", labels=["collection"]
    )
    generation = GaugeMetricFamily(
        "driftgate_retrieval_generation",
        "Number of the generation that a collection serves; 0 before its first.",
        labels=["collection"],
    )
    usable.sort(key=lambda each: (-each.passages, each.name))
    for each in usable[:_SHOWN_COLLECTIONS]:
        documents.add_metric([each.name], each.documents)
        passages.add_metric([each.name], each.passages)
        size.add_metric([each.name], each.bytes)
        generation.add_metric([each.name], int(each.generation.removeprefix("g") or 0))
    rest = usable[_SHOWN_COLLECTIONS:]
    if rest:
        documents.add_metric(["other"], sum(each.documents for each in rest))
        passages.add_metric(["other"], sum(each.passages for each in rest))
        size.add_metric(["other"], sum(each.bytes for each in rest))
    return [states, documents, passages, size, generation]
