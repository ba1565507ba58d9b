"""The live display of a training: loss, validation, tokens a second, memory, time left."""

from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from training.events import Event
from training.run_report import duration

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 60


class Display:
    """Shows the events of a run while it is open, as a context."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("step"), BarColumn(), MofNCompleteColumn(), console=console
        )
        self._task = self._progress.add_task("steps", total=None)
        self._losses: list[float] = []
        self._checks: list[float] = []
        self._warnings: list[str] = []
        self._last: Event | None = None
        self._checkpoint = ""
        self._live = Live(
            Text("loading the model …"), console=console, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> "Display":
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def hear(self, event: Event) -> None:
        """Take an event in and show it."""
        self._progress.update(self._task, completed=event.step, total=event.total)
        if event.loss is not None:
            self._losses.append(event.loss)
            self._last = event
        if event.eval_loss is not None:
            self._checks.append(event.eval_loss)
        if event.kind == "checkpoint" and event.checkpoint:
            self._checkpoint = event.checkpoint.rpartition("/")[2]
        if event.kind == "warning":
            self._warnings.append(event.message)
        self._live.update(self._drawn())

    def _drawn(self) -> Group:
        table = Table.grid(padding=(0, 2))
        if self._last is not None:
            table.add_row("loss", f"{self._last.loss:.4f}", sparkline(self._losses))
        if self._checks:
            best = f"best {min(self._checks):.4f}"
            table.add_row("validation", f"{self._checks[-1]:.4f}", best)
        if self._last is not None:
            speed = self._last.tokens_per_s
            table.add_row("tokens/s", f"{speed:,.0f}" if speed else "-", "")
            table.add_row("memory", f"{(self._last.memory or 0) / 2**30:.1f} GiB", "")
            table.add_row("left", duration(self._last.eta_s or 0), self._checkpoint)
        warnings = [Text(f"! {text}", style="yellow") for text in self._warnings]
        return Group(self._progress, table, *warnings)


def sparkline(values: list[float]) -> str:
    """Return the course of values as a row of bars, the newest at the right."""
    shown = values[-_WIDTH:]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(_BARS[int((value - low) / span * (len(_BARS) - 1))] for value in shown)
