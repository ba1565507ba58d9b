"""`driftgate bench`: measure what the monitor's evidence finds."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure the monitor.", no_args_is_help=True)

_MODEL = "all-minilm-l6-v2"


@app.callback()
def bench() -> None:
    """Keep `drift` a sub-command while it is the only one."""


@app.command(epilog="Example: driftgate bench drift --quick")
def drift(
    data: Annotated[
        Path, typer.Option(help="Folder of BANKING77's train.csv and test.csv.")
    ] = Path("../shared/data/banking77"),
    embedder: Annotated[
        Path, typer.Option(help="Folder of the embedder (driftgate models pull).")
    ] = Path(".driftgate/models") / _MODEL,
    cache: Annotated[
        Path, typer.Option(help="Where vectors and finished runs are kept.")
    ] = Path(".driftgate/bench"),
    out: Annotated[
        Path, typer.Option(help="Where drift.md, drift.png and drift.json are written.")
    ] = Path("loadtests/results"),
    runs: Annotated[int, typer.Option(min=1, help="Runs of each change.")] = 40,
    nulls: Annotated[int, typer.Option(min=1, help="Runs in which nothing changes.")] = 100,
    peers: Annotated[int, typer.Option(min=0, help="Runs of each other method and stream.")] = 20,
    window: Annotated[int, typer.Option(min=10, max=1000, help="Requests in a window.")] = 100,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after so long; call it again to go on.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Two runs of each: a smoke test.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:  # fmt: skip
    """Measure how soon drift is found, and how often nothing is taken for drift.

    Streams of BANKING77's questions, in which something changes at a known window, go through the
    monitor's evidence, through Evidently's methods and through PCA + KS. Each run is kept when it
    is done: Ctrl-C loses nothing, and the same command goes on.
    """
    # Without it a matrix product of 100 rows costs more in waking threads than in the product.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    import msgspec

    from monitoring.bench.banking import DataMissing
    from monitoring.bench.goals import goals
    from monitoring.bench.outcomes import Outcomes
    from monitoring.bench.peers import methods
    from monitoring.bench.plan import Plan, Runner
    from monitoring.bench.running import bars, prepared, run, written

    plan = Plan(2, 2, min(peers, 1), window) if quick else Plan(runs, nulls, peers, window)
    outcomes = Outcomes(cache / "drift.jsonl")
    others = methods() if plan.peers else {}
    rest = 0
    try:
        with bars() as progress:
            material = prepared(data, embedder, cache, progress)
            runner = Runner(material, others, outcomes.code)
            rest = run(runner, plan, others, outcomes, progress, minutes)
    except DataMissing as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        print("Stopped: the same command goes on.", file=sys.stderr)
        raise typer.Exit(130) from None
    named = ["driftgate", "bench", "drift", "--runs", plan.runs, "--nulls", plan.nulls,
             "--peers", plan.peers, "--window", plan.size]  # fmt: skip
    command = shlex.join(map(str, named))
    found = written(outcomes, others, window, out, command=command, embedder=embedder.name)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        for goal in goals(found):
            typer.echo(f"{goal.verdict.strip('*'):12} {goal.claim}: {goal.measured}")
    if rest:
        print(f"{rest} runs are left: the same command goes on.", file=sys.stderr)
