"""The LiteLLM proxy, set up as its documentation on load balancing and reliability does.

Two deployments of one model group, retries by the router, the same time limits as Driftgate gets.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from loadtests.bench import install, peers
from loadtests.bench.process import clean_environment, free_port, running
from loadtests.chaos.engine import MODEL
from loadtests.chaos.targets import USUAL, Limits, Running, in_thread, is_up, new_home

_WARM_UP = 20


@dataclass(frozen=True)
class LiteLLM:
    """The LiteLLM proxy (https://docs.litellm.ai/docs/proxy/reliability)."""

    name: str = "litellm"
    version: str = peers.LiteLLM().version
    has_store: bool = False
    note: str = (
        "1 worker, master key, no database; one model group with a deployment per engine, "
        "num_retries 2, allowed_fails 3, the same time limits"
    )
    _key: str = field(default="sk-chaos", repr=False)

    @contextlib.asynccontextmanager
    async def start(
        self,
        engines: Sequence[str],
        limits: Limits = USUAL,
    ) -> AsyncIterator[Running]:
        """Install it if need be, and run it."""
        peers.LiteLLM().install()
        with new_home() as home:
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
