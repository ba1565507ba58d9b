"""Searching vector stores with the official client."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import VectorStore

from gateway.settings import Settings
from tests.gateway.api.documents import BREAD, HOURS, Desk, add
from tests.gateway.running import RunningGateway
from tests.retrieval.serving import SERVE, answers


@pytest.fixture(scope="module")
def shelf(tenant: openai.OpenAI) -> VectorStore:
    """A store with three documents."""
    store = tenant.vector_stores.create(name="shelf")
    add(tenant, store, "hours.md", HOURS, {"topic": "office", "year": 2023, "public": True})
    add(tenant, store, "bread.md", BREAD, {"topic": "food", "year": 2024, "public": False})
    soup = b"# Soup\n\nLentil soup needs lentils, water and salt.\n"
    add(tenant, store, "soup.md", soup, {"topic": "food", "year": 2022.5})
    return store


def names(client: openai.OpenAI, store: VectorStore, query: str, **asked: Any) -> list[str]:
    return [hit.filename for hit in client.vector_stores.search(store.id, query=query, **asked)]


def test_the_best_comes_first_with_its_score(tenant: openai.OpenAI, shelf: VectorStore) -> None:
    page = tenant.vector_stores.search(shelf.id, query="flour, water and salt for sourdough")
    assert page.object == "vector_store.search_results.page"
    assert page.model_extra is not None
    assert page.model_extra["search_query"] == ["flour, water and salt for sourdough"]
    scores = [hit.score for hit in page.data]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[0] <= 1
    best = page.data[0]
    assert (best.filename, best.content[0].type) == ("bread.md", "text")
    assert best.attributes == {"topic": "food", "year": 2024, "public": False}
    limit = (scores[0] + scores[1]) / 2
    assert names(
        tenant, shelf, "flour, water and salt for sourdough",
        ranking_options={"score_threshold": limit, "ranker": "none"},
    ) == ["bread.md"]  # fmt: skip
    assert len(names(tenant, shelf, "salt", max_num_results=1)) == 1


def test_several_queries_are_asked_together(tenant: openai.OpenAI, shelf: VectorStore) -> None:
    page = tenant.vector_stores.search(
        shelf.id, query=["Karlsruhe office opens", "lentils"], max_num_results=2
    )
    assert page.model_extra is not None
    assert page.model_extra["search_query"] == ["Karlsruhe office opens", "lentils"]
    assert {hit.filename for hit in page.data} == {"hours.md", "soup.md"}


def _is(kind: str, key: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "key": key, "value": value}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (_is("eq", "topic", "office"), {"hours.md"}),
        (_is("ne", "topic", "office"), {"bread.md", "soup.md"}),
        (_is("gt", "year", 2023), {"bread.md"}),
        (_is("gte", "year", 2023), {"bread.md", "hours.md"}),
        (_is("lt", "year", 2023), {"soup.md"}),
        (_is("lte", "year", 2022.5), {"soup.md"}),
        (_is("in", "topic", ["food", "x"]), {"bread.md", "soup.md"}),
        (_is("nin", "topic", ["food"]), {"hours.md"}),
        (_is("eq", "public", True), {"hours.md"}),
        (_is("eq", "nothing", 1), set()),
        (
            {"type": "and", "filters": [_is("eq", "topic", "food"), _is("gt", "year", 2023)]},
            {"bread.md"},
        ),
        (
            {
                "type": "or",
                "filters": [
                    _is("eq", "topic", "office"),
                    {"type": "and", "filters": [_is("lt", "year", 2023)]},
                ],
            },
            {"hours.md", "soup.md"},
        ),
    ],
)
def test_filters(
    tenant: openai.OpenAI, shelf: VectorStore, wanted: Any, expected: set[str]
) -> None:
    query = "office bread soup needs opens"
    assert set(names(tenant, shelf, query, filters=wanted)) == expected


def _nested(depth: int) -> dict[str, Any]:
    inner = _is("eq", "a", 1)
    for _ in range(depth):
        inner = {"type": "and", "filters": [inner]}
    return inner


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"query": ""}, "query"),
        ({"query": "  "}, "query"),
        ({"query": 5}, "query"),
        ({"query": []}, "query"),
        ({"query": ["x"] * 9}, "query"),
        ({"query": "x" * 8193}, "query"),
        ({"max_num_results": 0}, "max_num_results"),
        ({"max_num_results": 51}, "max_num_results"),
        ({"rewrite_query": True}, "rewrite_query"),
        ({"ranking_options": {"ranker": "best"}}, "ranking_options.ranker"),
        ({"ranking_options": {"score_threshold": 1.5}}, "ranking_options.score_threshold"),
        ({"filters": []}, "filters"),
        ({"filters": {}}, "filters.type"),
        ({"filters": _is("like", "a", "b")}, "filters.type"),
        ({"filters": _is("eq", "", "b")}, "filters.key"),
        ({"filters": _is("eq", "a", None)}, "filters.value"),
        ({"filters": _is("eq", "a", [1])}, "filters.value"),
        ({"filters": _is("in", "a", 1)}, "filters.value"),
        ({"filters": _is("eq", "a", 1) | {"x": 1}}, "filters.x"),
        ({"filters": {"type": "and", "filters": []}}, "filters.filters"),
        ({"filters": {"type": "or", "filters": ["x"]}}, "filters.filters.0"),
        (
            {"filters": {"type": "or", "filters": [_is("eq", "a", 1), _is("eq", "a", {})]}},
            "filters.filters.1.value",
        ),
        ({"filters": _nested(5)}, "filters" + ".filters.0" * 5),
        ({"filters": {"type": "and", "filters": [_is("eq", "a", 1)] * 100}}, "filters.filters.99"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_named(
    tenant: openai.OpenAI, shelf: VectorStore, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        tenant.post(
            f"/vector_stores/{shelf.id}/search", body={"query": "x", **fields}, cast_to=object
        )
    assert caught.value.param == param


def test_an_empty_store_finds_nothing(tenant: openai.OpenAI, store: VectorStore) -> None:
    assert names(tenant, store, "anything") == []


def test_no_search_crosses_keys(desk: Desk, tenant: openai.OpenAI, shelf: VectorStore) -> None:
    other = desk.key()
    own = other.vector_stores.create()
    add(other, own, "own.md", b"Sourdough of my own.")
    assert names(other, own, "sourdough salt office") == ["own.md"]
    assert "own.md" not in names(tenant, shelf, "sourdough of my own")


@contextlib.contextmanager
def _embedding(home: Path, model: Path) -> Iterator[None]:
    """Run the service with a real embedder, which takes its time to load."""
    (home / "files").mkdir(exist_ok=True)
    options = {
        "--model": str(model),
        "--socket": str(Settings(home=home).retrieval_socket()),
        "--indexes": str(home / "indexes"),
        "--files": str(home / "files"),
    }
    given = [part for pair in options.items() for part in pair]
    with (home / "retrieval.log").open("wb") as log:
        started = subprocess.Popen([sys.executable, "-c", SERVE, "serve", *given], stderr=log)
    try:
        asyncio.run(answers(Path(options["--socket"]), started, within_s=240))
        yield
    finally:
        started.kill()
        started.wait()


@pytest.mark.slow
def test_the_real_embedder_finds_what_is_said_in_other_words(
    gateway: RunningGateway, minilm: Path
) -> None:
    with (
        _embedding(gateway.home, minilm),
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client,
    ):
        store = client.vector_stores.create(
            chunking_strategy={
                "type": "static",
                "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400},
            }
        )
        add(client, store, "hours.md", HOURS)
        add(client, store, "bread.md", BREAD)
        page = client.vector_stores.search(store.id, query="What time may I visit your branch?")
        assert page.data[0].filename == "hours.md"
        assert page.data[0].score > page.data[1].score
        page = client.vector_stores.search(store.id, query="How is a loaf baked?")
        assert page.data[0].filename == "bread.md"
        # However large pieces are asked to be, none is longer than what the embedder reads.
        words = " ".join(f"Sentence {n} tells of the bakery." for n in range(300))
        long = add(client, store, "long.txt", words.encode())
        assert long.model_extra is not None
        assert long.model_extra["driftgate"]["passages"] > 8
