"""The systems under test other than Driftgate, and what a system under test is.

Each peer runs as its own documentation starts it, with logging turned down to warnings, and reaches
the mock over TCP. Versions are exact.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx

from loadtests.bench import install
from loadtests.bench.mock import MODEL
from loadtests.bench.process import clean_environment, free_port, running

PATH = "/v1/chat/completions"
_MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant. Answer in one short sentence."},
    {"role": "user", "content": "What is the capital of France, and since when has it been so?"},
]


@dataclass(frozen=True)
class Mock:
    """Where the mock engine listens: a TCP port of loopback and a Unix socket."""

    port: int
    socket: Path
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Running:
    """A system that serves.

    Args:
        url: Its address, without a path.
        headers: What each request must carry.
        model: The name by which it knows the mock's model.
        pid: Its first process; the others descend from it.
        store: Driftgate's SQLite file; None for the others.
    """

    url: str
    headers: Mapping[str, str]
    model: str
    pid: int
    store: Path | None = None


class System(Protocol):
    """Something that answers chat completions, to be measured."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def note(self) -> str:
        """How it is set up, in a few words."""

    def install(self) -> None:
        """Install what is missing; raises StartFailed."""

    def start(self, mock: Mock, home: Path) -> contextlib.AbstractContextManager[Running]:
        """Run it in front of the mock, its files in `home`; raises StartFailed."""


def body(model: str, stream: bool = False, paced: str = "") -> bytes:
    """Return the request that every system gets, in its own model's name.

    Args:
        model: The model's name.
        stream: Whether the answer is to be streamed.
        paced: What is asked instead of the question, see `mock`.
    """
    messages = [_MESSAGES[0], {"role": "user", "content": paced}] if paced else _MESSAGES
    request = {"model": model, "messages": messages, "max_tokens": 64, "temperature": 0.7}
    if stream:
        request["stream"] = True
    return json.dumps(request, separators=(",", ":")).encode()


def answers(url: str, headers: Mapping[str, str], model: str) -> bool:
    """Return whether a chat completion gets an answer now."""
    sent = {"content-type": "application/json", **headers}
    try:
        return httpx.post(url + PATH, content=body(model), headers=sent, timeout=5).is_success
    except httpx.TransportError:
        return False


@dataclass(frozen=True)
class Direct:
    """No gateway: what the client, the mock and the machine take by themselves."""

    name: str = "direct"
    version: str = ""
    note: str = "straight to the mock"

    def install(self) -> None:
        """Nothing."""

    @contextlib.contextmanager
    def start(self, mock: Mock, home: Path) -> Iterator[Running]:
        """Give the mock itself."""
        yield Running(mock.url, {}, MODEL, mock.pid)


@dataclass(frozen=True)
class VllmRouter:
    """vLLM's router, in Rust (https://github.com/vllm-project/router)."""

    name: str = "vllm-router"
    version: str = "0.1.17"
    note: str = "round robin, no key"

    def install(self) -> None:
        """Install it from PyPI."""
        install.python_environment(self.name, f"vllm-router=={self.version}")

    @contextlib.contextmanager
    def start(self, mock: Mock, home: Path) -> Iterator[Running]:
        """Run it with one worker URL."""
        program = install.FOLDER / f"venv-{self.name}" / "bin" / "vllm-router"
        with _router([program], "warning", mock, home) as found:
            yield found


@dataclass(frozen=True)
class SglangRouter:
    """SGLang's router, in Rust (https://docs.sglang.ai/router/router.html)."""

    name: str = "sglang-router"
    version: str = "0.3.2"
    note: str = "round robin, no key"

    def install(self) -> None:
        """Install it from PyPI."""
        install.python_environment(self.name, f"sglang-router=={self.version}")

    @contextlib.contextmanager
    def start(self, mock: Mock, home: Path) -> Iterator[Running]:
        """Run it with one worker URL."""
        program = install.FOLDER / f"venv-{self.name}" / "bin" / "sglang-router"
        with _router([program, "launch"], "warn", mock, home) as found:
            yield found


@contextlib.contextmanager
def _router(program: list[str | Path], level: str, mock: Mock, home: Path) -> Iterator[Running]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *program,
        *("--worker-urls", mock.url, "--host", "127.0.0.1", "--port", str(port)),
        *("--policy", "round_robin", "--log-level", level),
        *("--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port())),
    ]
    with running(
        command,
        lambda: answers(url, {}, MODEL),
        home / "router.log",
        environment=clean_environment(home),
    ) as pid:
        yield Running(url, {}, MODEL, pid)


@dataclass(frozen=True)
class LiteLLM:
    """The LiteLLM proxy, in Python (https://docs.litellm.ai/docs/simple_proxy)."""

    name: str = "litellm"
    version: str = "1.106.2"
    note: str = "1 worker, master key, no database"
    _key: str = field(default="sk-bench", repr=False)

    def install(self) -> None:
        """Install it from PyPI."""
        install.python_environment(self.name, f"litellm[proxy]=={self.version}")

    @contextlib.contextmanager
    def start(self, mock: Mock, home: Path) -> Iterator[Running]:
        """Run it with the mock as an OpenAI-compatible endpoint."""
        port = free_port()
        url, headers = f"http://127.0.0.1:{port}", {"authorization": f"Bearer {self._key}"}
        parameters = {"model": f"openai/{MODEL}", "api_base": f"{mock.url}/v1", "api_key": "none"}
        config = home / "litellm.yaml"
        # JSON is YAML.
        config.write_text(
            json.dumps(
                {
                    "model_list": [{"model_name": MODEL, "litellm_params": parameters}],
                    "general_settings": {"master_key": self._key},
                }
            )
        )
        command: list[str | Path] = [
            install.FOLDER / f"venv-{self.name}" / "bin" / "litellm",
            *("--config", config, "--host", "127.0.0.1", "--port", str(port)),
            *("--num_workers", "1", "--telemetry", "False"),
        ]
        # Its table of prices is otherwise fetched from the network at start.
        environment = clean_environment(
            home, LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="WARNING"
        )
        with running(
            command,
            lambda: answers(url, headers, MODEL),
            home / "litellm.log",
            environment=environment,
            timeout_s=120.0,
        ) as pid:
            yield Running(url, headers, MODEL, pid)


@dataclass(frozen=True)
class Portkey:
    """The Portkey AI gateway, in Node (https://github.com/Portkey-AI/gateway)."""

    name: str = "portkey"
    version: str = "1.15.2"
    note: str = "Node, provider and host by headers, no key; @hono/node-server 1.13.8"

    def install(self) -> None:
        """Install it from npm."""
        # With the newest 1.19 that its range allows, each stream ends in 500 "immutable" (Node 20).
        install.node_packages(
            self.name, f"@portkey-ai/gateway@{self.version}", "@hono/node-server@1.13.8"
        )

    @contextlib.contextmanager
    def start(self, mock: Mock, home: Path) -> Iterator[Running]:
        """Run it; which provider and which host is in each request's headers."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        headers = {
            "authorization": "Bearer none",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"{mock.url}/v1",
        }
        package = install.FOLDER / self.name / "node_modules" / "@portkey-ai" / "gateway"
        with running(
            ["node", package / "build" / "start-server.js", f"--port={port}", "--headless"],
            lambda: answers(url, headers, MODEL),
            home / "portkey.log",
            environment=clean_environment(home, NODE_ENV="production"),
        ) as pid:
            yield Running(url, headers, MODEL, pid)
