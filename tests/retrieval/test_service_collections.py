"""Collections over the service's socket: written, found, changed, dropped, damaged."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from retrieval.client import RetrievalClient, RetrievalFailed, RetrievalUnavailable
from retrieval.embedder import HashEmbedder
from retrieval.records import Area, Hit
from tests.retrieval.serving import documents, entry, search, service


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[RetrievalClient]:
    async with service(tmp_path) as client:
        yield client


async def test_what_is_added_is_found_replaced_and_removed(client: RetrievalClient) -> None:
    counts = await client.add_entries("facts", [entry("fee", "the fee is two euros", "per month")])
    assert (counts.documents, counts.passages) == (1, 2)
    assert counts.bytes > 2 * 64 * 4
    found = await search(client, "what is the fee")
    assert found.hits[0].passage.text == "the fee is two euros"
    assert 0 < found.hits[0].score <= 1
    await client.add_entries("facts", [entry("fee", "the fee is nine euros")])
    texts = [hit.passage.text for hit in (await search(client, "fee euros month")).hits]
    assert texts == ["the fee is nine euros"]
    assert await client.remove("facts", documents=["fee", "unknown"]) == 1
    assert (await search(client, "fee")).hits == ()
    assert await client.remove("facts", documents=["fee"]) == 0
    assert await client.remove("nothing", file_id="file-1") == 0


async def test_superseded_and_expired_documents_are_not_found(client: RetrievalClient) -> None:
    now = time.time()
    await client.add_entries("facts", [entry("old", "the fee is two euros")])
    await client.add_entries("facts", [entry("new", "the fee is nine euros", supersedes=("old",))])
    await client.add_entries(
        "facts",
        [
            entry("past", "the fee was one euro", valid_to=now - 1),
            entry("soon", "the fee will be ten euros", valid_from=now + 1.0),
        ],
    )
    assert await documents(client, "fee euro euros") == {"new"}
    await asyncio.sleep(1.1)
    assert await documents(client, "fee euro euros") == {"new", "soon"}


async def test_several_collections_are_searched_together(client: RetrievalClient) -> None:
    await client.add_entries("cats", [entry("c", "cats sleep all day")])
    await client.add_entries("dogs", [entry("d", "dogs sleep at night")])
    found = await search(client, "sleep", "cats", "dogs", "birds")
    assert {(hit.collection, hit.document.id) for hit in found.hits} == {
        ("cats", "c"), ("dogs", "d"),
    }  # fmt: skip
    assert [hit.score for hit in found.hits] == sorted((h.score for h in found.hits), reverse=True)
    assert set(found.generations) == {"cats", "dogs"}
    assert {hit.collection for hit in (await search(client, "sleep", "dogs")).hits} == {"dogs"}
    assert (await search(client, "sleep", "cats", "dogs", limit=0)).hits == ()


async def test_a_reference_tells_how_usual_a_query_is(client: RetrievalClient) -> None:
    await client.add_entries("usual", [entry("u", "how high is the fee")])
    same = await search(client, "how high is the fee", "facts", reference="usual")
    other = await search(client, "zebras", "facts", reference="usual")
    assert same.reference_similarity == pytest.approx(1, abs=1e-5)
    assert other.reference_similarity is not None
    assert other.reference_similarity < 0.5
    assert (await search(client, "fee", reference="unknown")).reference_similarity is None


async def test_it_is_told_whether_a_query_is_of_one_of_some_topics(
    client: RetrievalClient,
) -> None:
    await client.add_entries("facts", [entry("f", "the fee is five euros")])
    middle = tuple(map(float, HashEmbedder().embed(["how high is the fee"])[0][0]))
    fees, short = Area(middle, 0.9), Area(middle[:8], 0.0)
    for query, inside in (("how high is the fee", True), ("zebras", False)):
        for mode in ("hybrid", "lexical"):
            found = await search(client, query, mode=mode, areas=(short, fees))
            assert found.inside is inside
    assert (await search(client, "zebras", areas=(short,))).inside is None
    assert (await search(client, "zebras")).inside is None


async def test_stats_compaction_and_drop(client: RetrievalClient) -> None:
    assert await client.stats() == ()
    assert await client.stats("facts") == ()
    await client.add_entries("facts", [entry("a", "apples"), entry("b", "pears", "plums")])
    await client.remove("facts", documents=["a"])
    (stats,) = await client.stats()
    assert (stats.name, stats.documents, stats.passages, stats.generation) == ("facts", 1, 2, "")
    assert (stats.delta_passages, stats.embedder) == (3, "hash-64")
    await client.compact("facts")
    (stats,) = await client.stats("facts")
    assert (stats.generation, stats.delta_passages, stats.documents) == ("g00000001", 0, 1)
    assert (await search(client, "plums")).generations == {"facts": "g00000001"}
    counters = (await client.info())["counters"]
    assert {event: number for event, number in counters.items() if number} == {
        "compactions": 1, "documents_added": 2, "documents_removed": 1,
        "searches": 1,
    }  # fmt: skip
    await client.drop("facts")
    await client.drop("facts")
    assert await client.stats() == ()
    assert (await search(client, "plums")).hits == ()
    with pytest.raises(RetrievalFailed, match="there is no collection facts") as failed:
        await client.compact("facts")
    assert failed.value.reason == "missing"


@pytest.mark.parametrize("name", ["", "../facts", "a b", "x" * 81])
async def test_a_name_that_is_none_is_refused(client: RetrievalClient, name: str) -> None:
    with pytest.raises(RetrievalFailed, match="name is 1 to 80") as failed:
        await client.add_entries(name, [entry("a", "apples")])
    assert failed.value.reason == "refused"


async def test_a_drop_ends_what_is_being_added(tmp_path: Path) -> None:
    async with service(tmp_path, embedder=_Slow()) as client:
        many = [entry(f"d{n}", f"apples {n}") for n in range(40)]
        adding = asyncio.create_task(client.add_entries("facts", many))
        await asyncio.sleep(0.1)
        await client.drop("facts")
        with pytest.raises(RetrievalFailed, match="removed meanwhile") as failed:
            await adding
        assert failed.value.reason == "cancelled"
        await asyncio.sleep(0.1)
        assert await client.stats() == ()


async def test_a_deadline_ends_the_call_and_the_work(tmp_path: Path) -> None:
    async with service(tmp_path, embedder=_Slow()) as client:
        many = [entry(f"d{n}", f"apples {n}") for n in range(400)]
        with pytest.raises(RetrievalUnavailable, match=r"within 0\.1 s"):
            await client.add_entries("facts", many, deadline_s=0.1)
        await asyncio.sleep(0.2)
        assert await client.stats() == ()  # it would have taken 2 s
        assert (await search(client, "apples")).hits == ()


async def test_another_embedders_collection_is_named_and_the_others_are_served(
    tmp_path: Path,
) -> None:
    async with service(tmp_path) as client:
        await client.add_entries("old", [entry("a", "apples")])
    async with service(tmp_path, embedder=HashEmbedder(32)) as client:
        await client.add_entries("new", [entry("b", "apples")])
        for call in (search(client, "apples", "old"), client.add_entries("old", [entry("c", "x")])):
            with pytest.raises(RetrievalFailed, match=r"hash-64.*hash-32") as failed:
                await call
            assert failed.value.reason == "mismatch"
        found = await search(client, "apples", "old", "new")
        assert [hit.document.id for hit in found.hits] == ["b"]
        assert "hash-64" in found.problems["old"]
        stats = {each.name: each for each in await client.stats()}
        assert "hash-64" in stats["old"].problem
        assert not stats["new"].problem
        counters = (await client.info())["counters"]
        assert counters["mismatched_collections"] == 1
        assert counters["failures"] == 0
        await client.drop("old")
        await client.add_entries("old", [entry("a", "apples")])
        assert await documents(client, "apples", "old") == {"a"}


@pytest.mark.slow
async def test_a_corrupt_file_costs_no_document_and_is_counted(tmp_path: Path) -> None:
    async with service(tmp_path) as client:
        for name in ("a", "b"):
            await client.add_entries("facts", [entry(name, "apples")])
            await client.compact("facts")
    _flip(tmp_path / "indexes" / "facts" / "generations" / "g00000002" / "vectors.npy")
    async with service(tmp_path) as client:
        found = await search(client, "apples")
        assert {hit.document.id for hit in found.hits} == {"a", "b"}
        assert (await client.info())["counters"]["corrupt_files"] == 1
        async with asyncio.timeout(20):  # it is made whole in the background
            while (await client.stats("facts"))[0].generation != "g00000003":
                await asyncio.sleep(0.05)
        assert await documents(client, "apples") == {"a", "b"}


@pytest.mark.slow
async def test_a_lost_collection_is_named_and_counted_once(tmp_path: Path) -> None:
    async with service(tmp_path) as client:
        for name in ("a", "b", "c"):
            await client.add_entries("facts", [entry(name, "apples")])
            await client.compact("facts")
    for path in (tmp_path / "indexes" / "facts" / "generations").glob("*/passages.bin"):
        _flip(path)
    async with service(tmp_path) as client:
        for _ in range(2):
            with pytest.raises(RetrievalFailed, match=r"passages\.bin"):
                await search(client, "apples")
        assert (await client.info())["counters"]["lost_collections"] == 1
        assert "passages.bin" in (await client.stats())[0].problem


async def test_a_second_service_does_not_take_the_socket(tmp_path: Path) -> None:
    async with service(tmp_path) as client:
        with pytest.raises(OSError, match="another retrieval service"):
            async with service(tmp_path):
                pass
        await client.info()


class _Slow(HashEmbedder):
    """Takes 5 ms a text."""

    def embed(self, texts: list[str]):  # type: ignore[no-untyped-def]
        time.sleep(0.005 * len(texts))
        return super().embed(texts)


class _Longest:
    """Orders by length; the longest is best."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def order(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        self.read.append(len(hits))
        if query == "fail":
            raise RuntimeError("broken weights")
        longest = sorted(hits, key=lambda hit: -len(hit.passage.text))
        return [
            msgspec.structs.replace(hit, score=1 / (place + 1)) for place, hit in enumerate(longest)
        ]


async def test_the_best_hits_are_ordered_again_where_there_is_a_reranker(tmp_path: Path) -> None:
    reranker = _Longest()
    async with service(tmp_path, reranker=reranker) as client:
        many = [entry(f"d{n}", "fail apples" + " and more" * n) for n in range(30)]
        await client.add_entries("facts", many)
        plain = await search(client, "apples", limit=3, rerank=False)
        assert plain.hits[0].document.id == "d0"
        found = await search(client, "apples", limit=3)
        assert reranker.read == [20]
        assert [len(hit.passage.text) for hit in found.hits] == sorted(
            (len(hit.passage.text) for hit in found.hits), reverse=True
        )
        assert found.hits[0].document.id == "d19"
        every = await search(client, "apples", limit=30)
        assert len(every.hits) == 30
        scores = [hit.score for hit in every.hits]
        assert scores == sorted(scores, reverse=True)
        assert len((await search(client, "fail", limit=3)).hits) == 3
        counters = (await client.info())["counters"]
        assert (counters["reranked_searches"], counters["rerank_failures"]) == (2, 1)


@pytest.mark.slow
async def test_changes_are_found_within_a_second_under_load(client: RetrievalClient) -> None:
    """50 searches a second, adds, replacements, removals and a compaction beside each other."""
    await client.add_entries("facts", [entry(f"b{n}", f"apples number {n}") for n in range(500)])
    failures: list[Exception] = []
    searches = 0
    stop = asyncio.Event()

    async def one() -> None:
        nonlocal searches
        try:
            assert (await search(client, "apples number 7", limit=5)).hits
            searches += 1
        except Exception as error:
            failures.append(error)

    async def load() -> None:
        running = set()
        while not stop.is_set():
            task = asyncio.create_task(one())
            running.add(task)
            task.add_done_callback(running.discard)
            await asyncio.sleep(0.02)
        await asyncio.gather(*running)

    loading = asyncio.create_task(load())
    compacting = asyncio.create_task(client.compact("facts"))
    slowest = 0.0
    for number in range(30):
        began = time.monotonic()
        await client.add_entries("facts", [entry("fact", f"zebras have code q{number}")])
        found = await search(client, f"zebras code q{number}", limit=1)
        slowest = max(slowest, time.monotonic() - began)
        assert found.hits[0].passage.text == f"zebras have code q{number}"
        if number % 3 == 0:
            assert await client.remove("facts", documents=[f"b{number}"]) == 1
            assert f"b{number}" not in await documents(client, f"apples number {number}")
    await compacting
    stop.set()
    await loading
    assert not failures
    assert searches > 20
    assert slowest < 1
    (stats,) = await client.stats("facts")
    assert stats.documents == 491
    assert stats.generation == "g00000001"


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
