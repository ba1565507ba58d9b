"""`driftgate plan`: memory, time and cost of a training run, before it runs."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.catalog import CatalogError, Found, find, smallest
from training.commands.catalog import parameters
from training.planner.architecture import ConfigError
from training.planner.calibration import Comparison, DryRunError, compare, markdown
from training.planner.devices import Device, DeviceError, device, gpus
from training.planner.fit import Option, cards, choose, options
from training.planner.memory import Method, Run
from training.planner.picture import bars
from training.planner.throughput import Price, Work, price

app = typer.Typer()
_GIB = 2**30


@app.command("plan", epilog="Example: driftgate plan llama-3.1-8b --gpu a10g --rows 1000")
def plan(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="A catalogue name, a folder or a hub's id.")
    ] = "",
    task: Annotated[
        str, typer.Option(help="Instead of a model: the smallest that may do for a task.")
    ] = "",
    rows: Annotated[int, typer.Option(min=1, help="Examples to train on.")] = 1000,
    tokens: Annotated[int, typer.Option(min=8, help="Tokens of an example.")] = 256,
    epochs: Annotated[float, typer.Option(min=0.01, help="Times to go through them.")] = 3,
    batch: Annotated[int, typer.Option(min=1, help="Examples of a step.")] = 4,
    gpu: Annotated[str, typer.Option(help="A GPU's name, or cpu for this machine.")] = "a10g",
    memory: Annotated[
        float | None, typer.Option(min=0.1, help="GiB that there are, if not the device's.")
    ] = None,
    per_hour: Annotated[
        float | None, typer.Option("--price", min=0, help="Dollars an hour, if not the table's.")
    ] = None,
    method: Annotated[Method | None, typer.Option(help="Only this method.")] = None,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the adapters.")] = 16,
    dropout: Annotated[float, typer.Option(min=0, max=0.9, help="The adapters' dropout.")] = 0.0,
    checkpointing: Annotated[
        bool | None, typer.Option(help="Compute activations again; unset: only where it must be.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Make two real steps here and compare.")
    ] = False,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="In a dry run make weights up.")
    ] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a dry run as a table for a document.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate memory, time and cost of fine-tuning, and say which method fits.

    Exit status 1: nothing fits, or a dry run is more than 15 % off.
    """
    try:
        found = _model(model, task)
        target = _device(gpu, memory)
        _check_length(found, tokens)
    except (CatalogError, ConfigError, DeviceError, ValueError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    wish = Run(
        Method.FULL, batch, tokens, cpu=target.cpu, checkpointing=bool(checkpointing),
        rank=rank, dropout=dropout,
    )  # fmt: skip
    work = Work(rows, tokens, epochs)
    methods = list(Method) if method is None else [method]
    if dry_run:
        runs = [replace(wish, method=one) for one in methods]
        _dry_run(found, runs, target, work, per_hour, random_weights, as_markdown, as_json)
        return
    ways = options(found.shape, wish, target.memory_bytes, methods, keep=checkpointing is False)
    prices = [price(found.shape, way.run, work, target, per_hour) for way in ways]
    chosen = choose(ways)
    if as_json:
        typer.echo(json.dumps(_record(found, target, ways, prices, chosen), indent=2))
    else:
        _print(found, target, work, ways, prices, chosen)
    if chosen is None:
        raise typer.Exit(1)


def _model(model: str, task: str) -> Found:
    if bool(model) == bool(task):
        raise ValueError("give a MODEL, or --task to have the smallest chosen that may do")
    if model:
        return find(model)
    entry = smallest(task)
    return Found(entry.name, entry.shape, entry)


def _device(gpu: str, memory: float | None) -> Device:
    target = device(gpu)
    return target if memory is None else replace(target, memory_bytes=memory * _GIB)


def _check_length(found: Found, tokens: int) -> None:
    if tokens > found.shape.context:
        raise ValueError(
            f"--tokens {tokens:,} is longer than {found.name}'s context of {found.shape.context:,}"
        )


def _print(
    found: Found,
    target: Device,
    work: Work,
    ways: list[Option],
    prices: list[Price],
    chosen: Option | None,
) -> None:
    console = Console()
    console.print(
        f"[bold]{escape(found.name)}[/] ({parameters(found.shape.parameters)} parameters) on "
        f"{target.title}, {target.memory_bytes / _GIB:.1f} GiB; {work.rows:,} examples of "
        f"{work.tokens:,} tokens, {work.epochs:g} epochs"
    )
    table = Table(
        "method", "batch", "checkpointing", "memory", "used", "", "tokens/s", "time", "cost"
    )
    for way, cost in zip(ways, prices, strict=True):
        batches = (
            f"{way.run.batch} x {way.accumulate}" if way.accumulate > 1 else f"{way.run.batch}"
        )
        colour = {"fits": "green", "tight": "yellow"}.get(way.verdict, "red")
        table.add_row(
            str(way.run.method) + (" *" if way is chosen else ""),
            batches,
            "yes" if way.run.checkpointing else "no",
            f"{way.memory.total / _GIB:.2f} GiB",
            f"{1 - way.margin:.0%}",
            f"[{colour}]{way.verdict}[/]",
            *(_cost_cells(cost) if way.margin >= 0 else ("", "", "")),
        )
    console.print(table)
    console.print(bars(ways, console.width))
    console.print(_advice(found, ways, chosen))
    if target.source:
        console.print(f"Price: {target.source}.", style="dim", soft_wrap=True)


def _cost_cells(cost: Price) -> tuple[str, str, str]:
    dollars = "" if cost.dollars is None else f"${cost.dollars:.2f}"
    return f"{cost.tokens_per_s:,.0f}", _time(cost.seconds), dollars


def _advice(found: Found, ways: list[Option], chosen: Option | None) -> str:
    if chosen is not None:
        extra = " It is tight: check with --dry-run." if chosen.verdict == "tight" else ""
        return f"Take [bold]{chosen.run.method}[/] (*).{extra}"
    least = min(ways, key=lambda way: way.memory.total).run
    fitting = [
        gpu
        for gpu in gpus().values()
        if choose(options(found.shape, replace(least, cpu=False), gpu.memory_bytes, [least.method]))
    ]
    if fitting:
        cheap = sorted(fitting, key=lambda gpu: gpu.price or 0)[:3]
        titles = ", ".join(f"{gpu.title} (${gpu.price}/h)" for gpu in cheap)
        return f"[red]Nothing fits.[/] With {least.method} it would on: {titles}."
    largest = list(gpus().values())[-1]
    count = cards(found.shape, replace(least, cpu=False), largest)
    return f"[red]Nothing fits[/] on one card. Shared out (FSDP): {count} x {largest.title}."


def _dry_run(
    found: Found,
    runs: list[Run],
    target: Device,
    work: Work,
    per_hour: float | None,
    random_weights: bool,
    as_markdown: bool,
    as_json: bool,
) -> None:
    if found.path is None:
        print("--dry-run needs a folder with weights or a config.json", file=sys.stderr)
        raise typer.Exit(2)
    compared: list[Comparison] = []
    progress = Console(stderr=True)
    try:
        with progress.status("two steps of each method") as status:
            for run in runs:
                status.update(f"two steps of {run.method}, {run.batch} x {run.tokens} tokens")
                compared += compare(
                    found.path, found.shape, [run], target, random_weights=random_weights
                )
    except DryRunError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    if as_json:
        rows = [asdict(one) | {"ratio": one.ratio} for one in compared]
        typer.echo(json.dumps(rows, indent=2))
    elif as_markdown:
        call = "driftgate " + " ".join(_shortened(sys.argv[1:]))
        typer.echo(markdown(found.name, compared, target, work, per_hour, call))
    else:
        _print_compared(found, compared)
    if any(abs(one.ratio - 1) > 0.15 for one in compared):
        raise typer.Exit(1)


def _print_compared(found: Found, compared: list[Comparison]) -> None:
    table = Table(
        "method", "estimate", "measured", "ratio", "tokens/s", "estimate", "loss",
        title=f"{found.name} on {compared[0].measured.device}", title_justify="left",
    )  # fmt: skip
    for one in compared:
        table.add_row(
            str(one.run.method),
            f"{one.memory.total / _GIB:.2f} GiB",
            f"{one.measured.peak_bytes / _GIB:.2f} GiB",
            f"{one.ratio:.2f}",
            f"{one.measured.tokens_per_s:,.0f}",
            f"{one.tokens_per_s:,.0f}",
            f"{one.measured.loss:.2f}",
        )
    Console().print(table)


def _record(
    found: Found,
    target: Device,
    ways: list[Option],
    prices: list[Price],
    chosen: Option | None,
) -> dict[str, Any]:
    return {
        "model": found.name,
        "parameters": found.shape.parameters,
        "device": asdict(target),
        "chosen": None if chosen is None else chosen.run.method,
        "options": [
            {
                "method": way.run.method,
                "verdict": way.verdict,
                "margin": way.margin,
                "bytes": way.memory.total,
                "parts": way.memory.parts(),
                "run": asdict(way.run),
                "accumulate": way.accumulate,
                **asdict(cost),
            }
            for way, cost in zip(ways, prices, strict=True)
        ],
    }


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _shortened(arguments: list[str]) -> list[str]:
    """Leave out of paths what is only true of this machine."""
    return [Path(a).name if Path(a).is_absolute() else a for a in arguments]
