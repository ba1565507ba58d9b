"""`driftgate releases`: releases, their certificates, and whether both hold."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Column, Table

from gateway.signing import PublicKey, SigningError, key_path, public_path
from gateway.store.certificates import Certificate, Certificates
from gateway.store.database import Database, StoreError
from gateway.store.releases import Release, Releases
from gateway.verifying import Finding, signed_by, verify
from gateway.verifying import Progress as Told
from retrieval.secret_files import FileSettings
from training.certificate import certify

app = typer.Typer(help="Releases and their signed certificates.", no_args_is_help=True)
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Id = Annotated[str, typer.Argument(metavar="RELEASE", help="Id of the release.")]
_Key = Annotated[
    Path | None,
    typer.Option(help="Public key (PEM) to check with; default: that of this host."),
]


class _Places(FileSettings):
    """The gateway's settings that this needs."""

    home: Path = Path(".driftgate")
    database_url: str = Field("", repr=False)
    signing_key: Path | None = None


@app.command("list", epilog="Example: driftgate releases list --json")
def list_releases(as_json: _AsJson = False) -> None:
    """Show the releases, what they were trained from, and whether they are certified."""
    places = _Places()
    with _store(places) as database:
        releases = Releases(database).all()
        certificates = {found.release: found for found in Certificates(database).all()}
    key = _key(places, None) if certificates and public_path(_private(places)).exists() else None
    rows = [_row(release, certificates.get(release.id), key) for release in releases]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    names = ("release", "made", "from", "job", "certificate")
    # A release is copied, and must stand in one piece.
    columns = [Column(n, overflow="fold", no_wrap=n == names[0]) for n in names]
    table = Table(*columns)
    for row in rows:
        made = datetime.fromtimestamp(row["created_at"], UTC).strftime("%Y-%m-%d %H:%M")
        table.add_row(
            row["release"], made, row["base_release"] or "", row["job"] or "", row["certificate"]
        )
    Console().print(table)


@app.command("show", epilog="Example: driftgate releases show smollm2-135m-instruct-d86739c6")
def show(release_id: _Id) -> None:
    """Print a release's certificate as JSON: the whole statement and its signature."""
    with _store(_Places()) as database:
        certificate = Certificates(database).get(release_id)
        if certificate is None:
            if Releases(database).get(release_id) is None:
                _end(f"There is no release {release_id!r}.")
            _end(f"{release_id} has no certificate: `driftgate releases certify {release_id}`.", 1)
    typer.echo(json.dumps(asdict(certificate), indent=2, ensure_ascii=False))


@app.command(
    "verify",
    epilog="Example: driftgate releases verify smollm2-135m-instruct-d86739c6 --json",
)
def verify_release(release_id: _Id, key: _Key = None, as_json: _AsJson = False) -> None:
    """Check a release against its certificate: signature, record, every file, parents.

    The exit status is 0 where all of it holds, 1 where not.
    """
    places = _Places()
    with _store(places) as database, _reading(quiet=as_json) as told:
        try:
            findings = verify(database, release_id, _key(places, key), told)
        except KeyError:
            _end(f"There is no release {release_id!r}.")
    holds = all(finding.passed for finding in findings)
    if as_json:
        shown = [asdict(finding) for finding in findings]
        typer.echo(json.dumps({"release": release_id, "holds": holds, "checks": shown}, indent=2))
    else:
        Console().print(_table(release_id, findings))
    raise typer.Exit(0 if holds else 1)


@app.command("certify", epilog="Example: driftgate releases certify smollm2-135m-instruct-d86739c6")
def certify_release(release_id: _Id, as_json: _AsJson = False) -> None:
    """Sign what the store knows of a release: for pulled models, and after a change of keys."""
    places = _Places()
    with _store(places) as database:
        try:
            certificate = certify(database, places.home, release_id, key=places.signing_key)
        except KeyError:
            _end(f"There is no release {release_id!r}.")
        except (SigningError, OSError) as error:
            _end(str(error))
    if as_json:
        typer.echo(json.dumps({"release": release_id, "key_id": certificate.key_id}))
    else:
        typer.echo(f"{release_id} is certified by key {certificate.key_id}.")


def _row(release: Release, found: Certificate | None, key: PublicKey | None) -> dict[str, Any]:
    if found is None:
        state = "none"
    elif key is None or found.key_id != key.id:
        state = f"by another key, {found.key_id}"
    else:
        state = "signed" if signed_by(found, key) else "CHANGED"
    return {
        "release": release.id,
        "created_at": release.created_at,
        "base_release": release.base_release,
        "job": release.job,
        "certificate": state,
    }


def _table(release_id: str, findings: list[Finding]) -> Table:
    table = Table("", "check", "found", title=release_id, title_justify="left")
    for finding in findings:
        mark = "[green]✓[/]" if finding.passed else "[red]✗[/]"
        table.add_row(mark, finding.check, escape("\n".join(finding.found)))
    return table


def _private(places: _Places) -> Path:
    return key_path(places.home, places.signing_key)


def _key(places: _Places, given: Path | None) -> PublicKey:
    try:
        return PublicKey.load(given or public_path(_private(places)))
    except SigningError as error:
        _end(str(error))


@contextmanager
def _store(places: _Places) -> Iterator[Database]:
    home = places.home.absolute()
    try:
        database = Database(places.database_url or f"sqlite:///{home / 'driftgate.db'}")
        try:
            database.migrate()
            yield database
        finally:
            database.close()
    except StoreError as error:
        _end(f"The store cannot be opened: {error}")


@contextmanager
def _reading(*, quiet: bool) -> Iterator[Told]:
    """Show how far the reading of files is, on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TransferSpeedColumn(), console=console, transient=True, disable=quiet
    ) as progress:
        tasks: dict[str, Any] = {}

        def told(what: str, total: int, read: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(f"reading {what}", total=total)
            progress.advance(tasks[what], read)

        yield told


def _end(message: str, status: int = 2) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(status)
