"""A gateway as a process of its own over stub engines, for tests that speak HTTP to it."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from gateway.store.database import Database
from gateway.store.engines import Engine, Engines, EngineState
from gateway.store.keys import SCOPES, Keys
from gateway.store.releases import Release, Releases, Target
from gateway.store.traffic import Traffic, TrafficRecord

ROOT = Path(__file__).parents[2]
MESSAGES = [{"role": "user", "content": "one two three"}]


@dataclass(frozen=True)
class RunningGateway:
    """A gateway at `url`, with a key that may do anything."""

    url: str
    key: str
    home: Path
    database: Database

    def client(self, key: str | None = None) -> httpx.Client:
        """Return a client that sends the key."""
        headers = {"authorization": f"Bearer {key or self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def post(self, path: str = "/v1/chat/completions", **fields: object) -> httpx.Response:
        """Post a chat completion with further fields."""
        body = {"model": "production", "messages": MESSAGES, **fields}
        with self.client() as client:
            return client.post(path, json=body)

    def record(self, completion_id: str) -> TrafficRecord:
        """Return the traffic record of a completion, once it is written."""
        found: list[TrafficRecord] = []

        def written() -> bool:
            record = Traffic(self.database).get(completion_id)
            if record is not None:
                found.append(record)
            return bool(found)

        wait(written)
        return found[0]


def wait(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait until `condition`, or fail."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.02)


def serve_release(
    database: Database, release: str, address: str, state: EngineState = EngineState.READY
) -> None:
    """Register a release with an engine at `address`, and an alias of the same name less `-1`."""
    releases = Releases(database)
    releases.register(Release(release, "stub", "r1", "", {}, time.time()))
    releases.point(release.removesuffix("-1"), [Target(release, 1.0, "live")])
    Engines(database).put(
        Engine(release, "test", release, address, state, None, 0, None, time.time())
    )


@contextlib.contextmanager
def echo_engine(path: Path, release: str) -> Iterator[str]:
    """Run the stub engine on a Unix socket."""
    command = [sys.executable, "-m", "gateway.engines.echo", "--uds", str(path)]
    process = subprocess.Popen([*command, "--served-model-name", release], cwd=ROOT)
    try:
        wait(path.exists)
        yield f"unix:{path}"
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running_gateway(home: Path, **settings: str) -> Iterator[RunningGateway]:
    """Run `driftgate gateway` with one stub engine behind `production`."""
    database = Database(settings.get("database_url", f"sqlite:///{home / 'driftgate.db'}"))
    database.migrate()
    _, key = Keys(database).create("test", SCOPES)
    try:
        with echo_engine(home / "echo.sock", "production-1") as address:
            serve_release(database, "production-1", address)
            with gateway_over(database, key, home, **settings) as gateway:
                yield gateway
    finally:
        database.close()


@contextlib.contextmanager
def gateway_over(
    database: Database, key: str, home: Path, **settings: str
) -> Iterator[RunningGateway]:
    """Run `driftgate gateway` over a store that others may share, with a key that is in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "DRIFTGATE_HOME": str(home),
        "DRIFTGATE_PORT": str(port),
        "DRIFTGATE_REFRESH_S": "0.05",
        "DRIFTGATE_DRAIN_DELAY_S": "0",
    }
    environment |= {f"DRIFTGATE_{name.upper()}": value for name, value in settings.items()}
    with (home / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "gateway"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    gateway = RunningGateway(f"http://127.0.0.1:{port}", key, home, database)
    try:
        wait(lambda: process.poll() is not None or _ready(gateway.url), 60)
        assert process.poll() is None, (home / "gateway.log").read_text()
        yield gateway
    finally:
        process.terminate()
        process.wait(40)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False
