"""A real Prometheus over a real gateway with retrieval, its engine, and the monitor's exporter."""

import contextlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import yaml

from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.engines import EngineState
from gateway.store.monitoring import Monitoring
from gateway.store.releases import Releases, Target
from gateway.store.rollouts import Rollout, Rollouts, rollout_id
from monitoring.exporter import Exporter
from tests.gateway.api.documents import HOURS
from tests.gateway.running import (
    MESSAGES,
    ROOT,
    RunningGateway,
    running_gateway,
    serve_release,
    wait,
)
from tests.installed import installed
from tests.monitoring.watched import job, limited_key, signals, state, watched
from tests.retrieval.serving import process as retrieval_service

TOKEN = "a token of this test"
_RULES = ROOT / "monitoring" / "prometheus" / "rules"


@dataclass
class Scene:
    """What runs: a Prometheus at `prometheus`, and what it scrapes."""

    prometheus: str
    gateway: RunningGateway
    database: Database
    exporter: Exporter
    client: httpx.Client

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query whose value is a number."""
        parameters = {"query": expression}
        answer = self.client.get(f"{self.prometheus}/api/v1/query", params=parameters).json()
        assert answer["status"] == "success", (expression, answer)
        return [each for each in answer["data"]["result"] if each["value"][1] != "NaN"]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], log: Path, ready: str) -> Iterator[None]:
    """Run a server from when it answers `ready` with 200."""

    def answers() -> bool:
        assert started.poll() is None, log.read_text()[-3000:]
        try:
            return httpx.get(ready).status_code == 200
        except httpx.TransportError:
            return False

    with log.open("wb") as output:
        started = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait(answers, 30)
        yield
    finally:
        started.terminate()
        started.wait(20)


def prometheus(home: Path, port: int, targets: dict[str, str], alertmanager: int) -> list[str]:
    """Return the command of a Prometheus with our rules, evaluated each second."""
    rules = home / "rules"
    rules.mkdir(exist_ok=True)
    for path in _RULES.glob("*.yml"):
        (rules / path.name).write_text(re.sub("interval: 30s", "interval: 1s", path.read_text()))
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [target], "labels": {"slot": "blue"}}]}
        for name, target in targets.items()
    ]
    (home / "prometheus.yml").write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": ["rules/*.yml"],
                "alerting": {
                    "alertmanagers": [
                        {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}
                    ]
                },
                "scrape_configs": jobs,
            }
        )
    )
    return [
        installed("prometheus", "prometheus"),
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]


@contextlib.contextmanager
def scene(home: Path, alertmanager: int) -> Iterator[Scene]:
    """Run all of it, with requests going on."""
    port, engine = free_port(), free_port()
    installed("prometheus", "prometheus")  # before anything is started
    stub = [sys.executable, "-m", "gateway.engines.echo", "--port", str(engine)]
    gateway_home = home / "gateway"
    gateway_home.mkdir()
    with contextlib.ExitStack() as stack:
        socket_path = Settings(home=gateway_home).retrieval_socket()
        stack.enter_context(retrieval_service(gateway_home, socket_path))
        gateway = stack.enter_context(
            running_gateway(gateway_home, embedder="hash", retrieval_deadline_ms="5000")
        )
        database = gateway.database
        stack.enter_context(
            running(
                [*stub, "--served-model-name", "tcp-1"],
                home / "engine.log",
                f"http://127.0.0.1:{engine}/health",
            )
        )
        serve_release(database, "tcp-1", f"http://127.0.0.1:{engine}")
        serve_release(database, "dead-1", f"http://127.0.0.1:{free_port()}")
        serve_release(database, "failed-1", "http://127.0.0.1:9", EngineState.FAILED)
        watched(database)
        targets = [Target("production-1", 1.0, "live"), Target("tcp-1", 0.5, "shadow")]
        Releases(database).point("production", targets)
        Rollouts(database).add(Rollout(rollout_id(), "production", "tcp-1", "production-1", {}))
        Monitoring(database).write(state("tcp", "tcp-1", signals=signals(drift=50_000.0)))
        limited_key(database, day=930, month=10)
        exporter = Exporter(database, port=0, token=TOKEN)
        exporter.start()
        stack.callback(exporter.close)
        exporter.cycle_ended(0.2)
        scraped = {
            "gateway": gateway.url.removeprefix("http://"),
            "monitor": exporter.url.removeprefix("http://"),
            "engines": f"127.0.0.1:{engine}",
        }
        command = prometheus(home, port, scraped, alertmanager)
        url = f"http://127.0.0.1:{port}"
        stack.enter_context(running(command, home / "prometheus.log", f"{url}/-/ready"))
        stack.enter_context(_requests(gateway))
        client = stack.enter_context(httpx.Client(timeout=20))
        made = Scene(url, gateway, database, exporter, client)
        wait(lambda: bool(made.ask('driftgate_training_jobs{status="failed"} == 0')), 20)
        job(database)
        yield made


@contextlib.contextmanager
def _requests(gateway: RunningGateway) -> Iterator[None]:
    """Ask again and again: plainly, in streams, with documents, in vain, and without a key."""
    api = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)
    store = api.vector_stores.create(name="hours")
    file = api.files.create(file=("hours.md", HOURS), purpose="assistants")
    api.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id, poll_interval_ms=50)
    api.close()
    grounded = {"mode": "always", "vector_store_ids": [store.id]}
    question = [{"role": "user", "content": "When does the Karlsruhe office open on Mondays?"}]
    bodies: list[dict[str, Any]] = [
        {"model": "production", "messages": MESSAGES},
        {"model": "production", "messages": MESSAGES, "stream": True},
        {"model": "tcp", "messages": MESSAGES, "stream": True},
        {"model": "production", "messages": question, "retrieval": grounded},
        {"model": "dead", "messages": MESSAGES},
        {"model": "failed", "messages": MESSAGES},
        {"model": "unknown", "messages": MESSAGES},
    ]
    over = threading.Event()

    def ask() -> None:
        with gateway.client() as client:
            while not over.is_set():
                for body in bodies:
                    client.post("/v1/chat/completions", json=body)
                client.post("/v1/chat/completions", json=bodies[0], headers={"authorization": ""})
                time.sleep(0.1)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join(30)
