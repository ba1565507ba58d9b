"""`driftgate merge`: an adapter and its base in, one model out."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.merge import KL_LIMIT, MergeError, MergeResult
from training.merge import merge as run_merge
from training.run_folder import RunError

app = typer.Typer()


@app.command("merge", epilog="Example: driftgate merge runs/a --out merged")
def merge(
    run: Annotated[Path, typer.Argument(help="Folder of a complete run.")],
    out: Annotated[Path, typer.Option(help="Folder of the merged model.")],
    rows: Annotated[
        Path | None,
        typer.Option(help="Held-out rows to measure with; the run's validation rows otherwise."),
    ] = None,
    prompts: Annotated[int, typer.Option(min=1, help="How many of them.")] = 50,
    kl_limit: Annotated[
        float, typer.Option(min=0.0, help="Refuse a merge that is further from the adapter.")
    ] = KL_LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Merge an adapter into its base, and prove that the merge says what the adapter said.

    A 4-bit run is merged into its dequantised base and into the original one; both are measured,
    and the closer one is kept. Exit status 1: none is close enough.
    """
    console = Console(stderr=as_json)
    try:
        with console.status("merging") as status:
            result = run_merge(
                run,
                out,
                rows=rows,
                prompts=prompts,
                kl_limit=kl_limit,
                on_progress=status.update,
            )
    except RunError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    except MergeError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(_figures(result), indent=2))
        return
    table = Table("merge", "mean KL", "highest", "same greedy answers", "")
    for candidate in result.candidates:
        kept = (candidate.kind, candidate.precision) == (result.kind, result.precision)
        table.add_row(
            f"{candidate.kind} base, {candidate.precision}",
            f"{candidate.kl:.2e}",
            f"{candidate.worst_kl:.2e}",
            f"{candidate.agreement:.0%} of {candidate.prompts}",
            "kept" if kept else "",
        )
    console.print(table)
    console.print(f"{result.model}", soft_wrap=True)


def _figures(result: MergeResult) -> dict[str, object]:
    return {
        "model": str(result.model),
        "kind": result.kind,
        "precision": result.precision,
        "kl": result.kl,
        "agreement": result.agreement,
        "candidates": [candidate.as_dict() for candidate in result.candidates],
        "digests": result.digests,
    }
