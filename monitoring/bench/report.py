"""Writes `drift.md`: the goals, then what was measured, and how."""

import math
from collections.abc import Iterator

from monitoring.bench.goals import goals
from monitoring.bench.outcomes import OURS
from monitoring.bench.plan import LONG, LONG_WINDOWS, named
from monitoring.bench.streams import REFERENCE
from monitoring.bench.summary import MONTH, PROMISES, Found, Level, Line, Summary


def markdown(summary: Summary, titles: dict[str, str]) -> str:
    """Return the report.

    Args:
        summary: The figures.
        titles: Of the methods by name.
    """
    windows, onset = summary.windows
    lines = [
        "# Drift bench",
        "",
        f"Measured on {summary.machine}, with `{summary.command}`. Embedder: {summary.embedder}.",
        "",
        "![Alarms after a change, by method and share](drift.png)",
        "",
        "## Goals",
        "",
        "| goal | measured | |",
        "| --- | --- | --- |",
        *(f"| {each.claim} | {each.measured} | {each.verdict} |" for each in goals(summary)),
        "",
        "## Streams",
        "",
        f"BANKING77's {summary.size}-request windows: {windows} of them, the change from window "
        f"{onset} on. {REFERENCE:,} questions are the reference; it and the live requests are "
        "drawn without replacement, so that no question comes twice. A new topic is 8 of the 77 "
        "intents, drawn anew for each run and absent from the reference. Typos, politer words and "
        "longer texts are altered questions; the foreign ones are 60 of our own, each with 7 "
        "openings. What judges is the monitor's own code (`monitoring.scorer`, "
        "`monitoring.evidence.book`) with the default settings: the average of the signals alarms.",
        "",
        f"There are not enough questions for {LONG_WINDOWS} windows without repeating any. The "
        "long null is therefore synthetic: a Gaussian for each intent, fitted to its vectors, from "
        "which reference and live requests are drawn. The shorter null is of real questions.",
        "",
        "## False alarms where nothing changes",
        "",
        "| threshold: windows between false alarms | real questions, "
        f"{windows} windows | synthetic, {LONG_WINDOWS} windows |",
        "| --- | --- | --- |",
        *_nulls(summary),
        "",
        "## What is found, and how soon",
        "",
        "Delays are counted from the first window after the change; the median is over all runs, "
        "those that found nothing included. An alarm before the change is false, and its run has "
        "found nothing.",
        "",
        f"| change | found at {MONTH:,.0f} | median delay | requests | found at {PROMISES:,.0f} "
        "| median delay | by which signal alone |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *_found(summary),
        "",
        "## Beside other methods",
        "",
        "Each judges the same windows against the same reference (1,000 rows of it for MMD and "
        "ratio, which are slow). *Default*: its own limit, for ours the 30-day threshold. *Equal*: "
        "the limit that at most 5 % of its null runs of real questions reach in "
        f"{windows} windows, calibrated for every method on its own null runs. Of fewer than 20 "
        "null runs none may reach it; with n of them the next one does with a chance of about "
        "1 in n + 1, so the rates are alike and only near 5 %.",
        "",
        "| method | limit | null runs that alarm | new topic 10 % | 20 % | CPU per window |",
        "| --- | --- | --- | --- | --- | --- |",
        *(row for line in summary.lines for row in _method(line, titles)),
        "",
        "A median delay is given with the runs that found it; `-` where fewer than half did.",
        "",
        "## Harm",
        "",
        "The loss is 1 where a classifier (ridge regression on the reference's vectors) does not "
        "name the intent of a request. Harm alarms where the mean loss is shown to be above its "
        "baseline and 0.05, with a chance of 1 % of ever being wrong. *Worse* are the runs whose "
        "mean loss did rise by more than 0.05.",
        "",
        "| change | loss before | after | worse | harm alarms | right | before the change |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *_harm(summary),
        "",
        "The precision is of all harm alarms; of the runs that got worse, those without an alarm "
        "were missed until the stream ended: a loss that rises by little more than the tolerance "
        "takes longer than that to be shown.",
    ]
    return "\n".join(lines) + "\n"


def _nulls(summary: Summary) -> Iterator[str]:
    for threshold, found in summary.nulls.items():
        real, smooth = found["null"], found[LONG.name]
        yield (f"| {float(threshold):,.0f} | {real[0]} of {real[1]} "
               f"| {smooth[0]} of {smooth[1]} |")  # fmt: skip


def _found(summary: Summary) -> Iterator[str]:
    for name, month in summary.found[f"{MONTH:g}"].items():
        sooner = summary.found[f"{PROMISES:g}"][name]
        if not month.runs:
            continue
        requests = f"{month.median * summary.size:,.0f}" if math.isfinite(month.median) else "-"
        alone = ", ".join(
            f"{signal} {len(found[name].delays)}" for signal, found in summary.signals.items()
            if found[name].delays
        )  # fmt: skip
        yield (f"| {named(name).title} | {_share(month)} | {_median(month)} | {requests} "
               f"| {_share(sooner)} | {_median(sooner)} | {alone or '-'} |")  # fmt: skip


def _method(line: Line, titles: dict[str, str]) -> Iterator[str]:
    title = "**Driftgate**" if line.name == OURS else titles.get(line.name, line.name)
    for name, level in (("default", line.default), ("equal", line.calibrated)):
        if not level.nulls:
            continue
        cpu = f"{line.cpu_ms:,.0f} ms" if name == "default" else ""
        limit = f"{name}: {_limit(line, level)}"
        cells = [_cell(level.found[each]) for each in ("topic-10", "topic-20")]
        yield (f"| {title} | {limit} | {level.alarmed} of {level.nulls} "
               f"| {' | '.join(cells)} | {cpu} |")  # fmt: skip


def _limit(line: Line, level: Level) -> str:
    return f"{10**level.limit:,.3g}" if line.name == OURS else f"{level.limit:.3g}"


def _cell(found: Found) -> str:
    return f"{_median(found)} ({len(found.delays)} of {found.runs})" if found.runs else "not run"


def _harm(summary: Summary) -> Iterator[str]:
    alarmed = right = worse = 0
    for name, each in summary.harm.items():
        alarmed, right, worse = alarmed + each.alarmed, right + each.right, worse + each.worse
        yield (f"| {named(name).title} | {each.loss_before:.3f} | {each.loss_after:.3f} "
               f"| {each.worse} of {each.runs} | {each.alarmed} | {each.right} "
               f"| {each.early} |")  # fmt: skip
    precision = f"{right / alarmed:.1%}" if alarmed else "-"
    share = f"{right} of {worse} found" if worse else "-"
    yield f"| **precision {precision}; {share}** | | | {worse} | {alarmed} | {right} | |"


def _share(found: Found) -> str:
    early = f", {found.early} too early" if found.early else ""
    return f"{len(found.delays)} of {found.runs}{early}"


def _median(found: Found) -> str:
    return f"{found.median:g}" if math.isfinite(found.median) else "-"
