"""`driftgate models`: bring models here and show what is served."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from gateway.hub import CATALOGUE, HubError, Progress, Pulled, installed, pull
from gateway.settings import Settings
from gateway.store.database import Database, StoreError
from gateway.store.releases import Release, Releases, Target, release_id

app = typer.Typer(help="Models and the releases that are made of them.", no_args_is_help=True)
_PRODUCTION = "production"


@app.command(
    "pull", epilog="Example: driftgate models pull smollm2-135m-instruct --alias production"
)
def pull_model(
    name: Annotated[str, typer.Argument(help="A catalogue name, or organisation/model.")],
    alias: Annotated[
        str, typer.Option(help="Alias that is pointed at the release, if it does not exist.")
    ] = _PRODUCTION,
    verify: Annotated[bool, typer.Option("--verify", help="Compute all digests again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring a model to this machine, check its digests and register it as a release."""
    settings = Settings()
    console = Console(stderr=as_json)
    try:
        with console.status(name) as status:
            pulled = pull(name, settings.resolved_models_dir(), status.update, verify=verify)
            release = None if _is_embedder(name) else _register(settings, pulled, alias).id
    except (HubError, StoreError, ValueError) as error:
        _end(str(error))
    if as_json:
        shown = {"model": name, "path": str(pulled.path), "release": release}
        typer.echo(json.dumps(shown, indent=2))
        return
    console.print(f"{name} is in {pulled.path}", soft_wrap=True)
    if release is not None:
        console.print(f"release: {release}", soft_wrap=True)


@app.command("list", epilog="Example: driftgate models list --json")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the models on this machine, the releases and the aliases that point at them."""
    settings = Settings()
    try:
        releases = _releases(settings)
        aliases = releases.aliases()
        known = releases.all()
    except StoreError as error:
        _end(f"The store cannot be opened: {error}")
    folder = settings.resolved_models_dir()
    models = [m for path in sorted(folder.glob("[!.]*")) if (m := installed(path))]
    if as_json:
        shown = {
            "models": [asdict(model) | {"path": str(model.path)} for model in models],
            "releases": [asdict(release) for release in known],
            "aliases": {a: [asdict(t) for t in targets] for a, targets in aliases.items()},
        }
        typer.echo(json.dumps(shown, indent=2))
        return
    table = Table("model", "source", "folder", title="On this machine", title_justify="left")
    for model in models:
        table.add_row(model.name, model.source, str(model.path))
    served = Table("release", "model", "aliases", title="Releases", title_justify="left")
    for release in known:
        names = [a for a, targets in aliases.items() if release.id in {t.release for t in targets}]
        served.add_row(release.id, release.model, ", ".join(names))
    Console().print(table, served)


def ensure_model(settings: Settings, progress: Progress) -> Release:
    """Return the release behind `production`, made of the settings' model where there is none.

    The stub engine needs no model: it gets a release of its own without files.

    Raises:
        HubError: The model cannot be had.
        StoreError: The store cannot be read or written.
    """
    releases = _releases(settings)
    targets = releases.aliases().get(_PRODUCTION)
    if targets:
        known = releases.get(targets[0].release)
        if known is not None and (settings.engine == "echo" or known.path):
            return known
    if settings.engine == "echo":
        stub = Release("echo", "echo", "stub", "", {}, time.time(), source="stub")
        release = releases.register(stub)
        releases.point(_PRODUCTION, [Target(release.id, 1.0, "live")])
        return release
    pulled = pull(settings.model, settings.resolved_models_dir(), progress)
    release = _registered(releases, pulled)
    releases.point(_PRODUCTION, [Target(release.id, 1.0, "live")])
    return release


def ensure_embedder(settings: Settings, progress: Progress) -> Path:
    """Return the folder of the embedding model, pulling it where it is missing."""
    return pull(settings.embedder, settings.resolved_models_dir(), progress).path


def _register(settings: Settings, pulled: Pulled, alias: str) -> Release:
    releases = _releases(settings)
    release = _registered(releases, pulled)
    if alias not in releases.aliases():
        releases.point(alias, [Target(release.id, 1.0, "live")])
    return release


def _registered(releases: Releases, pulled: Pulled) -> Release:
    return releases.register(
        Release(
            id=release_id(pulled.name, pulled.digests),
            model=pulled.name,
            revision=pulled.revision,
            path=str(pulled.path.absolute()),
            digests=pulled.digests,
            created_at=time.time(),
            source=pulled.source,
        )
    )


def _releases(settings: Settings) -> Releases:
    database = Database(settings.resolved_database_url())
    database.migrate()
    return Releases(database)


def _is_embedder(name: str) -> bool:
    return name in CATALOGUE and CATALOGUE[name].embedder


def _end(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(2)
