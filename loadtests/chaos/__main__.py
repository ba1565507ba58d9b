"""`python -m loadtests.chaos`: runs every scenario and writes the scorecard.

Each scenario has a gateway and engines of its own; one that could not be run is told as such, and
the others go on. The exit status is 1 where Driftgate has lost a request or answered wrongly.
"""

import argparse
import asyncio
import shlex
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from loadtests.bench.process import ROOT, StartFailed
from loadtests.bench.results import machine
from loadtests.chaos import scorecard
from loadtests.chaos.driftgate import Driftgate
from loadtests.chaos.litellm import LiteLLM
from loadtests.chaos.scenarios import ALL, Scenario, name
from loadtests.chaos.score import Score, skipped
from loadtests.chaos.scorecard import Card, Report
from loadtests.chaos.targets import System

_SYSTEMS: tuple[System, ...] = (Driftgate(), LiteLLM())


def main() -> int:
    """Read the command line, run, and write; returns the exit status."""
    options = _options()
    report = Report(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "loadtests.chaos", *sys.argv[1:]]),
        machine=machine(),
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started ends with it
    scenarios = [each for each in ALL if not options.only or name(each) in options.only]
    systems = [system for system in _SYSTEMS if system.name in options.against]
    console = Console(stderr=True)
    try:
        for system in systems:
            card = Card(system.name, system.version, system.note)
            report.cards.append(card)
            for at, scenario in enumerate(scenarios, 1):
                where = f"[{at}/{len(scenarios)}] {system.name:9}"
                console.print(f"{where} {name(scenario)} …", highlight=False, markup=False)
                card.scores.append(_run(scenario, system, console))
                report.save(options.out)
    except KeyboardInterrupt:
        console.print("interrupted")
        return 130
    for card in report.cards:
        Console().print(scorecard.table(card))
    ours = [score for card in report.cards if card.name == "driftgate" for score in card.scores]
    return 1 if any(score.lost or score.wrong for score in ours) else 0


def _run(scenario: Scenario, system: System, console: Console) -> Score:
    began = time.monotonic()
    try:
        score = asyncio.run(_coroutine(scenario, system))
    except StartFailed as error:
        score = skipped(name(scenario), f"it could not be run: {error}")
    words = f"n/a: {score.skipped}" if score.skipped else score.describe()
    console.print(f"    {time.monotonic() - began:.0f} s: {words}", highlight=False, markup=False)
    return score


async def _coroutine(scenario: Scenario, system: System) -> Score:
    return await scenario(system)


def _options() -> argparse.Namespace:
    names = [name(scenario) for scenario in ALL]
    systems = [system.name for system in _SYSTEMS]
    parser = argparse.ArgumentParser(prog="python -m loadtests.chaos", description=__doc__)
    parser.add_argument("--against", nargs="+", choices=systems, default=systems, metavar="NAME",
                        help=f"which systems: {', '.join(systems)}")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="SCENARIO",
                        help=f"which scenarios: {', '.join(names)}")  # fmt: skip
    parser.add_argument("--out", type=Path, default=ROOT / "loadtests" / "results",
                        help="folder of chaos.md and chaos.json")  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
