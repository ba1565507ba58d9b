"""What retrieval is to reach, each as a number and a limit that the measurements decide."""

from collections.abc import Iterator

from loadtests.bench.goals import Goal
from loadtests.retrieval.results import Changed, Fresh, Labelled, Large, Results, Served

SERVED_P50_MS, SERVED_P99_MS, LARGE_P50_MS, VISIBLE_MS, RECALL = 20.0, 50.0, 10.0, 1000.0, 0.95
PASSAGES, VECTORS, FACTS, RATE = 100_000, 1_000_000, 50, 50.0


def goals(results: Results) -> list[Goal]:
    """Decide every goal; what was measured on a smaller scale decides none."""
    return [
        *_served(results.served),
        *_large(results.large),
        *_fresh(results.fresh),
        *_quality(results.quality),
        *_changed(results.changed),
    ]


def _served(found: Served | None) -> Iterator[Goal]:
    claim = f"Search in {PASSAGES:,} passages, embedding included"
    size = None if found is None else found.passages
    latency, recall = "not measured", "not measured"
    met_latency = met_recall = None
    if found is not None:
        latency = f"p50 {found.times.p50:.1f} ms, p99 {found.times.p99:.1f} ms"
        recall = f"{found.recall:.3f}"
        if found.passages >= PASSAGES:
            met_latency = found.times.p50 < SERVED_P50_MS and found.times.p99 < SERVED_P99_MS
            met_recall = found.recall >= RECALL
    yield Goal(f"{claim}: p50 < {SERVED_P50_MS:g} ms, p99 < {SERVED_P99_MS:g} ms",
               _scaled(latency, size, PASSAGES), met_latency)  # fmt: skip
    yield Goal(f"The same, recall@10 against exact search: ≥ {RECALL}",
               _scaled(recall, size, PASSAGES), met_recall)  # fmt: skip


def _large(found: Large | None) -> Iterator[Goal]:
    measured, met, size = "not measured", None, None
    if found is not None:
        size = found.vectors
        measured = (
            f"p50 {found.times.p50:.1f} ms, p99 {found.times.p99:.1f} ms, "
            f"recall@10 {found.recall:.3f}"
        )
        if found.vectors >= VECTORS:
            met = found.times.p50 < LARGE_P50_MS
    yield Goal(f"Search in {VECTORS:,} vectors, without embedding: p50 < {LARGE_P50_MS:g} ms",
               _scaled(measured, size, VECTORS), met)  # fmt: skip


def _fresh(found: Fresh | None) -> Iterator[Goal]:
    visible = failed = "not measured"
    met_visible = met_failed = None
    size = None if found is None else found.passages
    if found is not None:
        visible = (
            f"p50 {found.visible.p50:.0f} ms, longest {found.visible_max:.0f} ms "
            f"of {found.visible.count:,}"
        )
        failed = f"{found.failed:,} of {found.searches:,} failed"
        if found.passages >= PASSAGES and found.rate >= RATE and found.visible.count:
            met_visible = found.visible_max < VISIBLE_MS
            if found.compacting.count:
                met_failed = found.failed == 0
    yield Goal(f"An upsert is found while {RATE:g} searches/s run: < {VISIBLE_MS / 1000:g} s",
               _scaled(visible, size, PASSAGES), met_visible)  # fmt: skip
    yield Goal("No search fails, also during compaction",
               _scaled(failed, size, PASSAGES), met_failed)  # fmt: skip


def _quality(found: list[Labelled]) -> Iterator[Goal]:
    if not found:
        yield Goal("Hybrid at or above both halves on two labelled sets", "not measured", None)
    for labelled in found:
        for metric in ("ndcg", "recall"):
            means = {
                mode: getattr(figures, metric).mean for mode, figures in labelled.modes.items()
            }
            half = max(("lexical", "dense"), key=means.__getitem__)
            gain = getattr(labelled.gains[half], metric)
            name = "nDCG@10" if metric == "ndcg" else "recall@10"
            yield Goal(
                f"{labelled.name}, {name}: hybrid at or above both halves",
                f"{means['hybrid']:.3f}; {half} {means[half]:.3f}; difference {gain.mean:+.3f} "
                f"({gain.low:+.3f} to {gain.high:+.3f})",
                means["hybrid"] >= means[half],
            )


def _changed(found: Changed | None) -> Iterator[Goal]:
    measured, met = "not measured", None
    if found is not None:
        measured = (
            f"{found.after_new} of {found.facts} cite what holds now, "
            f"{found.after_old} what held before"
        )
        if found.facts >= FACTS:
            # Where nothing was cited before the change, nothing is shown by what is not cited.
            met = (
                found.after_new == found.facts
                and found.after_old == 0
                and found.before_old == found.facts
            )
    yield Goal(f"Of {FACTS} changed facts, all answers cite the new version, none the old",
               measured, met)  # fmt: skip


def _scaled(measured: str, size: int | None, wanted: int) -> str:
    return measured if size is None or size >= wanted else f"{measured} (of {size:,} only)"
