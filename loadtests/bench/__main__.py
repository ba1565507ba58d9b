"""`python -m loadtests.bench`: measures every system in interleaved rounds and writes the report.

A system is started, measured and ended before the next, and each round begins with another one, so
that what else happens on the machine hits all of them. After each run `bench.json` is written;
`--resume` goes on from it.
"""

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from loadtests.bench import chart, memory, report, results, wrk
from loadtests.bench.driftgate import Driftgate
from loadtests.bench.goals import goals
from loadtests.bench.peers import Direct, LiteLLM, Portkey, SglangRouter, System, VllmRouter
from loadtests.bench.process import ROOT, StartFailed
from loadtests.bench.results import Results, SystemInfo
from loadtests.bench.session import STEPS, Step, measure

SYSTEMS: tuple[System, ...] = (
    Direct(),
    Driftgate("driftgate"),
    Driftgate("driftgate-uds", unix_socket=True),
    Driftgate("driftgate-2", workers=2),
    VllmRouter(),
    SglangRouter(),
    LiteLLM(),
    Portkey(),
)
_WARM_UP_S = 2.0
# Estimates, for the time left: seconds of a start and of an inter-token probe, and requests/s of
# the memory run.
_START_S, _TOKENS_S, _MEMORY_RATE = 8.0, 5.0, 6000.0


@dataclass(frozen=True)
class Session:
    """One system in one round, with the steps that are still to be done."""

    round: int
    system: System
    steps: tuple[Step, ...]


def plan(systems: Sequence[System], rounds: int, results: Results) -> list[Session]:
    """Return what is left to measure, in order; each round begins with the next system."""
    sessions = []
    for round in range(1, rounds + 1):
        shift = (round - 1) % len(systems)
        for system in (*systems[shift:], *systems[:shift]):
            steps = tuple(s for s in STEPS if not _is_done(results, round, system.name, s))
            if steps:
                sessions.append(Session(round, system, steps))
    return sessions


def _is_done(results: Results, round: int, system: str, step: Step) -> bool:
    if step.kind == "tokens":
        return any((run.round, run.system) == (round, system) for run in results.tokens)
    return any(run.round == round for run in results.load_runs(system, step.kind, step.connections))


class Progress:
    """Prints a line per run, with the time left."""

    def __init__(self, sessions: Sequence[Session], seconds: float, then_s: float = 0.0) -> None:
        self._seconds = seconds
        self._left_s = then_s + sum(self.cost_s(session) for session in sessions)

    def cost_s(self, session: Session) -> float:
        """Estimate a session's length, in seconds."""
        return _START_S + _WARM_UP_S + sum(self._step_s(step) for step in session.steps)

    def _step_s(self, step: Step) -> float:
        return _TOKENS_S if step.kind == "tokens" else self._seconds

    def step(self, session: Session, step: Step, words: str) -> None:
        """Say what a step measured."""
        self._left_s -= self._step_s(step)
        self.say(f"round {session.round} {session.system.name:14} {step!s:14} {words}")

    def session(self, session: Session, until_then_s: float) -> None:
        """Count a session as done, however far it came."""
        self._left_s = until_then_s - self.cost_s(session)

    @property
    def left_s(self) -> float:
        """Estimated time until the end, in seconds."""
        return self._left_s

    def say(self, text: str) -> None:
        """Print a line."""
        print(f"[{self._left_s / 60:4.1f} min left] {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Read the command line, measure, and write the report; returns the exit status."""
    options = _options()
    wanted = [system for system in SYSTEMS if system.name in options.systems]
    options.out.mkdir(parents=True, exist_ok=True)
    raw = options.out / "bench.json"
    try:
        wrk.require()
        found = _begin(raw, wanted, options)
    except (wrk.WrkFailed, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    interrupted = False
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # systems under test end with it
    with_memory = not options.skip_memory and found.memory is None
    try:
        _rounds(found, wanted, raw, options.requests / _MEMORY_RATE if with_memory else 0.0)
        if with_memory:
            _memory(found, raw, options.requests)
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted; `--resume` goes on", file=sys.stderr)
    found.save(raw)
    (options.out / "bench.md").write_text(report.markdown(found))
    chart.draw(found, options.out / "bench.png")
    for goal in goals(found):
        print(f"{goal.verdict.strip('*'):12} {goal.claim}: {goal.measured}")
    return 130 if interrupted else 0


def _options() -> argparse.Namespace:
    names = [system.name for system in SYSTEMS]
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    parser.add_argument("--systems", nargs="+", choices=names, default=names, metavar="NAME",
                        help=f"which to measure: {', '.join(names)}")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each run of wrk")
    parser.add_argument("--quick", action="store_true",
                        help="1 round, 2 s a run, no memory run: a smoke test")  # fmt: skip
    parser.add_argument("--skip-memory", action="store_true", help="leave out the memory run")
    parser.add_argument("--requests", type=int, default=1_000_000, help="of the memory run")
    parser.add_argument("--resume", action="store_true", help="go on from bench.json")
    parser.add_argument("--out", type=Path, default=ROOT / "loadtests" / "results",
                        help="folder of bench.md, bench.png and bench.json")  # fmt: skip
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.skip_memory = 1, 2.0, True
    if options.rounds < 1 or options.seconds < 1 or options.requests < 1:
        parser.error("--rounds, --seconds and --requests are at least 1")
    return options


def _begin(raw: Path, systems: Sequence[System], options: argparse.Namespace) -> Results:
    """Return the results to add to; ValueError where there are none to resume, or they differ."""
    infos = {system.name: SystemInfo(system.version, system.note) for system in systems}
    if options.resume:
        try:
            found = results.load(raw)
        except (OSError, msgspec.MsgspecError) as error:
            raise ValueError(f"--resume: {raw}: {error}") from error
        if found.seconds != options.seconds:
            raise ValueError(f"--resume: it was measured with --seconds {found.seconds:g}")
        changed = [n for n, info in infos.items() if found.systems.get(n, info) != info]
        if changed:
            raise ValueError(f"--resume: not the same version now: {', '.join(changed)}")
        found.systems |= infos
        found.rounds = max(found.rounds, options.rounds)
        found.failures.clear()  # they are tried again
        return found
    return Results(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "loadtests.bench", *sys.argv[1:]]),
        machine=results.machine(),
        seconds=options.seconds,
        rounds=options.rounds,
        systems=infos,
    )


def _rounds(found: Results, systems: Sequence[System], raw: Path, then_s: float) -> None:
    for system in systems:
        try:
            system.install()
        except StartFailed as error:
            found.failures[system.name] = str(error)
    sessions = plan(systems, found.rounds, found)
    progress = Progress(sessions, found.seconds, then_s)
    for session in sessions:
        system, until_then_s = session.system, progress.left_s

        def done(step: Step, words: str, session: Session = session) -> None:
            found.save(raw)
            progress.step(session, step, words)

        # What did not start once is not waited for again.
        if system.name not in found.failures:
            try:
                measure(system, session.steps, found, session.round, _WARM_UP_S, done)
            except (StartFailed, wrk.WrkFailed) as error:
                found.failures[system.name] = str(error)
                progress.say(f"round {session.round} {system.name:14} FAILED: {error}")
        progress.session(session, until_then_s)
        found.save(raw)


def _memory(found: Results, raw: Path, requests: int) -> None:
    started = time.monotonic()

    def sample(answered: int, megabytes: float) -> None:
        left_s = max(0, requests - answered) * (time.monotonic() - started) / answered
        print(f"[{left_s / 60:4.1f} min left] memory: {answered:,} requests, {megabytes:.1f} MB",
              file=sys.stderr, flush=True)  # fmt: skip

    try:
        found.memory = memory.measure(Driftgate("driftgate"), requests, sample)
    except (StartFailed, wrk.WrkFailed) as error:
        found.failures["memory"] = str(error)
    found.save(raw)


if __name__ == "__main__":
    raise SystemExit(main())
