"""The written-out pass gives the library's vectors, or is not used."""

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
    known = model.encode(list(_TEXTS), normalize_embeddings=True, show_progress_bar=False)
    together, counts = encoder.embed(_TEXTS)
    assert np.abs(together - known).max() < 1e-5
    assert counts == [len(ids) for ids in model.tokenizer(list(_TEXTS), truncation=True).input_ids]
    for place, text in enumerate(_TEXTS):
        alone, count = encoder.embed([text])
        assert np.abs(alone[0] - known[place]).max() < 1e-5
        assert count == [counts[place]]


@pytest.mark.slow
def test_one_text_and_many_have_the_same_vectors(embedder: SentenceTransformerEmbedder) -> None:
    assert embedder._encoder is not None
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
