"""What clients see of the index, and of what goes wrong with it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import GatewayError, InvalidRequest, Unavailable
from gateway.indexed import Indexed, InUse
from gateway.retrieval_metrics import RetrievalMetrics
from retrieval.client import RetrievalFailed, RetrievalUnavailable
from retrieval.ingest import IngestOptions
from retrieval.records import Document, Found, Hit, Passage, Search
from retrieval.requests import Text

HOW = IngestOptions(filename="a.md", document_id="a")


class Background:
    def __init__(self) -> None:
        self.woken = 0
        self.stores: set[str] = set()

    def wake(self) -> None:
        self.woken += 1

    def used(self, stores: Iterable[str]) -> None:
        self.stores.update(stores)


class Client:
    """Finds what it is given by query, or fails."""

    def __init__(self, found: dict[str, list[Hit]], error: Exception | None = None) -> None:
        self.found, self.error = found, error

    async def search(self, search: Search, *, deadline_s: float) -> Found:
        if self.error:
            raise self.error
        return Found(hits=tuple(self.found[search.query]))

    async def remove(self, *_: Any, **__: Any) -> int:
        if self.error:
            raise self.error
        return 1

    async def read_file(self, *_: Any) -> tuple[Text, ...]:
        if self.error:
            raise self.error
        return (Text("a", "", "words"),)


def hit(id: str, score: float, number: int = 0) -> Hit:
    passage = Passage(number=number, text=id)
    return Hit(collection="vs_1", document=Document(id=id), passage=passage, score=score)


def indexed(client: Any) -> tuple[Indexed, Background]:
    background = Background()
    return Indexed(client, background, RetrievalMetrics()), background


def query(text: str) -> Search:
    return Search(query=text, collections=("vs_1",))


async def test_what_several_searches_find_is_one_list() -> None:
    client = Client({"a": [hit("x", 0.9), hit("y", 0.2)], "b": [hit("y", 0.5), hit("x", 0.1, 1)]})
    index, background = indexed(client)
    found = await index.search([query("a"), query("b")])
    assert [(h.document.id, h.passage.number, h.score) for h in found] == [
        ("x", 0, 0.9), ("y", 0, 0.5), ("x", 1, 0.1)
    ]  # fmt: skip
    assert background.stores == {"vs_1"}


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (RetrievalUnavailable("no answer"), Unavailable, "retrieval_unavailable"),
        (RetrievalFailed("other embedder", "mismatch"), GatewayError, "retrieval_failed"),
        (RetrievalFailed("a.md: is empty", "file"), InvalidRequest, "invalid_file"),
    ],
)
async def test_what_goes_wrong_is_told(error: Exception, kind: type, code: str) -> None:
    index, _ = indexed(Client({}, error))
    for call in (lambda: index.search([query("a")]), lambda: index.texts(Path("a"), HOW)):
        with pytest.raises(GatewayError) as caught:
            await call()
        assert (type(caught.value), caught.value.code) == (kind, code)


async def test_what_cannot_be_taken_out_now_is_taken_out_later() -> None:
    index, background = indexed(Client({}, RetrievalUnavailable("away")))
    await index.remove("vs_1", "file-1")
    assert background.woken == 1


async def test_searches_for_answers_keep_stores_from_expiring() -> None:
    background = Background()
    client = Client({"a": [hit("x", 0.9)]})
    found = await InUse(client, background).search(query("a"), deadline_s=1)
    assert (found.hits[0].document.id, background.stores) == ("x", {"vs_1"})
