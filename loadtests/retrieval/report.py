"""Writes `retrieval.md`: the goals, then what was measured and on what."""

from collections.abc import Callable
from typing import TypeVar

from loadtests.retrieval.goals import goals
from loadtests.retrieval.results import Fresh, Interval, Labelled, Large, Results, Served

_T = TypeVar("_T")


def markdown(results: Results) -> str:
    """Return the report."""
    machine = results.machine
    when = results.started.replace("T", " ")[:16]
    lines = [
        "# Benchmark of retrieval",
        "",
        f"Measured {when} UTC on {machine.cores} cores ({machine.cpu}), "
        f"{machine.memory_gib:.1f} GiB, Linux {machine.kernel}, Python {machine.python}, with "
        f"`{results.command}`.",
        "",
        "![Latency, freshness and quality of search](retrieval.png)",
        "",
        "## Goals",
        "",
        "| goal | measured | |",
        "| --- | --- | --- |",
        *(f"| {goal.claim} | {goal.measured} | {goal.verdict} |" for goal in goals(results)),
    ]
    if results.failures:
        lines += ["", "What could not be measured, and why:", ""]
        lines += [f"- {name}: {why}" for name, why in results.failures.items()]
    lines += _section(results.served, _served) + _section(results.large, _large)
    lines += _section(results.fresh, _fresh)
    if results.quality:
        lines += _quality(results.quality)
    return "\n".join(lines) + "\n"


def _section(found: _T | None, write: Callable[[_T], list[str]]) -> list[str]:
    return [] if found is None else write(found)


def _served(found: Served) -> list[str]:
    copies = (
        "all of them real texts"
        if not found.perturbed
        else f"{found.perturbed:,} of them copies of others with their words shuffled and noise of "
        "half their length added to their vectors, the rest real texts"
    )
    return [
        "",
        f"## {found.passages:,} passages through the service",
        "",
        "Passages of BANKING77's training questions and of Debian's package descriptions "
        f"(synopses, paragraphs, whole ones), {copies}; {found.words:g} words on average. "
        "Questions are BANKING77's test questions and synopses of packages whose synopsis is no "
        "passage, asked one at a time over the Unix socket. "
        f"Embedder: {found.embedder}.",
        "",
        "| calls | p50 | p99 | recall@10 against exact search on the same vectors |",
        "| --- | --- | --- | --- |",
        f"| {found.times.count:,} hybrid searches | {found.times.p50:.1f} ms "
        f"| {found.times.p99:.1f} ms | {found.recall:.4f} (dense) |",
        f"| {found.embedding.count:,} of these questions only embedded "
        f"| {found.embedding.p50:.1f} ms | {found.embedding.p99:.1f} ms | |",
    ]


def _large(found: Large) -> list[str]:
    return [
        "",
        f"## {found.vectors:,} vectors",
        "",
        f"Synthetic: each is one of {found.real:,} real vectors with Gaussian noise of half its "
        f"length (cosine 0.89), {found.dimensions} numbers; questions are real vectors that are "
        f"not among those. 8-bit inverted lists, of which a search looks at {found.lists:,}.",
        "",
        "| searches | p50 | p99 | recall@10 | build | memory of the build | index file "
        "| exact vectors, mapped | own memory of a searcher | pages mapped besides |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        f"| {found.times.count:,} | {found.times.p50:.1f} ms | {found.times.p99:.1f} ms "
        f"| {found.recall:.4f} | {found.build_s:.0f} s | {found.build_mb:,.0f} MB "
        f"| {found.file_mb:,.0f} MB | {found.vectors_mb:,.0f} MB | {found.own_mb:,.0f} MB "
        f"| {found.mapped_mb:,.0f} MB |",
    ]


def _fresh(found: Fresh) -> list[str]:
    compacted = ", ".join(f"{end - start:.0f} s" for start, end in found.compactions) or "none"
    lines = [
        "",
        "## Upserts and compaction under searches",
        "",
        f"{found.rate:g} searches/s are sent, whether or not those before were answered, to a "
        f"collection of {found.passages:,} passages, and documents are added and replaced one "
        f"after the other. Compaction: {compacted}.",
        "",
        "| | calls | p50 | p99 |",
        "| --- | --- | --- | --- |",
        f"| searches outside compaction | {found.quiet.count:,} | {found.quiet.p50:.1f} ms "
        f"| {found.quiet.p99:.1f} ms |",
        f"| searches during compaction | {found.compacting.count:,} "
        f"| {found.compacting.p50:.1f} ms | {found.compacting.p99:.1f} ms |",
        f"| upserts until a search has found them | {found.visible.count:,} "
        f"| {found.visible.p50:.1f} ms | {found.visible.p99:.1f} ms |",
    ]
    if found.reasons:
        lines += ["", "Failed: " + "; ".join(found.reasons)]
    return lines


def _quality(found: list[Labelled]) -> list[str]:
    lines = [
        "",
        "## Quality",
        "",
        "Means with their 95 % intervals (bootstrap over questions, 2,000 resamples); differences "
        "are paired by question. recall@10 is a share of the most that 10 hits can have.",
        "",
        "| set | | nDCG@10 | recall@10 |",
        "| --- | --- | --- | --- |",
    ]
    for labelled in found:
        for mode in ("lexical", "dense", "hybrid"):
            figures = labelled.modes[mode]
            lines.append(f"| {labelled.name} | {mode} | {_interval(figures.ndcg)} "
                         f"| {_interval(figures.recall)} |")  # fmt: skip
        for half, figures in labelled.gains.items():
            lines.append(f"| {labelled.name} | hybrid − {half} | {_interval(figures.ndcg, '+')} "  # noqa: RUF001
                         f"| {_interval(figures.recall, '+')} |")  # fmt: skip
    lines.append("")
    for labelled in found:
        lines.append(f"- {labelled.name}: {labelled.documents:,} documents, {labelled.queries:,} "
                     f"questions; {labelled.note}.")  # fmt: skip
    return lines


def _interval(found: Interval, sign: str = "") -> str:
    return f"{found.mean:{sign}.3f} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"
