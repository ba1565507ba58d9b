"""`driftgate keys`: make, show and revoke API keys."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.settings import Settings
from gateway.store.database import Database, StoreError
from gateway.store.keys import SCOPES, ApiKey, Keys

app = typer.Typer(help="The API keys of the gateway.", no_args_is_help=True)

_NAME_LIMIT = 200
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for, for people.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What the key may do: {', '.join(sorted(SCOPES))}; repeatable. "
            "Default: inference and feedback."
        ),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Make a key and print it, this once."""
    if not name.strip() or len(name) > _NAME_LIMIT or not name.isprintable():
        _end(f"A name is 1 to {_NAME_LIMIT} printable characters.")
    with _keys() as keys:
        try:
            key, text = keys.create(name, scope or ("inference", "feedback"))
        except ValueError as error:
            _end(f"Wrong scope: {error}.")
    if as_json:
        typer.echo(json.dumps({"key": text, **_shown(key)}, indent=2))
        return
    typer.echo("Keep this key; it is not shown again:", err=True)
    typer.echo(text)


@app.command("list")
def list_keys(as_json: _Json = False) -> None:
    """Show every key ever made, without its secret."""
    with _keys() as keys:
        found = keys.all()
    if as_json:
        typer.echo(json.dumps([_shown(key) for key in found], indent=2))
        return
    table = Table()
    for column in ("prefix", "name", "scopes", "created (UTC)", "revoked (UTC)"):
        table.add_column(column, no_wrap=column == "prefix")
    for key in found:
        # Text: a name in square brackets is no markup.
        table.add_row(
            key.prefix,
            Text(key.name),
            ", ".join(sorted(key.scopes)),
            _time(key.created_at),
            _time(key.revoked_at),
        )
    Console().print(table)


@app.command()
def revoke(
    prefix: Annotated[str, typer.Argument(help="The 8 characters after `dg-`.")],
    as_json: _Json = False,
) -> None:
    """Revoke a key for good; running workers reject it within a second."""
    with _keys() as keys:
        try:
            key = keys.revoke(prefix)
        except KeyError:
            # Not echoed: somebody may have pasted a whole key.
            _end("There is no key with this prefix; `driftgate keys list` shows them.")
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
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def _end(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(2)
