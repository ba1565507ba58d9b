"""Embedders: text to vectors of length 1."""

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from retrieval.bert import BertEncoder, NotBert

Vectors = npt.NDArray[np.float32]
_BATCH = 64
# More characters than this at once go through the library, which cuts them into batches.
_AT_ONCE = 8000


class Embedder(Protocol):
    """Turns texts into vectors.

    Attributes:
        id: Names the weights; an index made by another id cannot be searched.
        dimensions: Length of a vector.
        max_tokens: Tokens that it reads of a text; the rest does not count.
    """

    id: str
    dimensions: int
    max_tokens: int

    def embed(self, texts: list[str]) -> tuple[Vectors, list[int]]:
        """Return an array of shape (texts, dimensions) of unit rows, and each text's tokens."""
        ...


class SentenceTransformerEmbedder:
    """A model of sentence-transformers, from a folder with safetensors weights.

    Args:
        path: The folder.
        threads: Threads for one batch; the relay shares these cores.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the library is imported
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        torch.set_num_threads(threads)
        disable_progress_bar()  # it is loaded within a second
        self._model: Any = SentenceTransformer(
            str(path), device="cpu", model_kwargs={"use_safetensors": True}
        )
        self.id = path.name
        self.dimensions = int(self._model.get_embedding_dimension())
        self.max_tokens = int(self._model.max_seq_length or self._model.tokenizer.model_max_length)
        self._encoder: BertEncoder | None = None
        with contextlib.suppress(NotBert):  # another architecture is embedded by the library alone
            self._encoder = BertEncoder(self._model)

    def embed(self, texts: list[str]) -> tuple[Vectors, list[int]]:
        if self._encoder is not None and sum(map(len, texts)) <= _AT_ONCE:
            return self._encoder.embed(texts)
        vectors = self._model.encode(
            texts, batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
        )
        encoded = self._model.tokenizer(texts, truncation=True)["input_ids"]
        return np.asarray(vectors, dtype="<f4"), [len(ids) for ids in encoded]


class HashEmbedder:
    """The documented stub: a bag of hashed words. For tests and machines without a model."""

    def __init__(self, dimensions: int = 64) -> None:
        self.id = f"hash-{dimensions}"
        self.dimensions = dimensions
        self.max_tokens = 8192

    def embed(self, texts: list[str]) -> tuple[Vectors, list[int]]:
        vectors = np.zeros((len(texts), self.dimensions), dtype="<f4")
        tokens = []
        for row, text in enumerate(texts):
            words = re.findall(r"\w+", text.lower())[: self.max_tokens]
            tokens.append(len(words))
            for word in words:
                number = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
                vectors[row, number % self.dimensions] += 1 if number >> 63 else -1
            norm = float(np.linalg.norm(vectors[row]))
            if norm == 0:
                vectors[row, 0], norm = 1, 1
            vectors[row] /= norm
        return vectors, tokens
