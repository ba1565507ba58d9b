"""Fixtures of the engines' tests; what they hand out is in `fakes.py`."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateway.engines.fakes import FakeKind, MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], FakeKind]:
    return lambda mode: FakeKind(tmp_path, mode)


@pytest.fixture
def environment() -> dict[str, str]:
    return dict(os.environ)
