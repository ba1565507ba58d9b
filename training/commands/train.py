"""`driftgate train`: rows and a base in, an adapter out."""

import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from training import recipe as recipes
from training.display import Display
from training.recipe import RecipeError
from training.run import Interrupted, TrainConfig, TrainResult, gpu_count
from training.run import train as run_training
from training.run_folder import RunError
from training.run_report import facts

app = typer.Typer()


@app.command(
    "train",
    epilog="Example: driftgate train --data train.jsonl --base model --out runs/a",
)
def train(
    data: Annotated[Path, typer.Option(help="Rows to train on (JSON Lines).")],
    base: Annotated[Path, typer.Option(help="Folder of the base model.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    evaluation: Annotated[
        Path | None, typer.Option("--eval", help="Rows to validate on; they stop the run early.")
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="A recipe's name or file. " + ", ".join(recipes.names()) + ".")
    ] = "tiny-cpu",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a field of the recipe: key=value.", metavar="KEY=VALUE"),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Frozen manifest of the data, kept with the run.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train an adapter (or all weights) by a recipe.

    Ctrl-C ends the run at its next step with a checkpoint; --resume goes on. So does a run whose
    process was killed. With several GPUs the trainer is started through accelerate.
    """
    console = Console(stderr=as_json)
    try:
        config = TrainConfig(
            base=base,
            data=data,
            out=out,
            eval=evaluation,
            recipe=recipe,
            overrides=recipes.parse_overrides(overrides or []),
            resume=resume,
            manifest=manifest,
        )
        if gpu_count() > 1:
            console.print(f"{gpu_count()} GPUs: the trainer is started through accelerate")
        with Display(console) as display:
            result = run_training(config, display.hear)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        raise typer.Exit(130) from None
    except (RecipeError, RunError) as error:
        _end(str(error))
    if as_json:
        typer.echo(json.dumps(result.as_dict(), indent=2))
    else:
        _show(console, result)


def _show(console: Console, result: TrainResult) -> None:
    table = Table.grid(padding=(0, 2))
    for label, value in facts(result):
        table.add_row(label, value)
    table.add_row("adapter", str(result.adapter))
    table.add_row("report", str(result.run / "report.html"))
    console.print(table, soft_wrap=True)
    for warning in result.warnings:
        console.print(f"! {warning}", style="yellow")


def _end(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(2)
