"""A gateway over the scripted engine and the scripted retrieval service, for tests over HTTP."""

import time
from dataclasses import dataclass
from typing import Any

import httpx

from gateway.store.vector_stores import VectorStore, VectorStores
from tests.gateway.grounding.scripted import ScriptedEngine, ScriptedService
from tests.gateway.running import RunningGateway

CHAT = "/v1/chat/completions"
FACT = "The Karlsruhe office opens at 9:30 on Mondays."
ASKED = "When does the Karlsruhe office open on Mondays?"
NOTHING = "I could not find the answer in the documents."
ALWAYS = {"mode": "always", "vector_store_ids": ["vs_mine"]}
AUTO = {"mode": "auto", "vector_store_ids": ["vs_mine"]}


@dataclass
class World:
    gateway: RunningGateway
    engine: ScriptedEngine
    service: ScriptedService
    other_key: str

    def ask(self, question: str = ASKED, path: str = CHAT, **fields: Any) -> httpx.Response:
        body: dict[str, Any] = {"model": "docs", **fields}
        body.setdefault("messages", [{"role": "user", "content": question}])
        with self.gateway.client() as client:
            return client.post(path, json=body)

    def notes(self, answer: httpx.Response | str) -> dict[str, Any]:
        id = answer if isinstance(answer, str) else answer.json()["id"]
        found = self.gateway.record(id).retrieval
        assert found is not None
        return found


def own(gateway: RunningGateway, store: str, key: str | None) -> None:
    """Make a vector store that belongs to a key, as far as the relay looks at it."""
    prefix = None if key is None else key[3:11]
    VectorStores(gateway.database).add(VectorStore(store, prefix, time.time()))
