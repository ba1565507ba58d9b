"""What the commands of the loop share: settings, the store, and how things are shown."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer
from pydantic import Field
from rich.markup import escape
from rich.table import Table

from gateway.store.database import Database, StoreError
from gateway.store.releases import Releases, leading
from retrieval.secret_files import FileSettings


class Places(FileSettings):
    """The gateway's settings that the commands of the loop need."""

    home: Path = Path(".driftgate")
    database_url: str = Field("", repr=False)
    port: int = 8080
    worker_gateway_url: str = ""

    def gateway_url(self) -> str:
        """Return where questions are asked, without `/v1`."""
        return self.worker_gateway_url or f"http://127.0.0.1:{self.port}"


@contextmanager
def opened(places: Places) -> Iterator[Database]:
    """Open the store; one that is away ends the command with status 2."""
    url = places.database_url or f"sqlite:///{places.home.absolute() / 'driftgate.db'}"
    try:
        database = Database(url)
        try:
            database.migrate()
            yield database
        finally:
            database.close()
    except StoreError as error:
        fail(str(error))


def serving(database: Database, alias: str) -> str:
    """Return the release behind an alias; where there is none, the command ends with status 2."""
    aliases = Releases(database).aliases()
    release = leading(aliases.get(alias, ()))
    if release is None:
        known = ", ".join(sorted(aliases)) or "none"
        fail(f"There is no alias {alias!r}; there are: {known}.")
    return release


def fail(message: str) -> NoReturn:
    """End the command with status 2 and a message."""
    print(message, file=sys.stderr)
    raise typer.Exit(2)


def when(at: float | None) -> str:
    """Return a time for people, in UTC."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))


def table_of(attribution: Mapping[str, Any]) -> Table:
    """Return the table of a replay: by release and retrieval, on what drifted and on the rest."""
    shown = Table("release", "retrieval", "what drifted", "the rest")
    cells = {(c["role"], c["retrieval"], c["slice"]): c for c in attribution["table"]}
    for role, retrieval, name in cells:
        if name != "new":
            continue
        rows = [cells[role, retrieval, each] for each in ("new", "old")]
        shown.add_row(escape(f"{rows[0]['release']} ({role})"), retrieval, *map(_cell, rows))
    return shown


def _cell(cell: Mapping[str, Any]) -> str:
    if not cell["n"]:
        return f"{cell['failed']} failed" if cell["failed"] else "no case"
    text = f"{cell['right']} of {cell['n']} right ({cell['low']:.0%} to {cell['high']:.0%})"
    return text + (f", {cell['failed']} failed" if cell["failed"] else "")
