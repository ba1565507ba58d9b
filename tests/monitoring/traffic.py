"""Traffic for tests of the monitor: prompts of topics, and an embedder that tells topics apart."""

import zlib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from gateway.store.traffic import TrafficRecord
from monitoring.reference import Vectors

_DIMENSIONS = 16


def record(
    id: str, at: float, prompt: str | None, answer: str = "ok", **values: Any
) -> TrafficRecord:
    """Return a chat of one turn."""
    every: dict[str, Any] = {field.name: None for field in fields(TrafficRecord)}
    every |= {
        "completion_id": id, "created_at": at, "operation": "chat", "alias": "m", "release": "r",
        "duration_s": 1.0, "outcome": "done", "status": 200, "metadata": {},
        "messages": None if prompt is None else [{"role": "user", "content": prompt}],
        "answer": {"choices": [{"message": {"content": answer}}]},
    }  # fmt: skip
    return TrafficRecord(**every | values)


class TopicEmbedder:
    """Stands in for MiniLM: the first word is the topic, the rest is noise around it.

    Which vectors come of which words is fixed, so what it shows is the monitor's own work; real
    embeddings are in the bench and in the end-to-end test.
    """

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, 1), np.float32)
        found = np.stack([self._vector(text) for text in texts]).astype(np.float32)
        unit: Vectors = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit

    def _vector(self, text: str) -> Any:
        topic = np.random.default_rng(zlib.crc32(text.split()[0].encode())).normal(size=_DIMENSIONS)
        noise = np.random.default_rng(zlib.crc32(text.encode())).normal(size=_DIMENSIONS)
        return topic + 0.5 * noise
