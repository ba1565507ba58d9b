"""`driftgate evaluate`: one model against another, or several beside each other."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from training.evaluation.answerers.base import System
    from training.evaluation.config import EvaluationConfig
    from training.evaluation.result import Evaluation

app = typer.Typer(help="Evaluate models.", no_args_is_help=True)

_SPEC = "`http://host:port/v1#model`, a model folder, or `folder+adapter folder`"


@app.command(
    "evaluate",
    epilog="Example: driftgate evaluate --data test.jsonl --baseline base --candidate merged",
)
def evaluate_models(
    data: Annotated[Path, typer.Option(help="Test rows (JSON Lines, as for training).")],
    candidate: Annotated[str | None, typer.Option(metavar="SPEC", help=f"{_SPEC}.")] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="SPEC", help="What the candidate is compared with.")
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SPEC",
            help="A system to measure without a verdict, instead of a pair; repeatable.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of answers and reports; a second run goes on in it.")
    ] = Path("evaluation"),
    truth: Annotated[
        Path | None, typer.Option(help="Truth set (JSON Lines), for hallucinations.")
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(
            help="Suite of general capability: a name, a file, `all`, `none`; repeatable."
        ),
    ] = None,
    suite_items: Annotated[
        int | None, typer.Option(min=1, help="Only the first items of each suite.")
    ] = None,
    superior_on: Annotated[
        list[str] | None,
        typer.Option(help="Slice to be better on, or `all`; repeatable. Others: not worse."),
    ] = None,
    margin: Annotated[float, typer.Option(help="How much worse a slice may be (share).")] = 0.03,
    truth_margin: Annotated[float, typer.Option(help="How much more may be made up.")] = 0.01,
    suite_margin: Annotated[float, typer.Option(help="How much worse a suite may be.")] = 0.05,
    sla_p95_s: Annotated[
        float | None, typer.Option(min=0.001, help="Limit of the 95th percentile of latency.")
    ] = None,
    right_by: Annotated[
        str, typer.Option(help="When an answer is right: `exact`, or `contains` the expected one.")
    ] = "exact",
    schema: Annotated[
        Path | None, typer.Option(help="JSON schema that answers must follow.")
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Folder of an encoder, for BERTScore.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(metavar="SPEC", help="What judges answers to the truth set.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="People's labels of such answers (see to_label.jsonl).")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Run folder of the training, for the checklist.")
    ] = None,
    key_env: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VAR", help="Variable with a system's API key; repeatable."),
    ] = None,
    extra_body: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=JSON", help="Further fields of its requests; repeatable."),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0)] = 0.0,
    seed: Annotated[int, typer.Option(help="Of sampling and of the bootstrap.")] = 0,
    concurrency: Annotated[int, typer.Option(min=1, max=512, help="Requests at once.")] = 8,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Longest silence of a request.")] = 120,
    batch: Annotated[int, typer.Option(min=1, help="Prompts at once, local models.")] = 16,
    report: Annotated[Path | None, typer.Option(help="Also write the HTML report here.")] = None,
    as_json: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Also write JSON here; - prints it."),
    ] = None,
) -> None:
    """Ask models the same questions, score the answers, and say what is shown.

    \b
    driftgate evaluate --data test.jsonl \\
        --baseline http://127.0.0.1:8000/v1#production --key-env baseline=DRIFTGATE_KEY \\
        --candidate runs/bookings/merged --superior-on all --truth truth.jsonl

    Exit status: 0 PASS, or systems without a verdict; 1 FAIL or INCONCLUSIVE; 2 wrong input.
    """  # noqa: D301 - \b keeps the lines of the example
    from training.evaluation.answerers.base import AnswererError, Sampling
    from training.evaluation.cases import CaseError
    from training.evaluation.config import ConfigError, EvaluationConfig
    from training.evaluation.metrics.json_format import SchemaError

    if right_by not in ("exact", "contains"):
        raise typer.BadParameter("it is `exact` or `contains`", param_hint="--right-by")
    try:
        named = _systems(candidate, baseline, system, judge, key_env, extra_body)
        suites = tuple(suite or ["all"])
        config = EvaluationConfig(
            data=data,
            out=out,
            candidate=named.pop("candidate", None) if candidate else None,
            baseline=named.pop("baseline", None) if baseline else None,
            judge=named.pop("judge", None),
            systems=tuple(named.values()),
            truth=truth,
            labels=labels,
            suites=() if suites == ("none",) else suites,
            suite_items=suite_items,
            superior_on=tuple(superior_on or ()),
            margin=margin,
            truth_margin=truth_margin,
            suite_margin=suite_margin,
            sla_p95_s=sla_p95_s,
            right_by="exact" if right_by == "exact" else "contains",
            schema=schema,
            encoder=encoder,
            run=run,
            sampling=Sampling(temperature, seed),
            max_tokens=max_tokens,
            concurrency=concurrency,
            timeout_s=timeout_s,
            batch=batch,
        )
        evaluation = _evaluate(config)
    except (AnswererError, CaseError, ConfigError, SchemaError) as error:
        _end(str(error))
    except KeyboardInterrupt:
        print(f"Stopped. The same command goes on from the answers in {out}.", file=sys.stderr)
        raise typer.Exit(130) from None
    _deliver(evaluation, report, as_json)
    verdict = evaluation.verdict
    raise typer.Exit(0 if verdict is None or verdict == "PASS" else 1)


def _systems(
    candidate: str | None,
    baseline: str | None,
    others: list[str] | None,
    judge: str | None,
    key_env: list[str] | None,
    extra_body: list[str] | None,
) -> "dict[str, System]":
    from training.evaluation.answerers.base import System
    from training.evaluation.config import ConfigError

    given = {"candidate": candidate, "baseline": baseline, "judge": judge}
    specs = {name: spec for name, spec in given.items() if spec}
    for name, spec in _named("--system", others):
        if name in specs:
            raise ConfigError(f"--system: there are two systems {name!r}")
        if not name.replace("-", "").replace("_", "").replace("+", "").isalnum():
            raise ConfigError(f"--system: {name!r} is no name; use letters, digits, - _ +")
        specs[name] = spec
    systems = {name: System(name, spec) for name, spec in specs.items()}
    for option, values in (("--key-env", key_env), ("--extra-body", extra_body)):
        for name, value in _named(option, values):
            if name not in systems:
                raise ConfigError(f"{option}: there is no system {name!r}; {', '.join(systems)}")
            if option == "--key-env":
                systems[name] = replace(systems[name], key_env=value)
            else:
                systems[name] = replace(systems[name], extra_body=_object(option, value))
    return systems


def _named(option: str, values: list[str] | None) -> list[tuple[str, str]]:
    from training.evaluation.config import ConfigError

    found = []
    for value in values or []:
        name, equals, rest = value.partition("=")
        if not (name and equals and rest):
            raise ConfigError(f"{option} is written NAME=VALUE, not {value!r}")
        found.append((name, rest))
    return found


def _object(option: str, text: str) -> dict[str, Any]:
    from training.evaluation.config import ConfigError

    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {text!r} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{option}: {text!r} is no JSON object")
    return value


def _evaluate(config: "EvaluationConfig") -> "Evaluation":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from training.evaluation.run import evaluate

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)

        return evaluate(config, on_progress)


def _deliver(evaluation: "Evaluation", report: Path | None, as_json: str | None) -> None:
    try:
        if report is not None:
            report.write_text((evaluation.folder / "report.html").read_text())
        text = (evaluation.folder / "evaluation.json").read_text()
        if as_json == "-":
            typer.echo(text)
            return
        if as_json is not None:
            Path(as_json).write_text(text)
    except OSError as error:
        _end(f"{error.filename} cannot be written: {error.strerror}")
    from training.evaluation.showing import show

    show(evaluation)


def _end(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(2)
