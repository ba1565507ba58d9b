"""Runs the scenarios of an SLA against a running gateway and says whether it was kept.

    python -m loadtests.sla [SCENARIO …] [--serve] [--url URL] [--sla FILE] [--scale 2] [--out DIR]

Status 0: every limit was kept; 1: one was broken; 2: it could not be tried, and why.
"""

import argparse
import contextlib
import platform
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from gateway.settings import Settings
from gateway.store.database import StoreError
from loadtests.sla import report
from loadtests.sla.agreement import AgreementError, Scenario, read
from loadtests.sla.run import Load, RunFailed, run
from loadtests.sla.target import TargetError, key_for, serving
from loadtests.sla.tenants import keys_for
from loadtests.sla.verdict import Verdict, judge

_SLA = Path(__file__).parents[1] / "sla.yaml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments name; returns the exit status."""
    given = _parser().parse_args(arguments)
    console = Console(highlight=False)
    try:
        scenarios = _chosen(read(given.sla), given)
        given.out.mkdir(parents=True, exist_ok=True)
        with (
            console.status("") as status,
            serving(given.url, given.out / "serve.log", console.print, start=given.serve),
        ):
            load = Load(given.url, key_for(given.url), given.model, given.data, given.out)
            verdicts = []
            for scenario in scenarios:
                label = f"{scenario.name}: {scenario.says} ({scenario.seconds:g} s)"
                status.update(label)
                verdict = _try(scenario, load, given.tenants)
                verdicts.append(verdict)
                console.print("[green]✓ kept[/]  " if verdict.kept else "[red]✗ broken[/]", label)
    except (AgreementError, TargetError, RunFailed, StoreError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    about = report.About(
        at=datetime.now().astimezone().isoformat(" ", "seconds"),
        url=given.url, model=given.model, agreement=str(given.sla.name),
        machine=f"{platform.machine()}, {platform.system()}", locust=version("locust"),
    )  # fmt: skip
    page = report.write(verdicts, about, given.out)
    report.show(verdicts, console)
    console.print(f"Report: {page}", soft_wrap=True)
    return 0 if all(verdict.kept for verdict in verdicts) else 1


def _try(scenario: Scenario, load: Load, tenants: Path | None) -> Verdict:
    with contextlib.ExitStack() as stack:
        if scenario.user == "TenantUser":
            path = tenants or stack.enter_context(
                keys_for(Settings().resolved_database_url(), load.out)
            )
            load = replace(load, tenants=path)
        return judge(scenario, run(scenario, load))


def _chosen(known: Sequence[Scenario], given: argparse.Namespace) -> list[Scenario]:
    names = {scenario.name for scenario in known}
    for name in given.scenarios:
        if name not in names:
            raise AgreementError(f"{given.sla} has no scenario `{name}`, but {', '.join(names)}")
    return [
        replace(
            each,
            users=max(1, round(each.users * given.scale)),
            seconds=given.seconds or each.seconds,
        )
        for each in known
        if (each.name in given.scenarios if given.scenarios else not each.on_request)
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.sla", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("scenarios", nargs="*", metavar="SCENARIO", help="default: all that are not on request")
    add("--sla", type=Path, default=_SLA, help="the limits")
    add("--url", default=Settings().url(), help="where the gateway is")
    add("--model", default="production", help="the alias to ask")
    add("--serve", action="store_true", help="start `driftgate serve` where nothing answers")
    add("--scale", type=float, default=1.0, help="times as many users")
    add("--seconds", type=float, help="let every scenario take so long")
    add("--tenants", type=Path, help="keys of tenants, where the store is not at hand")
    add("--data", type=Path, default=Path("../shared/data"), help="folder that has banking77/")
    add("--out", type=Path, default=Settings().home / "load", help="folder of the report")
    return parser


if __name__ == "__main__":
    sys.exit(main())
