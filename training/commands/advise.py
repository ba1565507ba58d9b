"""`driftgate advise`: fine-tune, retrieve, both or neither, from answers or from scores."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.prompt import IntPrompt
from rich.table import Table

from training.advice.measured import MeasuredError, System, read_measured
from training.advice.questions import AnswerError, Question, check, parse_pair, read_answers, rules
from training.advice.recommend import Recommendation, recommend
from training.advice.verdict import Difference, Verdict, judge

app = typer.Typer()
_WIDTH = 31
# A terminal of fewer columns has no room for the picture beside the names.
_WIDE = 132
_NAMES = {"fine_tune": "fine-tuning", "retrieve": "retrieval"}


@app.command("advise", epilog="Example: driftgate advise --answers answers.yaml")
def advise(
    answers: Annotated[
        Path | None, typer.Option(help="A YAML file of `question: answer` lines.")
    ] = None,
    answer: Annotated[
        list[str] | None, typer.Option(help="question=answer; may be given again.")
    ] = None,
    questions: Annotated[
        bool, typer.Option("--questions", help="Show questions, answers and their points.")
    ] = False,
    measured: Annotated[
        Path | None, typer.Option(help="Instead of answers: measured systems, as JSON.")
    ] = None,
    gain: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Measured: least gain worth a dearer system.")
    ] = 0.03,
    latency_p95_s: Annotated[
        float | None, typer.Option("--latency-p95-s", min=0, help="Measured: slower is left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recommend fine-tuning, retrieval, both, or a better prompt, with reasons.

    Asks what `--answers` and `--answer` leave open. With `--measured` it decides from the scores of
    systems instead; exit status 1 then means that they do not decide it yet.
    """
    try:
        if questions:
            _print_questions()
        elif measured is not None:
            _measured(measured, gain, latency_p95_s, as_json)
        else:
            _asked(answers, answer or [], as_json)
    except (AnswerError, MeasuredError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None


def _asked(file: Path | None, pairs: list[str], as_json: bool) -> None:
    given = {} if file is None else read_answers(file)
    given |= check(dict(parse_pair(pair) for pair in pairs), "--answer")
    missing = [question for question in rules().questions if question.id not in given]
    if missing and not as_json and _is_terminal():
        given |= {question.id: _ask(question) for question in missing}
    found = recommend(given)
    if as_json:
        typer.echo(json.dumps(asdict(found) | {"answers": given}, indent=2))
    else:
        _print_recommendation(found)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _ask(question: Question) -> str:
    console = Console()
    console.print(f"\n[bold]{question.ask}[/]")
    keys = list(question.answers)
    for number, key in enumerate(keys, 1):
        console.print(f"  {number}  {question.answers[key].label}")
    choices = [str(number) for number in range(1, len(keys) + 1)]
    return keys[IntPrompt.ask("  number", choices=choices, show_choices=False) - 1]


def _print_questions() -> None:
    table = Table("question", "answer", "", "fine-tune", "retrieve", "because")
    for question in rules().questions:
        for n, answer in enumerate(question.answers.values()):
            cells = [
                "never" if answer.blocks == remedy else f"{points:+d}" if points else ""
                for remedy, points in (
                    ("fine_tune", answer.fine_tune),
                    ("retrieve", answer.retrieve),
                )
            ]
            table.add_row(
                question.id if n == 0 else "", answer.key, answer.label, *cells, answer.because
            )
        table.add_section()
    Console().print(table, f"From {rules().threshold} points on a remedy is recommended.")


def _print_recommendation(found: Recommendation) -> None:
    console = Console()
    console.print(f"Recommendation: [bold]{found.advice}[/]\n")
    for remedy, points in found.points.items():
        bar = "█" * max(0, points)
        line = f"{_NAMES[remedy]:<12}{bar:·<{max(found.threshold, points, 0)}} {points}"
        state = "ruled out" if remedy in found.blocked else f"recommended from {found.threshold}"
        console.print(f"{line}  [dim]({state})[/]")
    table = Table("because", "", "counts for", title="\nReasons", title_justify="left")
    for reason in found.reasons:
        weight = "rules out" if reason.blocks else f"{reason.points:+d}"
        table.add_row(
            f"{reason.question} = {reason.answer}",
            reason.because,
            f"{weight} {_NAMES[reason.remedy]}",
        )
    console.print(table)
    if not found.changes:
        console.print("No single other answer would change this.")
        return
    console.print("\nWhat would change it:")
    for change in found.changes:
        console.print(f"  {change.question} = {change.answer} → [bold]{change.advice}[/]")


def _measured(path: Path, gain: float, latency_p95_s: float | None, as_json: bool) -> None:
    systems = read_measured(path)
    verdict = judge(systems, gain, latency_p95_s)
    if as_json:
        shown = None if verdict is None else _record(verdict)
        typer.echo(json.dumps(shown, indent=2))
    else:
        _print_measured(systems, verdict, latency_p95_s)
    if verdict is None or verdict.open:
        raise typer.Exit(1)


def _record(verdict: Verdict) -> dict[str, object]:
    return {
        "take": verdict.take.name,
        "decided": not verdict.open,
        "too_slow": [system.name for system in verdict.too_slow],
        "differences": [
            asdict(d) | {"better": d.better, "decided": d.decided} for d in verdict.differences
        ],
    }


def _print_measured(
    systems: list[System], verdict: Verdict | None, latency_p95_s: float | None
) -> None:
    console = Console()
    table = Table("system", "score", "interval", "cases", "p95")
    table.add_column("0 to 1", no_wrap=True)
    for s in systems:
        time = "" if s.latency_p95_s is None else f"{s.latency_p95_s:.2f} s"
        bar = _interval(s.low, s.score, s.high, 0, 1)
        table.add_row(
            s.name, f"{s.score:.3f}", f"{s.low:.3f} to {s.high:.3f}", f"{s.n:,}", time, bar
        )
    console.print(table)
    if verdict is None:
        console.print(f"[red]No system answers within {latency_p95_s} s.[/]")
        return
    if verdict.differences:
        console.print(_differences(verdict.differences, drawn=console.width >= _WIDE))
    for slow in verdict.too_slow:
        console.print(f"Left out for its latency: {slow.name} ({slow.latency_p95_s} s).")
    console.print(f"Take [bold]{escape(verdict.take.name)}[/].")
    for difference in verdict.open:
        console.print(
            f"[yellow]Not decided[/] whether {difference.dearer} is better: "
            f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f}); "
            f"about {difference.missing:,} more cases would decide it."
        )


def _differences(differences: tuple[Difference, ...], drawn: bool) -> Table:
    most = max(max(abs(d.low), abs(d.high)) for d in differences)
    table = Table("system", "against", "difference", "interval", "better?")
    if drawn:
        table.add_column(f"-{most:.2f} to {most:.2f}", no_wrap=True)
    for d in differences:
        state = "yes" if d.better else "no" if d.decided else "not decided"
        picture = [_interval(d.low, d.value, d.high, -most, most)] if drawn else []
        limits = f"{d.low:+.3f} to {d.high:+.3f}"
        table.add_row(d.dearer, d.cheaper, f"{d.value:+.3f}", limits, state, *picture)
    return table


def _interval(low: float, value: float, high: float, first: float, last: float) -> str:
    """Draw an interval on a line from `first` to `last`; zero has a mark where it lies within."""
    cells = [" "] * _WIDTH
    place = [
        min(_WIDTH - 1, max(0, round((x - first) / (last - first or 1) * (_WIDTH - 1))))
        for x in (low, value, high, 0.0)
    ]
    cells[place[0] : place[2] + 1] = ["━"] * (place[2] - place[0] + 1)
    if first < 0:
        cells[place[3]] = "┃"
    cells[place[1]] = "●"
    return "".join(cells)
