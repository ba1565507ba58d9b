import time

import pytest

from gateway.store.database import Database
from gateway.store.owners import owners
from gateway.store.vector_stores import DAY_S, VectorStore, VectorStores, vector_store_id


@pytest.fixture
def stores(database: Database) -> VectorStores:
    return VectorStores(database)


def make(stores: VectorStores, owner: str | None = "0123abcd", at: float = 1.0) -> VectorStore:
    return stores.add(VectorStore(vector_store_id(), owner, at, "n"))


def test_a_store_comes_changes_and_goes(stores: VectorStores, database: Database) -> None:
    given = VectorStore(
        "vs_1", "0123abcd", 5.0, "Grüße\x00", "for all", {"a": "b"}, {"max_chunk_size_tokens": 100}
    )
    added = stores.add(given)
    found = stores.get("vs_1")
    assert found is not None
    assert (found.name, found.metadata, found.last_active_at) == ("Grüße\ufffd", {"a": "b"}, 5.0)
    assert (found.chunking, added.expires_at) == ({"max_chunk_size_tokens": 100}, None)
    changed = stores.update("vs_1", name="new", metadata={}, expires_after_days=2)
    assert changed == stores.get("vs_1")
    assert changed is not None
    assert (changed.name, changed.metadata, changed.description) == ("new", {}, "for all")
    assert changed.expires_at == pytest.approx(time.time() + 2 * DAY_S, abs=5)
    assert stores.owned("0123abcd") == 1
    assert stores.remove("vs_1")
    assert not stores.remove("vs_1")
    assert stores.get("vs_1") is None
    assert stores.update("vs_1", name="x") is None
    assert (stores.owned("0123abcd"), owners(database), stores.page()) == (0, {}, ([], False))
    # What it held is still to be dropped.
    assert [store.id for store in stores.to_drop()] == ["vs_1"]
    stores.dropped("vs_1")
    assert stores.to_drop() == []


def test_an_expired_store_is_seen_but_nobody_searches_it(
    stores: VectorStores, database: Database
) -> None:
    now = time.time()
    old = stores.add(VectorStore("vs_old", None, now - DAY_S - 1, expires_after_days=1))
    new = stores.add(VectorStore("vs_new", None, now - DAY_S + 60, expires_after_days=1))
    assert (old.expired(), new.expired()) == (True, False)
    assert owners(database) == {"vs_new": None}
    stores.touch(["vs_old", "vs_new", "vs_never"])
    touched = stores.get("vs_new")
    assert touched is not None
    assert touched.expires_at == pytest.approx(now + DAY_S, abs=5)
    assert stores.get("vs_old") == old  # too late
    stores.touch(["vs_new"])
    assert stores.get("vs_new") == touched  # not for each search
    changed = stores.update("vs_old", name="still here", expires_after_days=9)
    assert changed is not None
    assert changed.expired()
    assert stores.update("vs_old") == changed
    assert [store.id for store in stores.to_drop()] == ["vs_old"]
    stores.dropped("vs_old")
    assert stores.to_drop() == []
    assert stores.get("vs_old") is not None


def test_touching_a_store_without_an_end_gives_it_none(stores: VectorStores) -> None:
    make(stores)
    (store,), _ = stores.page()
    stores.touch([store.id])
    found = stores.get(store.id)
    assert found is not None
    assert found.expires_at is None
    assert found.last_active_at > 1000


def test_pages_are_of_one_key_and_the_operator(stores: VectorStores) -> None:
    mine = [make(stores, None if n == 2 else "0123abcd", float(n)).id for n in range(5)]
    other = make(stores, "ffffffff", 2.0).id
    assert [s.id for s in stores.page(owner="0123abcd", limit=9)[0]] == mine[::-1]
    page, more = stores.page(owner="0123abcd", limit=2, ascending=True)
    assert ([s.id for s in page], more) == (mine[:2], True)
    page, more = stores.page(owner="0123abcd", limit=2, ascending=True, after=mine[3])
    assert ([s.id for s in page], more) == (mine[4:], False)
    page, more = stores.page(owner="0123abcd", limit=2, ascending=True, before=mine[4])
    assert ([s.id for s in page], more) == (mine[2:4], True)
    page, more = stores.page(owner="0123abcd", limit=2, before=mine[1])
    assert ([s.id for s in page], more) == ([mine[3], mine[2]], True)
    page, _ = stores.page(owner="0123abcd", after=mine[4], before=mine[1])
    assert [s.id for s in page] == [mine[3], mine[2]]
    assert len(stores.page()[0]) == 6
    for edge in ("nope", other):
        for name in ("after", "before"):
            with pytest.raises(KeyError):
                stores.page(owner="0123abcd", **{name: edge})  # type: ignore[arg-type]
