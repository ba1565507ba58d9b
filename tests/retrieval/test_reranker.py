"""The cross-encoder orders hits by its own scores, from a local folder."""

from pathlib import Path

import pytest

from retrieval.records import Document, Hit, Passage
from retrieval.reranker import CrossEncoderReranker
from tests.retrieval.serving import entry, search, service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained cross-encoder, the same in each run."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(7)
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
        initializer_range=0.5,  # scores that differ by more than rounding does
    )
    transformers.BertForSequenceClassification(config).save_pretrained(path)
    transformers.BertTokenizerFast(vocab=str(path / "vocab.txt")).save_pretrained(path)
    return path


async def test_the_service_orders_the_best_hits_with_it(folder: Path, tmp_path: Path) -> None:
    reranker = CrossEncoderReranker(folder)
    async with service(tmp_path, reranker=reranker) as client:
        texts = ["cats", "the fee is low", "low low low", "the fee", "cats is the fee"]
        await client.add_entries("facts", [entry(text, text) for text in texts])
        plain = await search(client, "fee", rerank=False)
        found = await search(client, "fee", limit=3)
        expected = reranker.order("fee", plain.hits)[:3]
        assert [hit.document.id for hit in found.hits] == [hit.document.id for hit in expected]
        assert [hit.score for hit in found.hits] == pytest.approx([hit.score for hit in expected])
        assert (await client.info())["counters"]["reranked_searches"] == 1


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
    # A text's place in the batch may change the last digit of its score, not its rank.
    again = reranker.order("fee", list(reversed(hits)))
    assert [hit.document.id for hit in again] == [hit.document.id for hit in ordered]
    assert [hit.score for hit in again] == pytest.approx(scores)
    assert reranker.order("fee", []) == []
