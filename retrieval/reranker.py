"""Reranking: a cross-encoder reads query and passage together, and orders the best hits again.

Source: Nogueira and Cho 2019, arXiv:1901.04085; https://sbert.net/docs/cross_encoder
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from retrieval.records import Hit


class Reranker(Protocol):
    """Orders hits again."""

    def order(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        """Return the hits, best first, with scores between 0 and 1."""
        ...


class CrossEncoderReranker:
    """A cross-encoder of sentence-transformers, from a folder with safetensors weights.

    Args:
        path: The folder.
        threads: Threads for one batch.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the library is imported
        import torch
        from sentence_transformers import CrossEncoder

        torch.set_num_threads(threads)
        self._model: Any = CrossEncoder(
            str(path),
            device="cpu",
            local_files_only=True,
            activation_fn=torch.nn.Sigmoid(),
            model_kwargs={"use_safetensors": True},
        )

    def order(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        if not hits:
            return []
        pairs = [(query, hit.passage.text) for hit in hits]
        scores = np.asarray(self._model.predict(pairs, show_progress_bar=False), np.float64)
        return [
            msgspec.structs.replace(hits[place], score=float(scores[place]))
            for place in np.argsort(-scores, kind="stable").tolist()
        ]
