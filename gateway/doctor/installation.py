"""This installation: ports, store, keys, models, engines, services, the signing key."""

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx

from gateway.doctor.finding import Finding, fail, ok, warn
from gateway.hub import slug
from gateway.server import bind
from gateway.settings import Settings
from gateway.signing import PublicKey, SigningError
from gateway.store.database import Database, StoreError
from gateway.store.engines import Engines, EngineState
from gateway.store.job_events import JobEvents
from gateway.store.keys import Keys
from retrieval.client import RetrievalClient, RetrievalUnavailable

_SERVE = "`make serve` starts it with everything else"


def look(settings: Settings, monitor_url: str) -> Iterator[Finding]:
    """Look at what this machine's Driftgate consists of.

    Args:
        settings: Where everything is.
        monitor_url: Where the monitor shows its metrics.
    """
    up = _answers(f"{settings.url()}/health/live")
    yield port(settings, answers=up)
    yield from store(settings)
    yield model(settings, settings.model, "model")
    if settings.embedder:
        yield model(settings, settings.embedder, "embedder")
    yield signing_key(settings.signing_key_path())
    yield ready(settings.url()) if up else warn("gateway", "not running", f"{_SERVE}.")
    if settings.embedder:
        yield retrieval(settings.retrieval_socket())
    if settings.monitor:
        yield monitor(monitor_url)


def port(settings: Settings, *, answers: bool) -> Finding:
    """The gateway's port is its own, or free."""
    name = f"port {settings.port}"
    if answers:
        return ok(name, f"a Driftgate answers at {settings.url()}")
    try:
        bind(settings.host, settings.port)[0].close()
    except OSError as error:
        return fail(
            name,
            f"{settings.host}: {error.strerror or error}",
            "DRIFTGATE_HOST and DRIFTGATE_PORT choose another address; "
            f"`ss -ltnp 'sport = :{settings.port}'` shows who has it.",
        )
    return ok(name, "free")


def store(settings: Settings) -> Iterator[Finding]:
    """The database is reached and migrated; keys, engines and workers are what it says."""
    url = settings.resolved_database_url()
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not path.exists():
        yield warn("database", f"{path} is not there yet", f"{_SERVE} and makes it.")
        return
    try:
        database = Database(url)
        try:
            present, newest = database.revision()
            kind = database.engine.dialect.name
            if present != newest:
                yield warn(
                    "database", f"{kind}, schema {present or 'none'} of {newest}",
                    "`driftgate db migrate` brings it up to date.",
                )  # fmt: skip
                return
            yield ok("database", f"{kind}, schema {present}")
            yield keys(Keys(database), settings)
            yield engines(database)
            yield workers(database, settings)
        finally:
            database.close()
    except StoreError as error:
        yield fail(
            "database", str(error), "Is it running, and DRIFTGATE_DATABASE_URL right, password too?"
        )


def keys(known: Keys, settings: Settings) -> Finding:
    """Without a key the gateway is open to this machine, and binds nothing else."""
    living = [key for key in known.all() if key.revoked_at is None]
    if living:
        return ok("keys", f"{len(living)} in force")
    todo = "`driftgate keys create --name first --scope admin` makes one."
    if settings.is_loopback():
        return warn("keys", "none: whoever is on this machine may ask", todo)
    return fail("keys", f"none: the gateway does not bind {settings.host}", todo)


def engines(database: Database) -> Finding:
    """At least one engine is ready, where there are any."""
    rows = Engines(database).all()
    up = [each for each in rows if each.state is EngineState.READY]
    if up:
        return ok("engines", ", ".join(f"{each.slot} runs {each.release}" for each in up))
    if not rows:
        return warn("engines", "none", f"{_SERVE}; `driftgate engines run` starts them alone.")
    said = "; ".join(
        f"{each.slot} {each.state.value}"
        + (f": {each.error.splitlines()[0]}" if each.error else "")
        for each in rows
    )
    return warn("engines", said, "`driftgate engines list` and the logs in DRIFTGATE_HOME say why.")


def workers(database: Database, settings: Settings) -> Finding:
    """Somebody trains and rolls out."""
    living = JobEvents(database).workers()
    if living:
        return ok("workers", ", ".join(each.id for each in living))
    if not settings.training_worker:
        return ok("workers", "none; DRIFTGATE_TRAINING_WORKER is off")
    return warn("workers", "none", f"{_SERVE}; `driftgate worker` starts one alone.")


def model(settings: Settings, name: str, what: str) -> Finding:
    """A model that is served lies on this machine."""
    folder = settings.resolved_models_dir() / slug(name)
    if (folder / "config.json").is_file():
        return ok(what, f"{name} in {folder}")
    if settings.engine == "echo" and what == "model":
        return ok(what, "the stub engine needs none")
    return warn(what, f"{name} is not here", f"`driftgate models pull {name}` brings it.")


def signing_key(path: Path) -> Finding:
    """The key that signs certificates can be read, by its owner alone."""
    if not path.exists():
        return ok("signing key", "made when the first release is certified")
    if stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        return fail("signing key", f"{path} can be read by others", f"chmod 600 {path}")
    if not os.access(path, os.R_OK):
        return fail("signing key", f"{path} cannot be read", "It must belong to Driftgate's user.")
    try:
        return ok("signing key", f"{PublicKey.load(path).id}, {path}")
    except SigningError as error:
        return fail("signing key", str(error), "DRIFTGATE_SIGNING_KEY names another.")


def ready(url: str) -> Finding:
    """The gateway would answer a chat."""
    if _answers(f"{url}/health/ready"):
        return ok("gateway", f"ready at {url}")
    return warn("gateway", "runs, but no engine is ready", "`driftgate engines list` says why.")


def retrieval(socket: Path) -> Finding:
    """The retrieval service embeds and searches."""

    async def ask() -> str:
        client = RetrievalClient(socket)
        try:
            info = await client.info()
        finally:
            await client.close()
        return f"{info['embedder']}, {info['dimensions']} dimensions"

    try:
        return ok("retrieval", asyncio.run(ask()))
    except RetrievalUnavailable as error:
        todo = f"{_SERVE}; `driftgate retrieval serve` starts it alone."
        said = str(error) if socket.exists() else "not running"
        return warn("retrieval", said, todo)


def monitor(url: str) -> Finding:
    """The monitor shows its metrics."""
    if _answers(f"{url}/metrics"):
        return ok("monitor", f"metrics at {url}/metrics")
    return warn("monitor", "not running", f"{_SERVE}; `driftgate monitor run` starts it alone.")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=3, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
