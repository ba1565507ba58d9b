"""What `driftgate index` shows: a progress bar, tables, and the same as objects for JSON."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gateway.commands.index_files import Outcome, Sum
from retrieval.records import CollectionStats, Found, Hit

_SNIPPET = 160
_SIGNS = {"added": "[green]✓[/]", "replaced": "[green]✓[/]", "unchanged": "[dim]=[/]"}


@contextmanager
def progress(files: int, *, quiet: bool) -> Iterator[Callable[[Sum], None]]:
    """Show a bar on standard error while the block runs; yields what moves it.

    Args:
        files: How many there are.
        quiet: Show nothing.
    """
    console = Console(stderr=True, quiet=quiet)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files"),
        TextColumn("{task.fields[held]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}", markup=False, style="dim"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=files, held="", now="")

        def show(total: Sum) -> None:
            held = f"{_count(total.documents, 'document')}, {_count(total.passages, 'passage')}"
            bar.update(task, completed=total.files, held=held, now=total.now)

        yield show


def show_outcomes(store: str, outcomes: Sequence[Outcome]) -> None:
    """Print what became of files; what is wrong with one names it."""
    console = Console(highlight=False)
    for outcome in outcomes:
        sign = _SIGNS.get(outcome.state, "[red]✗[/]")
        line = Text.from_markup(f"{sign} ")
        held = f"{_count(outcome.documents, 'document')}, {_count(outcome.passages, 'passage')}"
        told = f"{outcome.name}: {outcome.state}, {held}"
        if outcome.error:
            told = outcome.error + (f" (the rest: {held})" if outcome.documents else "")
        line.append(told)
        console.print(line, soft_wrap=True)
    states = [outcome.state for outcome in outcomes]
    counted = [f"{states.count(state):,} {state}" for state in dict.fromkeys(states)]
    console.print(f"{store}: {', '.join(counted)}")


def show_found(found: Found) -> None:
    """Print hits as a table."""
    table = Table("score", "document", "text", caption=f"{1000 * found.took_s:.1f} ms")
    for hit in found.hits:
        table.add_row(f"{hit.score:.3f}", Text(_place(hit)), Text(_snippet(hit.passage.text)))
    Console().print(table)


def show_stores(rows: Sequence[dict[str, Any]]) -> None:
    """Print vector stores and what they hold as a table."""
    table = Table()
    for column in ("id", "name", "files", "index (UTC)"):
        table.add_column(column, no_wrap=column == "id", overflow="fold")
    for row in rows:
        files, index = row["files"], row["index"]
        name = Text(f"{row['name'] or '(no name)'}\n")
        name.append(f"of {row['key']}" if row["key"] else "of everyone", "dim")
        counted = [f"{files[state]:,} {state.replace('_', ' ')}" for state in files
                   if state != "usage_bytes" and files[state]]  # fmt: skip
        held = (
            f"{_count(index['documents'], 'document')}\n{_count(index['passages'], 'passage')}\n"
            f"{index['bytes'] / 1e6:,.1f} MB\n{index['generation'] or 'no generation yet'}"
        )
        if index["newest"]:
            held += time.strftime("\nnewest %Y-%m-%d %H:%M", time.gmtime(index["newest"]))
        told = Text(index["problem"], "red") if index["problem"] else Text(held)
        table.add_row(row["id"], name, "\n".join(counted) or "none", told)
    Console().print(table)


def hit_object(hit: Hit) -> dict[str, Any]:
    """Return a hit for JSON."""
    document, passage = hit.document, hit.passage
    return {
        "score": hit.score,
        "store": hit.collection,
        "document": document.id,
        "file": document.file_id,
        "title": document.title,
        "url": document.url,
        "metadata": document.metadata,
        "heading": passage.heading,
        "page": passage.page,
        "text": passage.text,
    }


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _place(hit: Hit) -> str:
    title = hit.document.title or hit.document.filename or hit.document.id
    page = f"page {hit.passage.page}" if hit.passage.page is not None else ""
    return "\n".join(part for part in (title, hit.passage.heading, page) if part)


def _snippet(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SNIPPET else f"{line[: _SNIPPET - 1]}…"


def stats_object(stats: CollectionStats) -> dict[str, Any]:
    """Return the state of a collection for JSON."""
    return {
        "documents": stats.documents,
        "passages": stats.passages,
        "bytes": stats.bytes,
        "generation": stats.generation,
        "newest": stats.newest,
        "embedder": stats.embedder,
        "problem": stats.problem,
    }
