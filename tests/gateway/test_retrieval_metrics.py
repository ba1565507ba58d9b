"""What the retrieval service tells of itself, as metrics of the gateway."""

import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.retrieval_metrics import RetrievalServiceMetrics
from retrieval.client import RetrievalClient
from retrieval.embedder import HashEmbedder
from retrieval.records import CollectionStats
from tests.retrieval.serving import entry, search, service


def samples(exposition: bytes) -> dict[tuple[str, str], float]:
    """Return the value of each series, by its name and its only label's value."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
    }


async def test_the_service_is_shown(tmp_path: Path) -> None:
    async with service(tmp_path) as client:
        await client.add_entries("facts", [entry("a", "apples", "pears"), entry("b", "plums")])
        await client.compact("facts")
        await search(client, "apples")
        await search(client, "pears")
        exposition = await RetrievalServiceMetrics(client).render()
        shown = samples(exposition)
    assert shown[("driftgate_retrieval_service_up", "")] == 1
    assert shown[("driftgate_retrieval_service_events_total", "searches")] == 2
    assert shown[("driftgate_retrieval_service_events_total", "documents_added")] == 2
    assert shown[("driftgate_retrieval_service_events_total", "compactions")] == 1
    assert shown[("driftgate_retrieval_collections", "usable")] == 1
    assert shown[("driftgate_retrieval_documents", "facts")] == 2
    assert shown[("driftgate_retrieval_passages", "facts")] == 3
    assert shown[("driftgate_retrieval_generation", "facts")] == 1
    assert shown[("driftgate_retrieval_bytes", "facts")] > 0
    if shutil.which("promtool"):
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=exposition, capture_output=True, check=False
        )
        assert checked.returncode in (0, 3), checked.stderr  # 3: style alone


async def test_collections_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    async with service(tmp_path) as client:
        await client.add_entries("old", [entry("a", "apples")])
    async with service(tmp_path, embedder=HashEmbedder(32)) as client:
        shown = samples(await RetrievalServiceMetrics(client).render())
    assert shown[("driftgate_retrieval_collections", "unusable")] == 1
    assert shown[("driftgate_retrieval_service_events_total", "mismatched_collections")] == 1
    assert ("driftgate_retrieval_documents", "old") not in shown


async def test_without_the_service_it_is_down(tmp_path: Path) -> None:
    metrics = RetrievalServiceMetrics(RetrievalClient(tmp_path / "none.sock"))
    assert samples(await metrics.render()) == {("driftgate_retrieval_service_up", ""): 0}


async def test_the_series_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = tuple(
        CollectionStats(name=f"vs_{n}", documents=1, passages=n, bytes=10) for n in range(250)
    )

    async def stats(self: RetrievalClient, **_: object) -> tuple[CollectionStats, ...]:
        return many

    monkeypatch.setattr(RetrievalClient, "stats", stats)
    async with service(tmp_path) as client:
        shown = samples(await RetrievalServiceMetrics(client).render())
    series = [labels for name, labels in shown if name == "driftgate_retrieval_documents"]
    assert len(series) == 101
    assert shown[("driftgate_retrieval_documents", "other")] == 150
    assert shown[("driftgate_retrieval_passages", "vs_249")] == 249
    assert shown[("driftgate_retrieval_passages", "other")] == sum(range(150))
