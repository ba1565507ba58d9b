"""`driftgate db`: the store's schema."""

import json
import sys
from typing import Annotated

import typer

from gateway.settings import Settings
from gateway.store.database import Database, StoreError

app = typer.Typer(help="The store's schema.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The store's schema."""


@app.command(epilog="Example: driftgate db migrate")
def migrate(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring the store's schema up to date; safe to repeat."""
    try:
        database = Database(Settings().resolved_database_url())
        database.migrate()
        database.close()
    except StoreError as error:
        print(f"The store cannot be opened: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    typer.echo(json.dumps({"migrated": True}) if as_json else "The store is up to date.")
