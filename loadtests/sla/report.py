"""What is left of a load test: one page, one JSON file, and a table on the terminal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtests.sla import plots
from loadtests.sla.verdict import Verdict

_HERE = Path(__file__).parent
_TEMPLATES = (_HERE / "templates", _HERE.parents[1] / "training" / "templates")


@dataclass(frozen=True)
class About:
    """Where and when the test ran."""

    at: str
    url: str
    model: str
    agreement: str
    machine: str
    locust: str


def write(verdicts: Sequence[Verdict], about: About, out: Path) -> Path:
    """Write `report.html` and `report.json` to the folder `out`, return the page."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html").render(
        verdicts=verdicts,
        kept=all(verdict.kept for verdict in verdicts),
        about=about,
        # Drawn by matplotlib of numbers alone.
        plots={each.scenario.name: Markup(plots.as_svg(each)) for each in verdicts},
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.html").write_text(page, encoding="utf-8")
    text = json.dumps(as_json(verdicts, about), indent=2, ensure_ascii=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    return out / "report.html"


def as_json(verdicts: Sequence[Verdict], about: About) -> Mapping[str, object]:
    """Return the verdicts as JSON has them; times are milliseconds."""
    return {
        "about": asdict(about),
        "kept": all(verdict.kept for verdict in verdicts),
        "scenarios": [
            {
                "scenario": asdict(verdict.scenario),
                "kept": verdict.kept,
                "checks": [{**asdict(check), "kept": check.kept} for check in verdict.checks],
                "requests": {
                    name: asdict(each) for name, each in verdict.measured.requests.items()
                },
                "errors": verdict.measured.errors,
                "seconds": round(verdict.measured.seconds, 1),
                "percentiles_ms": {
                    figure: {name: series.percentile(name) for name in ("p50", "p95", "p99")}
                    for figure, series in verdict.measured.figures.items()
                    if len(series.value)
                },
            }
            for verdict in verdicts
        ],
    }


def show(verdicts: Sequence[Verdict], console: Console) -> None:
    """Print a table of every limit, and the verdict in a line."""
    table = Table()
    for title in ("scenario", "figure"):
        table.add_column(title)
    for title in ("measured", "limit", "of"):
        table.add_column(title, justify="right")
    table.add_column("")
    for verdict in verdicts:
        for place, check in enumerate(verdict.checks):
            sign = "≥" if check.least else "≤"
            table.add_row(
                Text(verdict.scenario.name if place == 0 else "", style="bold"),
                check.figure,
                check.show(check.measured),
                f"{sign} {check.show(check.limit)}",
                f"{check.count:,}",
                Text("kept", style="green") if check.kept else Text("BROKEN", style="bold red"),
                end_section=place == len(verdict.checks) - 1,
            )
    console.print(table)
    broken = [verdict.scenario.name for verdict in verdicts if not verdict.kept]
    for verdict in verdicts:
        for text, count in list(verdict.measured.errors.items())[:3]:
            console.print(Text(f"{verdict.scenario.name}: {count} x {text}"))
    if broken:
        console.print(f"[bold red]The SLA is broken[/] by {', '.join(broken)}.")
    else:
        console.print("[bold green]The SLA is kept.[/]")
