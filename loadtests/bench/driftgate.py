"""Driftgate as a system under test: keys, limits, metrics and traffic records in SQLite, all on.

The store is made as `driftgate serve` makes it, with one release whose engine is the mock.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway import __version__, compiled
from gateway.store.database import Database
from gateway.store.engines import Engine, Engines, EngineState
from gateway.store.keys import KeyLimits, Keys
from gateway.store.releases import Release, Releases, Target
from loadtests.bench.peers import Mock, Running, answers
from loadtests.bench.process import ROOT, free_port, running

_ALIAS, _RELEASE = "bench", "bench-1"


@dataclass(frozen=True)
class Driftgate:
    """The gateway of this working tree.

    Args:
        name: Its name in the tables.
        workers: Worker processes.
        unix_socket: Reach the mock over a Unix socket, as engines that `driftgate serve` starts
            are reached, instead of over TCP like the peers.
    """

    name: str
    workers: int = 1
    unix_socket: bool = False

    @property
    def version(self) -> str:
        how = "compiled" if compiled.is_used() else "interpreted"
        return f"{__version__} ({_commit()}), {how}"

    @property
    def note(self) -> str:
        upstream = "Unix socket" if self.unix_socket else "TCP"
        many = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"{many}, upstream over {upstream}; key with limits, traffic records with texts"

    def install(self) -> None:
        """Nothing: it is here."""

    @contextlib.contextmanager
    def start(self, mock: Mock, home: Path) -> Iterator[Running]:
        """Run it in `home`; raises StartFailed where it does not come up."""
        store = home / "driftgate.db"
        key = _fill(store, f"unix:{mock.socket}" if self.unix_socket else mock.url)
        port = free_port()
        # Variables that a developer has set must not change what is measured.
        outside = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTGATE_")}
        environment = outside | {
            "DRIFTGATE_HOME": str(home),
            "DRIFTGATE_DATABASE_URL": f"sqlite:///{store}",
            "DRIFTGATE_PORT": str(port),
            "DRIFTGATE_WORKERS": str(self.workers),
        }
        url, headers = f"http://127.0.0.1:{port}", {"authorization": f"Bearer {key}"}
        with running(
            [sys.executable, "-m", "gateway.cli", "gateway"],
            lambda: answers(url, headers, _ALIAS),
            home / "driftgate.log",
            environment=environment,
        ) as pid:
            yield Running(url, headers, _ALIAS, pid, store)


def _fill(store: Path, engine: str) -> str:
    """Write a key, a release, an alias and an engine; returns the key."""
    database = Database(f"sqlite:///{store}")
    try:
        database.migrate()
        # High enough to refuse nothing, so that every request is reserved and settled.
        limits = KeyLimits(
            requests_per_minute=100_000_000,
            tokens_per_minute=100_000_000_000,
            max_concurrency=10_000,
        )
        _, key = Keys(database).create("bench", ["inference"], limits)
        releases = Releases(database)
        releases.register(Release(_RELEASE, "bench-model", "mock", "", {}, time.time()))
        releases.point(_ALIAS, [Target(_RELEASE, 1.0, "live")])
        Engines(database).put(
            Engine("blue", "bench", _RELEASE, engine, EngineState.READY, None, 0, None, time.time())
        )
    finally:
        database.close()
    return key


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "--short", "HEAD") or "no commit"
    changed = git("status", "--porcelain", "--", "gateway", "pyproject.toml")
    return f"{commit}, with changes" if changed else commit
