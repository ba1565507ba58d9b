"""The cross-encoder orders hits by its own scores, from a local folder."""

from pathlib import Path

import pytest

from retrieval.records import Document, Hit, Passage
from retrieval.reranker import CrossEncoderReranker

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained cross-encoder."""
    transformers = pytest.importorskip("transformers")
    path = tmp_path_factory.mktemp("reranker")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fee", "cats", "the", "is", "low"]
    (path / "vocab.txt").write_text("\n".join(words))
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=1,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(path)
    transformers.BertTokenizerFast(vocab=str(path / "vocab.txt")).save_pretrained(path)
    return path


def test_hits_are_ordered_by_the_cross_encoder(folder: Path) -> None:
    hits = [
        Hit(
            collection="c",
            document=Document(id=text),
            passage=Passage(number=0, text=text),
            score=0.5,
        )
        for text in ("cats", "the fee is low", "low low low")
    ]
    reranker = CrossEncoderReranker(folder)
    ordered = reranker.order("fee", hits)
    scores = [hit.score for hit in ordered]
    assert {hit.document.id for hit in ordered} == {hit.document.id for hit in hits}
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    assert reranker.order("fee", list(reversed(hits))) == ordered
    assert reranker.order("fee", []) == []
