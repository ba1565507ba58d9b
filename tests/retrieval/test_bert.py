"""The written-out pass for one text gives the library's vectors, or is not used."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from retrieval.bert import BertEncoder, NotBert
from retrieval.embedder import SentenceTransformerEmbedder

_TEXTS = (
    "How do I locate my card?", "", "é", "What is 12 % of 50 EUR?", "word " * 400,
    "Grüße aus Köln — 日本 \U0001f600",
)  # fmt: skip


@pytest.fixture(scope="module")
def embedder(minilm: Path) -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder(minilm)


@pytest.mark.slow
def test_the_vectors_are_the_librarys(embedder: SentenceTransformerEmbedder) -> None:
    model: Any = embedder._model
    encoder = BertEncoder(model)
    for text in _TEXTS:
        vector, tokens = encoder.embed(text)
        known = model.encode([text], normalize_embeddings=True, show_progress_bar=False)[0]
        assert np.abs(vector - known).max() < 1e-5
        assert 2 <= tokens <= embedder.max_tokens


@pytest.mark.slow
def test_one_text_and_many_have_the_same_vectors(embedder: SentenceTransformerEmbedder) -> None:
    assert embedder._single is not None
    texts = ["When does it open?", "Where is it?", "Who made it, and what for?"]
    together, counts = embedder.embed(texts)
    for place, text in enumerate(texts):
        alone, count = embedder.embed([text])
        assert np.abs(alone[0] - together[place]).max() < 1e-5
        assert count == [counts[place]]


@pytest.mark.slow
def test_another_pooling_is_noticed(embedder: SentenceTransformerEmbedder) -> None:
    model: Any = embedder._model

    class ByFirstToken:
        def __getitem__(self, place: int) -> Any:
            return model[place]

        def __getattr__(self, name: str) -> Any:
            return getattr(model, name)

        def encode(self, texts: list[str], **_: Any) -> Any:
            tokens = model.encode(texts, output_value="token_embeddings", show_progress_bar=False)
            return [(t[0] / t[0].norm()).numpy() for t in tokens]

    with pytest.raises(NotBert, match="others"):
        BertEncoder(ByFirstToken())


def test_another_architecture_is_refused() -> None:
    model = [SimpleNamespace(auto_model=SimpleNamespace(config=SimpleNamespace()))]
    with pytest.raises(NotBert, match="no BERT"):
        BertEncoder(model)
