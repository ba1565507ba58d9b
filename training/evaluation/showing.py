"""An evaluation in the terminal (Rich)."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from training.evaluation.cases import ALL
from training.evaluation.gates import Verdict
from training.evaluation.report import METRICS, interval_text
from training.evaluation.result import Evaluation

_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}
_MOST = 24


def show(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print scores, gates and where the report is."""
    console = console or Console()
    console.print(_scores(evaluation))
    for system in evaluation.systems:
        if system.failures:
            first = system.failures[0]
            console.print(
                Text(
                    f"{system.name}: {len(system.failures)} of {system.asked} requests failed and "
                    f"are not scored, the first: {first.id}: {first.reason}",
                    style="red",
                )
            )
    if evaluation.gates:
        console.print(_gates(evaluation))
        console.print(Text.assemble("verdict: ", _mark(evaluation.verdict)))
    console.print(f"report: {evaluation.folder / 'report.html'}", soft_wrap=True, markup=False)


def _scores(evaluation: Evaluation) -> Table:
    table = Table("slice", "measure", *[s.name for s in evaluation.systems])
    found: dict[tuple[str, str], dict[str, str]] = {}
    for score in evaluation.scores:
        row = found.setdefault((score.slice, score.metric), {})
        row[score.system] = interval_text(score.interval, score.metric)
    # Every slice of the task would drown what matters; the report has them.
    slices = {score.slice for score in evaluation.scores if score.part == "test"}
    shown = {k: v for k, v in found.items() if len(slices) < _MOST or k[0] not in slices - {ALL}}
    for (slice, metric), row in shown.items():
        cells = [row.get(s.name, "") for s in evaluation.systems]
        table.add_row(Text(slice), METRICS[metric][0], *cells)
    return table


def _gates(evaluation: Evaluation) -> Table:
    table = Table("gate", "verdict", "why", show_lines=True)
    for gate in evaluation.gates:
        table.add_row(gate.title, _mark(gate.verdict), Text(gate.reason))
    for name, need in evaluation.not_run.items():
        table.add_row(name, "not run", Text(need))
    return table


def _mark(verdict: Verdict | None) -> Text:
    return Text(str(verdict), style=_STYLES[verdict] if verdict else "dim")
