"""Vectors of prompts, from the retrieval service of this host."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from monitoring.reference import Vectors
from retrieval.client import RetrievalClient

# So many that they are bulk work, which yields to every search.
_BATCH = 50
_MOST_CHARACTERS = 2000
_DEADLINE_S = 60.0


class Embedder(Protocol):
    """What makes vectors of texts."""

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        """Return a unit vector per text, shape (n, d)."""
        ...


class ServiceEmbedder:
    """The embedder of the retrieval service; call `close` in the end.

    Args:
        socket: Where the service listens.
        pause_s: Rest between batches, so that the host's answers come first.
    """

    def __init__(self, socket: Path, pause_s: float = 0.0) -> None:
        self._client = RetrievalClient(socket)
        self._pause_s = pause_s

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        """Return a unit vector per text.

        Raises:
            RetrievalUnavailable, RetrievalFailed: The service is away, or cannot.
        """
        found: list[Vectors] = []
        for start in range(0, len(texts), _BATCH):
            part = [text[:_MOST_CHARACTERS] for text in texts[start : start + _BATCH]]
            raw, _ = await self._client.embed(part, deadline_s=_DEADLINE_S)
            found.append(np.stack([np.frombuffer(vector, "<f4") for vector in raw]))
            await asyncio.sleep(self._pause_s)
        return np.concatenate(found).astype(np.float32) if found else np.zeros((0, 1), np.float32)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()
