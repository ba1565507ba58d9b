"""Collections: what is found, by whom it is replaced, and what goes on at the same time."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.collection import Collection
from retrieval.collections import Collections
from retrieval.database import IndexBusy, IndexMismatch, IndexProblem
from retrieval.records import Document, Entry, Filter, Passage, Search
from tests.retrieval.collecting import EMBEDDER, add, entry, find, ids, opened, vectors


@pytest.fixture
def collections(tmp_path: Path) -> Iterator[Collections]:
    found = opened(tmp_path)
    yield found
    found.close()


@pytest.fixture
def collection(collections: Collections) -> Collection:
    return collections.open("facts", create=True)


def test_a_document_is_found_when_upsert_returns_and_replaced_by_its_id(
    collection: Collection,
) -> None:
    add(collection, entry("opening", "the office opens at nine"), entry("cats", "cats purr"))
    assert ids(find(collection, "when does the office open"))[0] == "opening"
    add(collection, entry("opening", "the office opens at ten"))
    texts = [hit.passage.text for hit in find(collection, "when does the office open")]
    assert texts[0] == "the office opens at ten"
    assert "the office opens at nine" not in texts


def test_the_same_holds_after_compaction_and_after_opening_again(
    collections: Collections, tmp_path: Path
) -> None:
    collection = collections.open("facts", create=True)
    add(collection, entry("a", "red apples"), entry("b", "green pears"), entry("c", "blue plums"))
    collection.compact()
    add(collection, entry("a", "yellow apples"))
    collection.remove(documents=["b"])
    before = find(collection, "apples pears plums")
    assert sorted(ids(before)) == ["a", "c"]
    collection.compact()
    compacted = find(collection, "apples pears plums")
    assert {hit.passage for hit in compacted} == {hit.passage for hit in before}
    assert collection.stats().delta_passages == collection.stats().tombstones == 0
    collections.close()
    again = opened(tmp_path)
    assert find(again.open("facts"), "apples pears plums") == compacted
    again.close()


def test_everything_may_be_removed_and_compacted(collection: Collection) -> None:
    add(collection, entry("a", "red apples"))
    assert collection.remove(documents=["a", "unknown"]) == 1
    collection.compact()
    assert find(collection, "apples") == []
    assert collection.nearest(EMBEDDER.embed(["apples"])[0][0]) is None
    add(collection, entry("a", "green apples"))
    collection.compact()
    assert ids(find(collection, "apples")) == ["a"]


def test_a_file_is_removed_with_all_its_documents(collection: Collection) -> None:
    rows = [Document(id=f"row{n}", file_id="file-1") for n in range(4)]
    add(collection, *(entry(d.id, "apples", document=d) for d in rows[:2]), entry("x", "apples"))
    collection.compact()
    add(collection, *(entry(d.id, "apples", document=d) for d in rows[2:]))
    assert collection.remove(file_id="file-1") == 4
    assert collection.remove(file_id="file-1") == 0
    assert ids(find(collection, "apples")) == ["x"]


def test_what_does_not_hold_is_not_found(collection: Collection) -> None:
    fee = "the fee is {} euros"
    add(
        collection,
        entry("old", fee.format(1)),
        entry("expired", fee.format(2), document=Document(id="expired", valid_to=1000.0)),
        entry("future", fee.format(3), document=Document(id="future", valid_from=2000.0)),
    )
    for compacted in (False, True):
        assert sorted(ids(find(collection, "fee", now=999.0))) == ["expired", "old"]
        assert sorted(ids(find(collection, "fee", now=1000.0))) == ["old"]
        assert sorted(ids(find(collection, "fee", now=2000.0))) == ["future", "old"]
        if not compacted:
            collection.compact()
    new = Document(id="new", supersedes=("old", "new"), valid_from=3000.0)
    add(collection, entry("new", fee.format(4), document=new))
    for compacted in (False, True):
        assert sorted(ids(find(collection, "fee", now=2999.0))) == ["future", "old"]
        assert sorted(ids(find(collection, "fee", now=3000.0))) == ["future", "new"]
        if not compacted:
            collection.compact()


@pytest.mark.parametrize("compact", [False, True])
def test_clearing_away_the_middle_version_does_not_bring_back_the_first(
    collection: Collection, compact: bool
) -> None:
    for name, old in (("v1", ()), ("v2", ("v1",)), ("v3", ("v2",))):
        add(collection, entry(name, "the fee", document=Document(id=name, supersedes=old)))
    if compact:
        collection.compact()
    collection.remove(documents=["v2"])
    if compact:
        collection.compact()
    assert ids(find(collection, "fee")) == ["v3"]
    add(collection, entry("v1", "the fee again"))
    assert sorted(ids(find(collection, "fee"))) == ["v1", "v3"]


def test_a_correction_takes_back_what_a_document_replaced(collection: Collection) -> None:
    wrong = Document(id="new", supersedes=("other",))
    add(collection, entry("other", "fee"), entry("new", "fee", document=wrong))
    assert ids(find(collection, "fee")) == ["new"]
    add(collection, entry("new", "fee"))
    assert sorted(ids(find(collection, "fee"))) == ["new", "other"]


def test_a_rare_match_is_found_among_many(collection: Collection) -> None:
    rows = [
        Document(id=f"d{n}", metadata={"team": "rare" if n == 77 else "all"}) for n in range(300)
    ]
    add(collection, *(entry(d.id, "how to reset the router", document=d) for d in rows))
    collection.compact()
    wanted = Filter(type="eq", key="team", value="rare")
    search = Search(query="reset the router", collections=(), limit=3, filters=wanted)
    vector = EMBEDDER.embed([search.query])[0][0]
    assert ids(collection.search(search, vector)) == ["d77"]


def test_each_half_alone_and_both(collection: Collection) -> None:
    add(collection, entry("a", "invoice 4711 was paid"), entry("b", "payments and invoices"))
    for compacted in (False, True):
        words = find(collection, "invoice 4711", mode="lexical")
        assert words[0].document.id == "a"
        assert words[0].lexical is not None
        assert [hit.lexical for hit in find(collection, "invoice 4711", mode="dense")] == [None] * 2
        both = find(collection, "invoice 4711")
        assert both[0].document.id == "a"
        assert all(1 >= hit.score >= 0 for hit in both)
        assert [hit.score for hit in both] == sorted((h.score for h in both), reverse=True)
        without_vector = Search(query="4711", collections=())
        assert ids(collection.search(without_vector, None)) == ["a"]
        assert collection.search(Search(query="the of", collections=()), None) == []
        if not compacted:
            collection.compact()


def test_bad_vectors_are_refused_and_change_nothing(collection: Collection) -> None:
    one = entry("a", "text")
    with pytest.raises(ValueError, match="shape"):
        collection.upsert([one], [vectors([one])[0][:, :3]])
    with pytest.raises(ValueError, match="finite"):
        collection.upsert([one], [vectors([one])[0] * float("nan")])
    assert find(collection, "text") == []


def test_stats_count_what_is_there(collection: Collection) -> None:
    add(collection, entry("a", "one", "two"), entry("b", "three"))
    collection.compact()
    dated = Document(id="b", valid_from=1_700_000_000.0)
    add(collection, entry("b", "four", document=dated))
    stats = collection.stats()
    assert (stats.documents, stats.passages) == (2, 3)
    assert (stats.delta_passages, stats.tombstones, stats.generation) == (1, 1, "g00000001")
    assert stats.newest is not None
    assert abs(stats.newest - time.time()) < 60  # of `a`, which has no date but when it was added
    collection.remove(documents=["a"])
    assert collection.stats().newest == 1_700_000_000.0


def test_one_writer(tmp_path: Path, collection: Collection) -> None:
    with pytest.raises(IndexBusy, match="facts"):
        opened(tmp_path).open("facts")


def test_another_embedder_is_refused(tmp_path: Path, collections: Collections) -> None:
    add(collections.open("facts", create=True), entry("a", "text"))
    collections.open("compacted", create=True).compact()
    collections.close()
    for other in (Collections(tmp_path, "another", 64), Collections(tmp_path, EMBEDDER.id, 32)):
        for name in ("facts", "compacted"):
            with pytest.raises(IndexMismatch, match=r"hash-64 \(64 dimensions\)"):
                other.open(name)


def test_names_open_and_drop(tmp_path: Path, collections: Collections) -> None:
    with pytest.raises(KeyError):
        collections.open("none")
    for wrong in ("", "../x", "a/b", ".x", "x" * 81):
        with pytest.raises(ValueError, match="name"):
            collections.open(wrong, create=True)
    collection = collections.open("vs_1", create=True)
    assert collections.open("vs_1") is collection
    assert collections.names() == ["vs_1"]
    collections.drop("vs_1")
    collections.drop("vs_1")
    assert collections.names() == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(IndexProblem, match="closed"):
        add(collection, entry("a", "text"))


@pytest.mark.slow
def test_searches_see_whole_documents_while_others_write_and_compact(
    collection: Collection,
) -> None:
    """Each document always has two passages of one version, and the stable one is always found."""
    add(collection, entry("stable", "anchor words here"), *(_version(n, 0) for n in range(20)))
    stop, problems, searches = threading.Event(), list[str](), [0]

    def search() -> None:
        while not stop.is_set():
            if "stable" not in ids(find(collection, "anchor words", limit=3)):
                problems.append("the stable document was not found")
            versions: dict[str, list[str]] = {}
            for hit in find(collection, "version", limit=100):
                versions.setdefault(hit.document.id, []).append(hit.passage.text.split()[-1])
            broken = {n: v for n, v in versions.items() if n != "stable" and len(set(v)) != 1}
            broken |= {n: v for n, v in versions.items() if n != "stable" and len(v) != 2}
            if broken:
                problems.append(f"mixed versions: {broken}")
            searches[0] += 1

    def write(first: int) -> None:
        for version in range(1, 40):
            add(collection, *(_version(n, version) for n in range(first, 20, 2)))
            collection.remove(documents=[f"d{first}"])

    readers = [threading.Thread(target=search) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in readers + writers:
        thread.start()
    while any(thread.is_alive() for thread in writers):
        collection.compact()
    stop.set()
    for thread in readers + writers:
        thread.join()
    assert problems == []
    assert searches[0] > 10
    assert collection.stats().documents == 19
    texts = {hit.passage.text.split()[-1] for hit in find(collection, "version", limit=100)}
    assert texts == {"39", "here"}


def _version(number: int, version: int) -> Entry:
    text = f"document number {number} version {version}"
    return entry(f"d{number}", text, text)


def test_a_passage_keeps_all_it_knows(collection: Collection) -> None:
    document = Document(
        id="a", title="Fees", url="https://example.org/fees", metadata={"n": 1.5, "ok": True}
    )
    passage = Passage(number=3, text="a fee", start=17, heading="Fees > Cards", page=2)
    add(collection, Entry(document=document, passages=(passage,)))
    before = find(collection, "cards")[0]
    collection.compact()
    after = find(collection, "cards")[0]
    assert before.passage == after.passage == passage
    assert before.document == after.document
    assert (after.document.title, after.document.metadata) == ("Fees", {"n": 1.5, "ok": True})
