"""`driftgate keys`: make, show, limit and revoke API keys."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.settings import Settings
from gateway.store.database import Database, StoreError
from gateway.store.keys import LARGEST_LIMIT, NO_LIMITS, SCOPES, ApiKey, KeyLimits, Keys

app = typer.Typer(help="The API keys of the gateway.", no_args_is_help=True)

_NAME_LIMIT = 200
# The prefix is not echoed: somebody may have pasted a whole key.
_NO_KEY = "There is no key with this prefix; `driftgate keys list` shows them."


def _bounded(value: int | None) -> int | None:
    if value is not None and value > LARGEST_LIMIT:
        raise typer.BadParameter(f"a limit is at most {LARGEST_LIMIT:,}")
    return value


def _option(help: str) -> Any:
    # Not `max`, which the help would show with all its zeros.
    return typer.Option(min=1, metavar="N", callback=_bounded, help=help)


_Requests = Annotated[int | None, _option("Requests that it may make a minute.")]
_Tokens = Annotated[int | None, _option("Tokens that it may use a minute, prompts and answers.")]
_Concurrency = Annotated[int | None, _option("Requests that it may have at once.")]
_Day = Annotated[int | None, _option("Tokens that it may use a UTC day.")]
_Month = Annotated[int | None, _option("Tokens that it may use a UTC month.")]
_UNITS = {
    "requests_per_minute": "requests/min",
    "tokens_per_minute": "tokens/min",
    "max_concurrency": "at once",
    "tokens_per_day": "tokens/day",
    "tokens_per_month": "tokens/month",
}
_Prefix = Annotated[str, typer.Argument(help="The 8 characters after `dg-`.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(epilog="Example: driftgate keys create --name shop --requests-per-minute 600")
def create(
    name: Annotated[str, typer.Option(help="What the key is for, for people.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What the key may do: {', '.join(sorted(SCOPES))}; repeatable. "
            "Default: inference and feedback."
        ),
    ] = None,
    requests_per_minute: _Requests = None,
    tokens_per_minute: _Tokens = None,
    max_concurrency: _Concurrency = None,
    tokens_per_day: _Day = None,
    tokens_per_month: _Month = None,
    as_json: _Json = False,
) -> None:
    """Make a key and print it, this once. Without limits it has none."""
    if not name.strip() or len(name) > _NAME_LIMIT or not name.isprintable():
        _end(f"A name is 1 to {_NAME_LIMIT} printable characters.")
    limits = KeyLimits(
        requests_per_minute, tokens_per_minute, max_concurrency, tokens_per_day, tokens_per_month
    )
    with _keys() as keys:
        try:
            key, text = keys.create(name, scope or ("inference", "feedback"), limits)
        except ValueError as error:
            _end(f"{error}.")
    if as_json:
        typer.echo(json.dumps({"key": text, **_shown(key)}, indent=2))
        return
    typer.echo("Keep this key; it is not shown again:", err=True)
    typer.echo(text)


@app.command("list", epilog="Example: driftgate keys list --json")
def list_keys(as_json: _Json = False) -> None:
    """Show every key ever made, without its secret."""
    with _keys() as keys:
        found = keys.all()
    if as_json:
        typer.echo(json.dumps([_shown(key) for key in found], indent=2))
        return
    table = Table()
    # One line each: a number cut in two, or cut off, is read wrongly. A name may wrap.
    for column in ("prefix", "name", "scopes", "limits", "made (UTC)"):
        table.add_column(column, no_wrap=column != "name", overflow="fold")
    for key in found:
        # Text: a name in square brackets is no markup.
        table.add_row(
            key.prefix,
            Text(key.name),
            "\n".join(sorted(key.scopes)),
            "\n".join(_limits(key.limits)),
            _times(key),
        )
    Console().print(table)


@app.command(epilog="Example: driftgate keys limit a1b2c3d4 --tokens-per-day 200000")
def limit(
    prefix: _Prefix,
    requests_per_minute: _Requests = None,
    tokens_per_minute: _Tokens = None,
    max_concurrency: _Concurrency = None,
    tokens_per_day: _Day = None,
    tokens_per_month: _Month = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Take away all limits that are not given here.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Change a key's limits; running workers follow within a second."""
    given = KeyLimits(
        requests_per_minute, tokens_per_minute, max_concurrency, tokens_per_day, tokens_per_month
    )
    if given == NO_LIMITS and not clear:
        _end("Name a limit to set, such as `--tokens-per-day 100000`, or `--clear`.")
    changed = {name: value for name, value in asdict(given).items() if value is not None}
    with _keys() as keys:
        known = {key.prefix: key.limits for key in keys.all()}
        if prefix not in known:
            _end(_NO_KEY)
        key = keys.limit(prefix, replace(NO_LIMITS if clear else known[prefix], **changed))
    if as_json:
        typer.echo(json.dumps(_shown(key), indent=2))
        return
    typer.echo(f"Limits of {key.prefix}: {', '.join(_limits(key.limits)) or 'none'}.")


@app.command(epilog="Example: driftgate keys revoke a1b2c3d4")
def revoke(
    prefix: _Prefix,
    as_json: _Json = False,
) -> None:
    """Revoke a key for good; running workers reject it within a second."""
    with _keys() as keys:
        try:
            key = keys.revoke(prefix)
        except KeyError:
            _end(_NO_KEY)
    if as_json:
        typer.echo(json.dumps(_shown(key), indent=2))
        return
    typer.echo(f"Revoked {key.prefix}.")


@contextmanager
def _keys() -> Iterator[Keys]:
    try:
        database = Database(Settings().resolved_database_url())
        try:
            database.migrate()
            yield Keys(database)
        finally:
            database.close()
    except StoreError as error:
        _end(f"The store cannot be opened: {error}")


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "prefix": key.prefix,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "limits": asdict(key.limits),
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


def _limits(limits: KeyLimits) -> list[str]:
    given = {name: value for name, value in asdict(limits).items() if value is not None}
    return [f"{value:,} {_UNITS[name]}" for name, value in given.items()]


def _times(key: ApiKey) -> str:
    made = f"{datetime.fromtimestamp(key.created_at, UTC):%Y-%m-%d %H:%M}"
    if key.revoked_at is None:
        return made
    return f"{made}\nrevoked\n{datetime.fromtimestamp(key.revoked_at, UTC):%Y-%m-%d %H:%M}"


def _end(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(2)
