"""Every store test runs on SQLite and on PostgreSQL."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.store.database import Database
from gateway.store.releases import Release
from gateway.store.traffic import TrafficRecord

_RECORD = TrafficRecord(
    completion_id="",
    created_at=1000.5,
    operation="chat",
    key_prefix="0123abcd",
    alias="production",
    release="m-1",
    index_generation=None,
    messages=[{"role": "user", "content": "Grüße 🙂"}],
    parameters={"temperature": 0.5, "seed": 2**63},
    answer={"choices": [{"index": 0, "message": {"content": "hi"}}]},
    finish_reason="stop",
    prompt_tokens=3,
    completion_tokens=2,
    ttft_s=0.01,
    duration_s=0.25,
    logprob_mean=-0.5,
    logprob_tail=None,
    retrieval=None,
    outcome="done",
    status=200,
    metadata={},
    system_fingerprint=None,
    conversation=None,
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'home' / 'driftgate.db'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A database with the current schema."""
    opened = Database(url)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def record() -> Callable[..., TrafficRecord]:
    """Makes a traffic record with this id and these fields."""

    def make(completion_id: str, **fields: Any) -> TrafficRecord:
        return replace(_RECORD, completion_id=completion_id, **fields)

    return make


@pytest.fixture
def release() -> Callable[..., Release]:
    """Makes a release with this id and these fields."""

    def make(id: str, **fields: Any) -> Release:
        known: dict[str, Any] = {
            "model": "m",
            "revision": "r",
            "path": "/models/m",
            "digests": {"a": "00"},
            "created_at": 1.0,
        }
        return Release(id=id, **known | fields)

    return make
