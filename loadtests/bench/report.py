"""Writes `bench.md`: the tables, the goals and what to keep in mind when reading them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtests.bench import summary
from loadtests.bench.goals import ADDED, ADDED_ONE_CORE, RATE, STREAMS, goals
from loadtests.bench.results import Results
from loadtests.bench.summary import Measure, Spread

_CAVEATS = """\
- wrk (one thread), the mock and the system share the machine's {cores} cores. At 32 and 256
  connections they compete, and a system that leaves the others more time gets more requests:
  compare the systems, do not take the figures for what a larger machine would do.
- Only Driftgate (keys, traffic records with texts) and LiteLLM (master key) check a key here; the
  routers and Portkey do without. Driftgate also asks the mock for the usage of each stream.
- The peers log warnings only and are otherwise as installed. Their own dependencies are what the
  registry served on the day.
- Added latency is the median latency at one connection less that of `direct` in the same round.
  How long a sleeping core takes to wake is in it, several times: on one core it is not.
  `driftgate-uds` reaches the mock over a Unix socket, as the engines of `driftgate serve` are
  reached, and is still compared with `direct` over TCP.
- wrk corrects latencies for coordinated omission; its p99 at one connection rests on few slow
  answers and moves a lot. Resident memory counts shared pages in each process of a system.
- After each run a system gets the time to finish what it has put off, such as writing records.
  That counts as its CPU time, not in its requests/s; "then still busy" says how long it took after
  {seconds:g} s of 32 connections.
- Driftgate's recorder rests four fifths of the time while others are served, so what it has put off
  when a run ends is written during later runs, and part of its CPU time is counted there: read the
  CPU of its whole answers and streams together.
- The added inter-token time includes the delay of the probe and the mock, which `direct` shows."""


@dataclass(frozen=True)
class _Column:
    title: str
    measure: Measure
    show: Callable[[float], str]


def _us(value: float) -> str:
    return f"{value:,.0f} µs" if abs(value) < 1000 else f"{value / 1000:,.2f} ms"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _seconds(value: float) -> str:
    return f"{value:.3f} s" if value < 10 else f"{value:.1f} s"


def _megabytes(value: float) -> str:
    return f"{value:,.0f} MB"


_TABLES: dict[str, Sequence[_Column]] = {
    "Whole answers": (
        _Column("added p50 at 1", ADDED, _us),
        _Column("p50 at 1", summary.load("whole", 1, summary.p50_us), _us),
        _Column("p99 at 1", summary.load("whole", 1, summary.p99_us), _us),
        _Column("added p50 at 1, one core", ADDED_ONE_CORE, _us),
        _Column("requests/s at 32", RATE, _count),
        _Column("p99 at 32", summary.load("whole", 32, summary.p99_us), _us),
        _Column("requests/s at 256", summary.load("whole", 256, summary.rate), _count),
        _Column("p99 at 256", summary.load("whole", 256, summary.p99_us), _us),
    ),
    "Streams of 35 frames": (
        _Column("added p50 at 1", summary.added_p50_us("stream"), _us),
        _Column("p50 at 1", summary.load("stream", 1, summary.p50_us), _us),
        _Column("streams/s at 32", STREAMS, _count),
        _Column("p99 at 32", summary.load("stream", 32, summary.p99_us), _us),
    ),
    "Added inter-token time, 256 streams with a frame every 20 ms": (
        _Column("p50", summary.token_p50_us, _us),
        _Column("p99", summary.token_p99_us, _us),
        _Column("worst of a stream, p99", summary.token_worst_us, _us),
    ),
    "What it costs": (
        _Column(
            "CPU per 1,000 requests at 32", summary.load("whole", 32, summary.cpu_ms), _seconds
        ),
        _Column(
            "CPU per 1,000 streams at 32", summary.load("stream", 32, summary.cpu_ms), _seconds
        ),
        _Column("then still busy for", summary.load("whole", 32, summary.busy_s), _seconds),
        _Column("peak memory at 256", summary.load("whole", 256, summary.peak_mb), _megabytes),
    ),
}


def markdown(results: Results) -> str:
    """Return the report."""
    machine = results.machine
    lines = [
        "# Benchmark",
        "",
        f"Measured {results.started[:16].replace('T', ' ')} UTC on {machine.cores} cores "
        f"({machine.cpu}), {machine.memory_gib:g} GiB, Linux {machine.kernel}, Python "
        f"{machine.python}, with `{results.command}`: {_rounds(results)}, interleaved, "
        f"{results.seconds:g} s a run. Each cell is the median over the rounds, with the smallest "
        "and the largest value. All systems answer from the same mock engine, which takes no time "
        "of its own.",
        "",
        "![Added latency, requests/s and streams/s of each system](bench.png)",
        "",
        "## Goals",
        "",
        "| goal | measured | |",
        "| --- | --- | --- |",
        *(f"| {goal.claim} | {goal.measured} | {goal.verdict} |" for goal in goals(results)),
        "",
    ]
    for title, columns in _TABLES.items():
        lines += [f"## {title}", "", *_table(results, columns), ""]
    lines += ["## Memory over many requests", "", *_memory(results), ""]
    lines += ["## Systems", "", *_systems(results), ""]
    lines += ["## Keep in mind", "", _CAVEATS.format(cores=machine.cores, seconds=results.seconds)]
    lines += [f"- {line}" for line in _recorded(results)]
    return "\n".join(lines) + "\n"


def _rounds(results: Results) -> str:
    done = {run.round for run in results.loads}
    if len(done) == results.rounds:
        return f"{results.rounds} rounds" if results.rounds > 1 else "1 round"
    return f"{len(done)} of {results.rounds} rounds, interrupted"


def _table(results: Results, columns: Sequence[_Column]) -> list[str]:
    lines = [
        f"| | {' | '.join(column.title for column in columns)} |",
        f"| --- |{' --- |' * len(columns)}",
    ]
    for name in results.systems:
        reason = results.failures.get(name)
        if reason and not any(run.system == name for run in results.loads):
            lines.append(
                f"| {name} | could not be measured: {_cell(reason)} |{' |' * (len(columns) - 1)}"
            )
            continue
        cells = [
            "-"
            if name == "direct" and column.title.startswith("added")
            else _spread(column.measure(results, name), column.show)
            for column in columns
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _spread(spread: Spread | None, show: Callable[[float], str]) -> str:
    if spread is None:
        return "-"
    text = show(spread.median)
    if spread.low != spread.high:
        text += f" ({show(spread.low)} to {show(spread.high)})"
    return f"{text} ⚠ {_cell(spread.problem)}" if spread.problem else text


def _memory(results: Results) -> list[str]:
    growth = results.memory
    if growth is None:
        return ["Not measured."]
    step = max(1, len(growth.samples) // 10)
    shown = [*growth.samples[:-1:step], growth.samples[-1]]
    return [
        f"`{growth.system}`, 32 connections: {growth.growth_mb:+.1f} MB between the warm-up and "
        f"the end, over {growth.requests:,} requests"
        f"{f'; errors {growth.errors}' if growth.errors else ''}.",
        "",
        "| requests | resident |",
        "| --- | --- |",
        *(f"| {requests:,} | {megabytes:.1f} MB |" for requests, megabytes in shown),
    ]


def _systems(results: Results) -> list[str]:
    lines = ["| system | version | set-up |", "| --- | --- | --- |"]
    lines += [f"| {n} | {s.version or '-'} | {s.note} |" for n, s in results.systems.items()]
    if results.failures:
        lines += ["", "What could not be measured, and why:", ""]
        lines += [f"- {name}: {_cell(reason)}" for name, reason in results.failures.items()]
    return lines


def _recorded(results: Results) -> list[str]:
    """Say how much of the traffic Driftgate recorded: what it drops under load is not free."""
    lines = []
    for name in results.systems:
        runs = [run for run in results.recorded if run.system == name]
        if answered := sum(run.answered for run in runs):
            share = sum(run.recorded for run in runs) / answered
            lines.append(
                f"`{name}` answered {answered:,} requests and wrote {min(share, 1):.1%} of them to "
                "its traffic log before it was stopped; the rest lay in its spool, on disk."
            )
    return lines


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
