"""`driftgate grounding`: when requests are answered from documents, and what that brings."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from gateway.bodies import Retrieval
from gateway.commands.output import end, print_table
from gateway.settings import Settings
from gateway.store.benefits import Benefits
from gateway.store.database import Database, StoreError
from gateway.store.health import STATES, Healths
from gateway.store.policies import Kind, Policies

app = typer.Typer(help="When answers are grounded in documents.", no_args_is_help=True)
policy = typer.Typer(help="Policies of keys and aliases.", no_args_is_help=True)
app.add_typer(policy, name="policy")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Key = Annotated[str | None, typer.Option(help="The key, by its 8 characters after `dg-`.")]
_Alias = Annotated[str | None, typer.Option(help="The alias.")]


@policy.command(
    "set",
    epilog="Example: driftgate grounding policy set --alias production --mode auto --store vs_1a2b",
)
def set_policy(
    key: _Key = None,
    alias: _Alias = None,
    mode: Annotated[str | None, typer.Option(help="off, auto or always.")] = None,
    store: Annotated[
        list[str] | None, typer.Option(help="A vector store to search; repeatable.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, max=50, help="Most passages.")] = None,
    insufficient: Annotated[
        str | None,
        typer.Option(help="Where the documents do not hold the answer: say_so or plain."),
    ] = None,
    unsupported: Annotated[
        str | None,
        typer.Option(help="Where no sentence is supported: quote the document, or drop citations."),
    ] = None,
    score_threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Leave out passages below it.")
    ] = None,
    sufficient: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="How much passages must say of the question; 0: any will do."
        ),
    ] = None,
    filters: Annotated[str | None, typer.Option(help="OpenAI's filter, as JSON.")] = None,
    as_json: _Json = False,
) -> None:
    """Set the policy of a key or an alias; requests may say otherwise field by field."""
    kind, name = _whose(key, alias)
    given: dict[str, Any] = {
        "mode": mode, "vector_store_ids": store, "top_k": top_k, "insufficient": insufficient,
        "unsupported": unsupported, "score_threshold": score_threshold, "sufficient": sufficient,
    }  # fmt: skip
    fields = {name: value for name, value in given.items() if value is not None}
    try:
        if filters is not None:
            fields["filters"] = msgspec.json.decode(filters)
        msgspec.convert(fields, Retrieval)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        end(f"{error}.")
    if not fields:
        end("Say what the policy is, such as `--mode auto --store vs_…`.")
    with opened() as database:
        Policies(database).put(kind, name, fields)
    told = {"kind": kind, "name": name, "fields": fields}
    text = f"The {kind} {name}: {json.dumps(fields)}."
    typer.echo(json.dumps(told) if as_json else text)


@policy.command("clear", epilog="Example: driftgate grounding policy clear --alias production")
def clear_policy(key: _Key = None, alias: _Alias = None, as_json: _Json = False) -> None:
    """Take away the policy of a key or an alias."""
    kind, name = _whose(key, alias)
    with opened() as database:
        if not Policies(database).remove(kind, name):
            end(f"The {kind} {name} has no policy.")
    told = {"kind": kind, "name": name, "fields": None}
    text = f"The {kind} {name} has no policy any more."
    typer.echo(json.dumps(told) if as_json else text)


@policy.command("list", epilog="Example: driftgate grounding policy list --json")
def list_policies(as_json: _Json = False) -> None:
    """Show all policies."""
    with opened() as database:
        found = Policies(database).all()
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    rows = [(each.kind, each.name, _shown(each.fields)) for each in found]
    print_table(("of", "name", "policy"), rows)


@app.command(epilog='Example: driftgate grounding health production WARN --reason "a new product"')
def health(
    alias: Annotated[str | None, typer.Argument(help="The alias.")] = None,
    state: Annotated[str | None, typer.Argument(help=f"One of {', '.join(STATES)}.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "set by hand",
    as_json: _Json = False,
) -> None:
    """Show the health of aliases, or set that of one: WARN and DEGRADED make `auto` retrieve."""
    with opened() as database:
        healths = Healths(database)
        if alias is not None and state is not None:
            try:
                healths.put(alias, state.upper(), {"reason": reason})
            except ValueError as error:
                end(f"{error}.")
        found = [each for each in healths.all() if alias in (None, each.alias)]
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    rows = [(each.alias, each.state, _shown(each.evidence)) for each in found]
    print_table(("alias", "state", "evidence"), rows)


@app.command(epilog="Example: driftgate grounding topics --json")
def topics(as_json: _Json = False) -> None:
    """Show by topic what retrieval brings, as measured by the hold-out and feedback."""
    with opened() as database:
        found = Benefits(database).all()
    shown = [
        {
            "topic": each.topic,
            "grounded": each.benefit.grounded.count,
            "plain": each.benefit.plain.count,
            "difference": each.benefit.difference,
            "evidence_of_harm": each.benefit.evidence_of_harm,
            "evidence_of_help": each.benefit.evidence_of_help,
            "off": each.benefit.off,
        }
        for each in found
    ]
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    rows = [tuple(_figure(value) for value in row.values()) for row in shown]
    print_table(("topic", "grounded", "plain", "difference", "harm", "help", "off"), rows)


@app.command(epilog="Example: driftgate grounding calibrate production --data train.jsonl")
def calibrate(
    release: Annotated[str, typer.Argument(help="The release, or an alias with one.")],
    data: Annotated[Path, typer.Option(help="The rows that it was trained on (JSON Lines).")],
    cutoff: Annotated[
        str | None,
        typer.Option(help="Date of the newest training data; default: of the newest row."),
    ] = None,
    quantile: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Share of usual prompts and answers.")
    ] = 0.95,
    answers: Annotated[int, typer.Option(min=0, help="Answers to measure; 0: none.")] = 100,
    prompts: Annotated[int, typer.Option(min=20, help="Most prompts of the reference.")] = 5000,
    as_json: _Json = False,
) -> None:
    """Measure what a release knows, so that `auto` can tell what it does not know."""
    from gateway.calibrating import CalibrationFailed, Options, run

    settings = Settings()
    with opened() as database:
        try:
            done = run(
                database, settings, release, data, Options(cutoff, quantile, answers, prompts)
            )
        except CalibrationFailed as error:
            end(str(error))
    if as_json:
        typer.echo(json.dumps(asdict(done), indent=2))
        return
    rows = [(name, _figure(value)) for name, value in asdict(done).items()]
    print_table(("what", "value"), rows)


@contextmanager
def opened() -> Iterator[Database]:
    """Open the store, migrated."""
    try:
        database = Database(Settings().resolved_database_url())
        try:
            database.migrate()
            yield database
        finally:
            database.close()
    except StoreError as error:
        end(f"The store cannot be opened: {error}")


def _whose(key: str | None, alias: str | None) -> tuple[Kind, str]:
    if (key is None) == (alias is None):
        end("Name either a key (`--key`) or an alias (`--alias`).")
    return ("key", key) if key is not None else ("alias", str(alias))


def _figure(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e6 else f"{value}"


def _shown(fields: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in fields.items())
