"""How `driftgate monitor dependence` shows the ledger."""

from typing import Any

from rich.console import Console
from rich.table import Table


def show(ledger: dict[str, Any]) -> None:
    """Print a table of topics, and what may leave the index."""
    console = Console(highlight=False, markup=False)
    if not ledger["topics"]:
        console.print(
            f"Neither {ledger['before']} nor {ledger['after']} had a request with retrieval."
        )
        return
    table = Table(box=None, pad_edge=False)
    for name in ("topic", "needed before", "after", "used after", "right without", "verdict"):
        table.add_column(name)
    for topic in ledger["topics"]:
        before, after = topic["before"], topic["after"]
        table.add_row(
            topic["topic"], _share(before["needed"]), _share(after["needed"]),
            _share(after["used"]), _share(after["right"]), f"{topic['verdict']}: {topic['why']}",
        )  # fmt: skip
    console.print(f"{ledger['alias']}: {ledger['before']} → {ledger['after']}")
    console.print(table)
    for topic in ledger["topics"]:
        if topic["documents"]:
            names = ", ".join(f"{name} ({count})" for name, count in topic["documents"].items())
            console.print(f"{topic['topic']}: may leave, with how often it was used: {names}")


def _share(share: dict[str, Any]) -> str:
    """Return a share in words, such as `4 of 80, 1 to 12 %`."""
    if not share["of"]:
        return "-"
    return f"{share['count']} of {share['of']}, {share['low']:.0%} to {share['high']:.0%}"
