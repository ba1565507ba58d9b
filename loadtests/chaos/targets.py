"""The gateways under test, each started by itself in front of given engines.

LiteLLM is set up as its documentation on load balancing and reliability does: two deployments of
one model group, retries by the router, the same time limits as Driftgate gets.
"""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil

from gateway.store.database import Database
from gateway.store.engines import Engine, Engines, EngineState
from gateway.store.keys import SCOPES, Keys
from gateway.store.releases import Release, Releases, Target
from loadtests.bench import install, peers
from loadtests.bench.driftgate import Driftgate as BenchDriftgate
from loadtests.bench.process import clean_environment, free_port, running
from loadtests.chaos.engine import MODEL

_WARM_UP = 20
_ALIAS = "production"  # what readiness is about


@dataclass(frozen=True)
class Limits:
    """Time limits in seconds, short so that a scenario is; `more` are Driftgate's own settings."""

    first_token_s: float = 2.0
    idle_s: float = 2.0
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A gateway that serves.

    Args:
        name: Which one.
        url: Its address.
        headers: What each request must carry.
        model: The name by which it knows the engines' model.
        pid: Its first process.
        home: Its folder.
        log: Its output.
        database: Driftgate's store; None for others.
    """

    name: str
    url: str
    headers: Mapping[str, str]
    model: str
    pid: int
    home: Path
    log: Path
    database: Database | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def store(self) -> Database:
        """Return Driftgate's store."""
        assert self.database is not None, "only Driftgate has a store"
        return self.database

    def workers(self) -> list[psutil.Process]:
        """Return the processes that answer requests."""
        first = psutil.Process(self.pid)
        below = first.children(recursive=True)
        if self.database is None:
            return [first, *below]
        return [process for process in below if _is_worker(process)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "gateway.worker" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


class System(Protocol):
    """What scenarios are run against."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def note(self) -> str:
        """How it is set up, in a few words."""

    def start(
        self, engines: Sequence[str], limits: Limits = ...
    ) -> contextlib.AbstractAsyncContextManager[Running]:
        """Run it in front of engines at these URLs; raises StartFailed."""


@contextlib.contextmanager
def _home() -> Any:
    home = Path(tempfile.mkdtemp(prefix="dg-chaos-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@dataclass(frozen=True)
class Driftgate:
    """The gateway of this working tree, one worker, keys checked, traffic recorded."""

    name: str = "driftgate"
    note: str = "1 worker, API key, traffic records with texts, engines over TCP"

    @property
    def version(self) -> str:
        return BenchDriftgate("driftgate").version

    @contextlib.asynccontextmanager
    async def start(
        self,
        engines: Sequence[str],
        limits: Limits = Limits(),
    ) -> AsyncIterator[Running]:
        """Run it in a folder of its own."""
        with _home() as home:
            settings = {
                "home": str(home),
                "port": str(free_port()),
                "embedder": "",
                "refresh_s": "0.1",
                "health_period_s": "0.5",
                "drain_delay_s": "0",
                "first_token_timeout_s": f"{limits.first_token_s}",
                "idle_timeout_s": f"{limits.idle_s}",
                **limits.more,
            }
            url = f"http://127.0.0.1:{settings['port']}"
            store = settings.get("database_url", f"sqlite:///{home / 'driftgate.db'}")
            database = Database(store)
            try:
                key = _fill(database, engines)
                outside = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTGATE_")}
                chosen = {f"DRIFTGATE_{name.upper()}": value for name, value in settings.items()}
                process = running(
                    [sys.executable, "-m", "gateway.cli", "gateway"],
                    lambda: is_up(f"{url}/health/ready"),
                    home / "gateway.log",
                    environment=outside | chosen,
                )
                async with in_thread(process) as pid:
                    headers = {"authorization": f"Bearer {key}"}
                    log = home / "gateway.log"
                    yield Running(self.name, url, headers, _ALIAS, pid, home, log, database)
            finally:
                database.close()


@dataclass(frozen=True)
class LiteLLM:
    """The LiteLLM proxy (https://docs.litellm.ai/docs/proxy/reliability)."""

    name: str = "litellm"
    version: str = peers.LiteLLM().version
    note: str = (
        "1 worker, master key, no database; one model group with a deployment per engine, "
        "num_retries 2, allowed_fails 3, the same time limits"
    )
    _key: str = field(default="sk-chaos", repr=False)

    @contextlib.asynccontextmanager
    async def start(
        self,
        engines: Sequence[str],
        limits: Limits = Limits(),
    ) -> AsyncIterator[Running]:
        """Install it if need be, and run it."""
        peers.LiteLLM().install()
        with _home() as home:
            port = free_port()
            url, headers = f"http://127.0.0.1:{port}", {"authorization": f"Bearer {self._key}"}
            config, log = home / "litellm.yaml", home / "litellm.log"
            config.write_text(json.dumps(self._config(engines, limits)))  # JSON is YAML
            command: list[str | Path] = [
                install.FOLDER / "venv-litellm" / "bin" / "litellm",
                *("--config", config, "--host", "127.0.0.1", "--port", str(port)),
                *("--num_workers", "1", "--telemetry", "False"),
            ]
            environment = clean_environment(
                home, LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="WARNING"
            )
            process = running(
                command, lambda: is_up(f"{url}/health/liveliness"), log,
                environment=environment, timeout_s=120.0,
            )  # fmt: skip
            async with in_thread(process) as pid:
                await asyncio.to_thread(self._warm_up, url, headers)
                yield Running(self.name, url, headers, MODEL, pid, home, log)

    def _warm_up(self, url: str, headers: Mapping[str, str]) -> None:
        """Send what loads the rest of it: its first answers take seconds."""
        with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            for at in range(_WARM_UP):
                messages = [{"role": "user", "content": "one two"}]
                body = {"model": MODEL, "messages": messages, "stream": at % 2 == 0}
                client.post(peers.PATH, json=body)

    def _config(self, engines: Sequence[str], limits: Limits) -> dict[str, Any]:
        deployments = [
            {
                "model_name": MODEL,
                "litellm_params": {
                    "model": f"openai/{MODEL}",
                    "api_base": f"{engine}/v1",
                    "api_key": "none",
                    "timeout": limits.first_token_s,
                    "stream_timeout": limits.first_token_s,
                },
            }
            for engine in engines
        ]
        return {
            "model_list": deployments,
            "router_settings": {
                "routing_strategy": "simple-shuffle",
                "num_retries": 2,
                "allowed_fails": 3,
            },
            "general_settings": {"master_key": self._key},
        }


@contextlib.asynccontextmanager
async def in_thread(process: contextlib.AbstractContextManager[int]) -> AsyncIterator[int]:
    """Enter and leave what blocks, while engines in this process go on answering."""
    pid = await asyncio.to_thread(process.__enter__)
    try:
        yield pid
    finally:
        await asyncio.to_thread(process.__exit__, None, None, None)


def is_up(url: str) -> bool:
    """Return whether a URL answers well now."""
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def _fill(database: Database, engines: Sequence[str]) -> str:
    """Write a key, a release, its alias and the engines; returns the key."""
    database.migrate()
    _, key = Keys(database).create("chaos", SCOPES)
    releases = Releases(database)
    releases.register(Release(MODEL, "chaos-model", "scripted", "", {}, time.time()))
    releases.point(_ALIAS, [Target(MODEL, 1.0, "live")])
    for at, address in enumerate(engines):
        Engines(database).put(
            Engine(f"slot{at}", "chaos", MODEL, address, EngineState.READY, None, 0, None,
                   time.time())
        )  # fmt: skip
    return key
