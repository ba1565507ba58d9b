"""`driftgate data`: check, convert, curate, split and prepare training rows."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="Training rows: is this data fit to train on?", no_args_is_help=True)

_SHOWN_ERRORS = 20
_File = Annotated[Path, typer.Argument(help="JSON Lines or Parquet, in any of the three forms.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Eval = Annotated[
    Path | None, typer.Option("--eval", help="The evaluation set, which no row may be part of.")
]
_MaxLength = Annotated[
    int, typer.Option(min=8, help="Tokens of a row that the trainer reads; longer ones are errors.")
]
_Seed = Annotated[int, typer.Option(help="The same seed gives the same split.")]
_MODEL = "Folder of the model to train, for its tokenizer and chat template."


@app.command(
    epilog="Example: driftgate data check train.jsonl --eval test.jsonl --report data.html"
)
def check(
    file: _File,
    eval_file: _Eval = None,
    model: Annotated[Path | None, typer.Option(help=_MODEL)] = None,
    serving: Annotated[
        Path | None, typer.Option(help="Folder of the model that is served: same template?")
    ] = None,
    max_length: _MaxLength = 1024,
    near: Annotated[
        float, typer.Option(min=0.5, max=1.0, help="Least similarity of near duplicates.")
    ] = 0.8,
    report: Annotated[Path | None, typer.Option(help="Write the HTML report to this file.")] = None,
    as_json: _Json = False,
) -> None:
    """Name every row that should not be trained on, with its line and the reason.

    Exit status 1 where there are errors, 2 where the file cannot be read at all.

        driftgate data check train.jsonl --eval test.jsonl --model models/smollm2 --report r.html
    """
    from training.data import tables
    from training.data.check import Options
    from training.data.check import check as run
    from training.data.report import write_report

    if serving is not None and model is None:
        _end("`--serving` is compared with `--model`: give both.")
    with _reading() as show:
        checked = run(file, eval_file, Options(model, serving, max_length, near), show)
        if report is not None:
            write_report(report, checked)
    if as_json:
        typer.echo(json.dumps(checked.as_dict(), indent=2, ensure_ascii=False))
    else:
        console = Console()
        console.print(tables.findings(checked))
        for left in checked.left_out:
            console.print(f"Not checked: {left}.", style="dim", highlight=False)
        console.print(tables.summary(checked), highlight=False)
        if report is not None:
            console.print(f"Report: {report}", soft_wrap=True, highlight=False)
    raise typer.Exit(1 if checked.count("error") else 0)


@app.command(epilog="Example: driftgate data convert rows.parquet --out train.jsonl")
def convert(
    file: _File,
    out: Annotated[Path, typer.Option(help="The JSON Lines file to write.")],
    system: Annotated[str, typer.Option(help="A system turn for rows that have none.")] = "",
    as_json: _Json = False,
) -> None:
    """Rewrite rows of any form as conversations (`messages`).

    Rows that cannot be used are named on stderr and kept in `<out>.rejected.jsonl`; the exit status
    is then 1.

        driftgate data convert alpaca.parquet --out train.jsonl --system "Answer in one word."
    """
    from training.data.convert import convert as run

    with _reading() as show:
        done = run(file, out, system=system, on_progress=show)
    if as_json:
        aside = str(done.rejected) if done.rejected else None
        shown = {"rows": done.rows, "out": str(out), "rejected": len(done.errors)}
        typer.echo(json.dumps(shown | {"rejected_file": aside}, indent=2))
    else:
        typer.echo(f"{done.rows:,} rows in {out}.")
    for error in done.errors[:_SHOWN_ERRORS]:
        print(error, file=sys.stderr)
    if done.errors:
        print(f"{len(done.errors):,} rows were rejected: {done.rejected}.", file=sys.stderr)
        raise typer.Exit(1)


@app.command(epilog="Example: driftgate data split train.jsonl --out data --valid 0.1 --test 0.1")
def split(
    file: _File,
    out: Annotated[Path, typer.Option(help="Folder for the parts and their manifest.")],
    valid: Annotated[float, typer.Option(min=0, max=0.9, help="Share to validate with.")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=0.9, help="Share to test with.")] = 0.1,
    seed: _Seed = 0,
    as_json: _Json = False,
) -> None:
    """Split rows so that no near duplicates are apart and labels are spread alike.

    driftgate data split train.jsonl --out parts --valid 0.1 --test 0.1 --seed 7
    """
    from training.data.split import split_file

    if valid + test >= 1:
        _end("`--valid` and `--test` leave no row to train on: together they must be below 1.")
    shares = {"train": 1 - valid - test, "valid": valid, "test": test}
    with _reading() as show:
        made = split_file(file, out, shares, seed=seed, on_progress=show)
    if as_json:
        typer.echo(json.dumps({r.name: r.rows for r in made.files}, indent=2))
        return
    table = Table("part", "rows", "SHA-256", box=None, pad_edge=False)
    for record in made.files:
        table.add_row(str(out / record.name), f"{record.rows:,}", record.sha256[:16])
    Console().print(table)


@app.command(epilog="Example: driftgate data curate --out curated.jsonl --least-score 0.9")
def curate(
    out: Annotated[Path, typer.Option(help="Folder for the rows, the quarantine, the manifest.")],
    home: Annotated[
        Path | None, typer.Option(envvar="DRIFTGATE_HOME", help="Folder of the gateway's store.")
    ] = None,
    database_url: Annotated[
        str,
        typer.Option(envvar="DRIFTGATE_DATABASE_URL", help="URL of the store; before `--home`."),
    ] = "",
    model: Annotated[
        str | None, typer.Option(help="Only answers of this alias or release.")
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="Only answers from then on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only answers before (UTC).")] = None,
    least_score: Annotated[
        float, typer.Option(min=0, max=1, help="Mean score from which an answer is good.")
    ] = 0.8,
    cap: Annotated[int, typer.Option(min=1, help="Most rows of one key.")] = 500,
    sources: Annotated[
        int, typer.Option(min=1, help="Keys that must agree on a changed answer.")
    ] = 2,
    as_json: _Json = False,
) -> None:
    """Make training rows of the answers that people corrected or found good.

    Rows with secrets or personal data are set aside in `quarantine.jsonl`.

        driftgate data curate --home .driftgate --out curated --since 2026-11-01
    """
    from training.data.curation import Rules
    from training.data.harvest import harvest

    url = database_url or f"sqlite:///{(home or Path('.driftgate')).absolute() / 'driftgate.db'}"
    rules = Rules(least_score, cap, sources)
    with _reading() as show:
        made = harvest(
            url, out, rules, model=model, since=_utc(since), until=_utc(until), on_progress=show
        )
    _print_made(out, made.filters, {r.name: r.rows for r in made.files}, as_json)


@app.command(epilog="Example: driftgate data prepare train.jsonl --out data --model model")
def prepare(
    file: _File,
    out: Annotated[Path, typer.Option(help="Folder of the data set.")],
    model: Annotated[Path, typer.Option(help=_MODEL)],
    eval_file: _Eval = None,
    max_length: _MaxLength = 1024,
    valid: Annotated[
        float,
        typer.Option(min=0, max=0.9, help="Share to validate with, where `--eval` is absent."),
    ] = 0.1,
    seed: _Seed = 0,
    as_json: _Json = False,
) -> None:
    """Check, leave out, set aside, split and freeze: what `driftgate train` starts from.

    Exit status 1 where the data may not be trained on.

        driftgate data prepare raw.jsonl --out dataset --model models/smollm2
    """
    from training.data import manifest, pipeline
    from training.data.findings import DataRejected

    try:
        with _reading() as show:
            pipeline.prepare(
                file,
                eval_file,
                out,
                model=model,
                max_length=max_length,
                valid_share=valid,
                seed=seed,
                on_progress=show,
            )
    except DataRejected as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from error
    made = manifest.read(out)
    _print_made(out, made.filters, {r.name: r.rows for r in made.files}, as_json)


@contextmanager
def _reading() -> Iterator[Any]:
    """Show a bar meanwhile; a file or store that cannot be read ends the command with status 2."""
    from gateway.store.database import StoreError
    from training.data import tables
    from training.data.masking import TokenizerError
    from training.data.source import SourceError
    from training.data.split import SplitError

    try:
        with tables.bar() as show:
            yield show
    except (SourceError, TokenizerError, SplitError, StoreError) as error:
        _end(str(error))
    except OSError as error:
        _end(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _print_made(out: Path, filters: Any, files: dict[str, int], as_json: bool) -> None:
    if as_json:
        document = {"out": str(out), "files": files, "filters": dict(filters)}
        typer.echo(json.dumps(document, indent=2))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, count in filters.items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    table.add_section()
    for name, rows in files.items():
        table.add_row(str(out / name), f"{rows:,} rows")
    Console().print(table)


def _utc(time: datetime | None) -> float | None:
    return None if time is None else time.replace(tzinfo=UTC).timestamp()


def _end(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(2)
