"""What `driftgate data` prints: findings by check, and a bar while the rows are read."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from training.data import source
from training.data.check import Checked
from training.data.findings import Finding

_STYLE = {"error": "red", "warning": "yellow", "info": "dim"}
_MOST_LINES = 5


def findings(checked: Checked) -> Table:
    """Return the findings by check: how many, on which lines, and the first reason of each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("check", no_wrap=True)
    table.add_column("found", justify="right", no_wrap=True)
    table.add_column("lines", overflow="fold", max_width=24)
    table.add_column("first reason", overflow="fold")
    grouped: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in checked.findings:
        grouped.setdefault((finding.check, finding.severity, finding.file), []).append(finding)
    for (check, severity, file), found in grouped.items():
        lines = [f"{finding.line}" for finding in found if finding.line]
        more = " …" if len(lines) > _MOST_LINES else ""
        reason = f"{file}: {found[0].reason}" if file else found[0].reason
        table.add_row(
            Text(check, style=_STYLE[severity]),
            f"{len(found):,}" if lines else "",
            ", ".join(lines[:_MOST_LINES]) + more if lines else "all",
            Text(reason),  # a reason in square brackets is no markup
        )
    return table


def summary(checked: Checked) -> str:
    """Return what came of a check in one line."""
    share = checked.flagged() / checked.rows if checked.rows else 0.0
    return (
        f"{checked.rows:,} rows, {checked.flagged():,} of them ({share:.2%}) with errors or "
        f"warnings: {checked.count('error'):,} errors, {checked.count('warning'):,} warnings."
    )


@contextmanager
def bar() -> Iterator[source.Progress]:
    """Show a bar on stderr for each stage while it runs; nothing where that is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        stages: dict[str, int] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = int(progress.add_task(stage))
            task = progress.tasks[stages[stage]].id
            progress.update(task, completed=done, total=total or None)

        yield show
