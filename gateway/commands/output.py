"""What commands print: tables, and the message with which one ends."""

import sys
from collections.abc import Sequence
from typing import NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str = "There is nothing yet."
) -> None:
    """Print rows as a table, or that there are none.

    What is in them is shown as it is, never as markup.
    """
    if not rows:
        print(empty)
        return
    table = Table()
    for place, column in enumerate(columns):
        # The first names the row: it is copied, and must stand in one piece.
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(value) for value in row))
    Console().print(table)


def end(message: str) -> NoReturn:
    """End the command with what is wrong, and the exit status 2."""
    print(message, file=sys.stderr)
    raise typer.Exit(2)
