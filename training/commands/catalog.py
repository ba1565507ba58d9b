"""`driftgate catalog`: base models to fine-tune, and what a configuration amounts to."""

import json
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from training.catalog import CatalogError, Found, as_of, entries, find, tasks, unplanned
from training.planner.architecture import ConfigError
from training.planner.serving import SEQUENCES, cache_bytes, cheapest

app = typer.Typer()
_GIB = 2**30


@app.command("catalog", epilog="Example: driftgate catalog smollm2-135m")
def catalog(
    model: Annotated[
        str,
        typer.Argument(metavar="[MODEL]", help="A name, a folder, a config.json or a hub's id."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List base models with size, licence, context, template, strengths and cost of serving.

    With a model, show that one: of the catalogue, of a folder or file, or of a hub.
    """
    try:
        chosen = [find(model)] if model else [Found(e.name, e.shape, e) for e in entries().values()]
    except (CatalogError, ConfigError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    if as_json:
        shown = [_record(found) for found in chosen]
        typer.echo(json.dumps(shown[0] if model else shown, indent=2))
    elif model:
        _print_one(chosen[0])
    else:
        _print_all(chosen)


def parameters(count: float) -> str:
    """Return a count of parameters as people write it: 135M, 8.03B."""
    if count < 1e9:
        return f"{count / 1e6:.0f}M"
    return f"{count / 1e9:.3g}B"


def _print_all(chosen: list[Found]) -> None:
    # A name is what the next command takes: it is shown whole, in a terminal of 80 columns too.
    table = Table(
        Column("name", no_wrap=True),
        Column("size", no_wrap=True),
        "licence, context",
        Column("good at", ratio=1),
        Column("served on, $/1M tokens"),
        title=f"Base models, as of {as_of()}",
        title_justify="left",
    )
    for found in chosen:
        entry, way = found.entry, cheapest(found.shape)
        if entry is None:
            continue
        table.add_row(
            found.name,
            parameters(found.shape.parameters),
            f"{entry.licence}, {found.shape.context:,}",
            ", ".join(entry.strengths),
            f"{way.count} x {way.device.title}, {way.dollars_per_million:.3f}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"Serving: the cheapest cards for {SEQUENCES} busy sequences of 2,048 tokens in 16 bits, "
        "estimated from bandwidth; what several cards lose between each other is not counted.",
        style="dim",
    )
    for other in unplanned():
        console.print(f"Not planned for: {other.name}, {other.why}.", style="dim")


def _print_one(found: Found) -> None:
    shape, entry, way = found.shape, found.entry, cheapest(found.shape)
    table = Table(show_header=False, title=found.name, title_justify="left")
    rows = {
        "parameters": f"{shape.parameters:,} ({parameters(shape.parameters)})",
        "of which embeddings": f"{shape.embedding_parameters + shape.head_parameters:,}"
        + (" (the head is the embedding)" if shape.tied else ""),
        "family": shape.family,
        "layers x width": f"{shape.layers} x {shape.hidden}, MLP {shape.intermediate}",
        "heads": f"{shape.heads} of {shape.head_dim}, {shape.kv_heads} for keys and values",
        "vocabulary": f"{shape.vocab:,}",
        "context": f"{shape.context:,} tokens",
        "cache of 1,000 tokens": f"{cache_bytes(shape, 1000) / 2**20:.1f} MiB",
        "served on": f"{way.count} x {way.device.title}, "
        f"about ${way.dollars_per_million:.3f} per million tokens",
    }
    if entry is not None:
        rows |= {
            "hub": entry.hub,
            "licence": entry.licence,
            "template": entry.template,
            "good at": ", ".join(entry.strengths),
            "note": entry.note,
            "source": f"{entry.source} ({as_of()})",
        }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)
    if entry is not None:
        titles = [f"{task.name}: {task.title}" for task in tasks().values()]
        Console().print("Tasks: " + "; ".join(titles) + ".", style="dim")


def _record(found: Found) -> dict[str, Any]:
    way, shape = cheapest(found.shape), found.shape
    record: dict[str, Any] = {"name": found.name, "parameters": shape.parameters}
    if found.entry is not None:
        entry = asdict(found.entry)
        record |= {key: entry[key] for key in entry if key not in ("name", "shape")}
        record["as_of"] = as_of()
    record["architecture"] = asdict(shape)
    record["cache_bytes_per_token"] = cache_bytes(shape, 1)
    record["serving"] = {
        "gpu": way.device.name,
        "count": way.count,
        "dollars_per_hour": (way.device.price or 0) * way.count,
        "dollars_per_million_tokens": round(way.dollars_per_million, 4),
    }
    return record
