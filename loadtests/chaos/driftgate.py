"""Driftgate as a gateway under test, with a store to look into."""

import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from gateway.store.database import Database
from gateway.store.engines import Engine, Engines, EngineState
from gateway.store.keys import SCOPES, Keys
from gateway.store.releases import Release, Releases, Target
from loadtests.bench.driftgate import Driftgate as BenchDriftgate
from loadtests.bench.process import free_port, running
from loadtests.chaos.engine import MODEL
from loadtests.chaos.targets import USUAL, Limits, Running, in_thread, is_up, new_home

_ALIAS = "production"  # what readiness is about
_HOST = "chaos"


@dataclass(frozen=True)
class Driftgate:
    """The gateway of this working tree, one worker, keys checked, traffic recorded."""

    name: str = "driftgate"
    note: str = "1 worker, API key, traffic records with texts, engines over TCP"
    has_store: bool = True

    @property
    def version(self) -> str:
        return BenchDriftgate("driftgate").version

    @contextlib.asynccontextmanager
    async def start(self, engines: Sequence[str], limits: Limits = USUAL) -> AsyncIterator[Running]:
        """Run it in a folder of its own."""
        async with in_thread(self.serving(engines, limits)) as found:
            yield found

    @contextlib.contextmanager
    def serving(self, engines: Sequence[str], limits: Limits = USUAL) -> Iterator[Running]:
        """Run it in a folder of its own; blocks until it is ready, or live without engines."""
        with new_home() as home:
            settings = {
                "home": str(home),
                "port": str(free_port()),
                "embedder": "",
                "refresh_s": "0.1",
                "health_period_s": "0.5",
                "drain_delay_s": "0",
                "header_timeout_s": "2",
                "body_timeout_s": "2",
                "first_token_timeout_s": f"{limits.first_token_s}",
                "idle_timeout_s": f"{limits.idle_s}",
                **limits.more,
            }
            url = f"http://127.0.0.1:{settings['port']}"
            log = home / "gateway.log"
            database = Database(settings.get("database_url", f"sqlite:///{home / 'driftgate.db'}"))
            outside = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTGATE_")}
            chosen = {f"DRIFTGATE_{name.upper()}": value for name, value in settings.items()}
            try:
                headers = {"authorization": f"Bearer {_fill(database, engines)}"}
                ready = f"{url}/health/{'ready' if engines else 'live'}"
                command = [sys.executable, "-m", "gateway.cli", "gateway"]
                with running(
                    command, lambda: is_up(ready), log, environment=outside | chosen
                ) as pid:
                    yield Running(self.name, url, headers, _ALIAS, pid, home, log, database)
            finally:
                database.close()


def put_engines(database: Database, addresses: Sequence[str]) -> None:
    """Write these engines in place of all others."""
    engines = Engines(database)
    for engine in engines.all():
        engines.remove(engine.host, engine.slot)
    for at, address in enumerate(addresses):
        engines.put(
            Engine(
                f"slot{at}", _HOST, MODEL, address, EngineState.READY, None, 0, None, time.time()
            )
        )


def _fill(database: Database, engines: Sequence[str]) -> str:
    """Write a key, a release, its alias and the engines; returns the key."""
    database.migrate()
    _, key = Keys(database).create("chaos", SCOPES)
    releases = Releases(database)
    releases.register(Release(MODEL, "chaos-model", "scripted", "", {}, time.time()))
    releases.point(_ALIAS, [Target(MODEL, 1.0, "live")])
    put_engines(database, engines)
    return key
