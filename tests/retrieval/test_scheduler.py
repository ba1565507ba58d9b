"""Bulk work is cut into batches that a query need not wait for."""

import numpy as np

from retrieval.embedder import HashEmbedder, Vectors
from retrieval.scheduler import Scheduler


class Recording(HashEmbedder):
    """Notes the characters of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[int]] = []

    def embed(self, texts: list[str]) -> tuple[Vectors, list[int]]:
        self.batches.append([len(text) for text in texts])
        return super().embed(texts)


async def test_bulk_texts_come_back_in_order_in_batches_of_like_length() -> None:
    texts = [f"question {n} " * (1 + 7 * n % 40) for n in range(200)] + ["word " * 2000]
    recording = Recording()
    scheduler = Scheduler(recording)
    async with scheduler.running():
        vectors, tokens = await scheduler.embed_bulk(texts)
    expected, counted = HashEmbedder().embed(texts)
    assert np.array_equal(vectors, expected)
    assert tokens == counted
    lengths = [length for batch in recording.batches for length in batch]
    assert lengths == sorted(map(len, texts))
    assert all(len(batch) == 1 or sum(batch) <= 3000 for batch in recording.batches)
    assert len(recording.batches[0]) > 30  # many short ones
    assert recording.batches[-1] == [10_000]  # a long one alone
