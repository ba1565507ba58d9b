"""The processes of docker-compose.yml, started by hand with its commands and its variables.

What is other than in containers: paths, ports and addresses; the stub in place of vLLM and of the
embedder; one gateway worker a replica, to be gentle.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai
import psycopg
import pytest

from tests.composed import NGINX, ROOT, SERVICES
from tests.gateway.running import wait
from tests.installed import installed

pytestmark = [pytest.mark.services, pytest.mark.slow]


@dataclass
class Composed:
    """The services as processes."""

    home: Path
    database_url: str
    url: str
    ports: Mapping[str, int]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, service: str, **other: str) -> dict[str, str]:
        """Return a service's variables, with the places of this test."""
        composed = {
            name: self._here(value) for name, value in SERVICES[service]["environment"].items()
        }
        composed |= {
            "DRIFTGATE_ENGINE": "echo",
            "DRIFTGATE_ENGINE_PORT": str(self.ports["engine"]),
            "DRIFTGATE_WORKERS": "1",
            "DRIFTGATE_MONITOR_PORT": str(self.ports["monitor"]),
            **other,
        }
        return {**os.environ, **composed}

    def command(self, service: str) -> list[str]:
        """Return a service's command."""
        words = [self._here(word) for word in SERVICES[service]["command"]]
        assert words[0] == "driftgate"
        return [sys.executable, "-m", "gateway.cli", *words[1:]]

    def start(self, name: str, service: str, **other: str) -> None:
        """Start a service under a name."""
        self.run(name, self.command(service), self.environment(service, **other))

    def run(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        """Start a process; its output goes to a file of its name."""
        with (self.home / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log
            )

    def stop(self) -> None:
        """Stop all that was started."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def until(self, name: str, url: str) -> None:
        """Wait until a process answers with 200."""

        def answers() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(url, timeout=2).status_code == 200
            return False

        process = self.running[name]
        wait(lambda: process.poll() is not None or answers(), 90)
        assert process.poll() is None, (self.home / f"{name}.log").read_text()

    def _here(self, text: str) -> str:
        if text.startswith("postgresql"):
            return self.database_url
        if text == "/data/models/all-minilm-l6-v2":
            return "hash"
        if text == "engine":
            return "127.0.0.1"
        text = text.replace("http://gateway:8080", self.url)
        return re.sub(r"^/(data|run/secrets)\b", str(self.home), text)


@pytest.fixture(scope="module")
def composed(
    postgres_socket: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Composed, str]]:
    program = installed("nginx", "nginx-light")
    with psycopg.connect(
        host=str(postgres_socket), user="driftgate", dbname="postgres", autocommit=True
    ) as connection:
        connection.execute("CREATE DATABASE composed")
    home = tmp_path_factory.mktemp("composed")
    for secret in ("monitor_token", "console_secret"):
        (home / secret).write_text("5" * 64)
    (home / "run").mkdir()
    ports = {name: _free_port() for name in ("proxy", "a", "b", "engine", "monitor")}
    all_of_it = Composed(
        home,
        f"postgresql+psycopg://driftgate@/composed?host={postgres_socket}",
        f"http://127.0.0.1:{ports['proxy']}",
        ports,
    )
    (home / "nginx.conf").write_text(_nginx(home, ports))
    try:
        for service, words in (
            ("migrate", []),
            ("gateway", ["keys", "create", "--name", "first", "--json"]),
        ):
            command = all_of_it.command(service)
            done = subprocess.run(
                [*command[:3], *words] if words else command,
                cwd=ROOT, env=all_of_it.environment(service), capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        key: str = json.loads(done.stdout)["key"]
        all_of_it.start("engine", "engine-cpu")
        all_of_it.start("retrieval", "retrieval", DRIFTGATE_HOME=str(home))
        for replica in ("a", "b"):
            all_of_it.start(replica, "gateway", DRIFTGATE_PORT=str(ports[replica]))
        for replica in ("a", "b"):
            all_of_it.until(replica, f"http://127.0.0.1:{ports[replica]}/health/ready")
        all_of_it.run(
            "proxy", [program, "-c", str(home / "nginx.conf"), "-g", "daemon off;"], os.environ
        )
        all_of_it.until("proxy", f"{all_of_it.url}/health/ready")
        all_of_it.start("monitor", "monitor")
        all_of_it.start("worker", "worker-cpu")
        yield all_of_it, key
    finally:
        all_of_it.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _nginx(home: Path, ports: Mapping[str, int]) -> str:
    """Return the shipped configuration with this test's addresses and folders."""
    servers = "\n".join(f"server 127.0.0.1:{ports[name]};" for name in ("a", "b"))
    text = NGINX.replace("server gateway:8080 resolve;", servers)
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{ports['proxy']};")
    text = text.replace("/tmp/", f"{home}/").replace("worker_processes auto", "worker_processes 1")
    return f"user root;\n{text}" if os.geteuid() == 0 else text


def test_a_client_is_answered_whole_and_streamed_through_nginx(
    composed: tuple[Composed, str],
) -> None:
    services, key = composed
    with openai.OpenAI(base_url=f"{services.url}/v1", api_key=key, max_retries=0) as client:
        chat = client.chat.completions
        whole = chat.create(model="production", messages=[{"role": "user", "content": "a b c"}])
        assert whole.choices[0].message.content == "a b c"
        stream = chat.create(
            model="production",
            messages=[{"role": "user", "content": "one two three four"}],
            stream=True,
            metadata={"echo_delay_s": "0.1"},
        )
        frames = [c.choices[0].delta.content for c in stream if c.choices]
        assert "".join(each or "" for each in frames) == "one two three four"
        assert len(client.embeddings.create(model="all-minilm-l6-v2", input="a").data) == 1


def test_the_tokens_of_a_stream_are_not_held_back(composed: tuple[Composed, str]) -> None:
    services, key = composed
    body = {
        "model": "production", "stream": True, "metadata": {"echo_delay_s": "0.3"},
        "messages": [{"role": "user", "content": "one two three"}],
    }  # fmt: skip
    headers = {"authorization": f"Bearer {key}"}
    came: list[float] = []
    with httpx.stream(
        "POST", f"{services.url}/v1/chat/completions", json=body, headers=headers, timeout=20
    ) as answer:
        for line in answer.iter_lines():
            if '"content":"' in line.replace(" ", "") and '"content":""' not in line:
                came.append(time.monotonic())
    assert came[-1] - came[0] > 0.5


def test_metrics_are_each_replicas_own(composed: tuple[Composed, str]) -> None:
    services, _ = composed
    assert httpx.get(f"{services.url}/metrics").status_code == 404
    for replica in ("a", "b"):
        shown = httpx.get(f"http://127.0.0.1:{services.ports[replica]}/metrics")
        assert "driftgate_requests_in_flight" in shown.text


def test_worker_and_monitor_are_well_by_their_own_checks(composed: tuple[Composed, str]) -> None:
    services, _ = composed
    services.until("monitor", f"http://127.0.0.1:{services.ports['monitor']}/metrics")
    check = SERVICES["worker-cpu"]["healthcheck"]["test"]
    assert check[:3] == ["CMD", "python", "-c"]

    def well() -> bool:
        done = subprocess.run(
            [sys.executable, "-c", check[3]], cwd=ROOT, env=services.environment("worker-cpu")
        )
        return done.returncode == 0

    wait(well, 60)


def test_a_replica_that_is_gone_is_not_missed(composed: tuple[Composed, str]) -> None:
    services, key = composed
    gone = services.running["b"]
    gone.kill()
    gone.wait()
    with openai.OpenAI(base_url=f"{services.url}/v1", api_key=key, max_retries=0) as client:
        for number in range(6):
            answer = client.chat.completions.create(
                model="production", messages=[{"role": "user", "content": f"still {number}"}]
            )
            assert answer.choices[0].message.content == f"still {number}"
