"""Fixtures of the engines' tests; what they hand out is in `fakes.py`."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from gateway.engines.base import EngineSpec
from gateway.engines.echo import EchoEngine
from tests.gateway.engines.fakes import FakeKind, MemoryStore, make_release, wait_until

ROOT = Path(__file__).parents[3]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], FakeKind]:
    return lambda mode: FakeKind(tmp_path, mode)


@pytest.fixture
def environment() -> dict[str, str]:
    return dict(os.environ)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The stub engine, serving `m-1` on a Unix socket."""
    folder = tmp_path_factory.mktemp("echo")
    socket = folder / "echo.sock"
    spec = EngineSpec(make_release("m-1"), "blue", f"unix:{socket}", folder / "log")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            EchoEngine().command(spec), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
    transport = httpx.HTTPTransport(uds=str(socket))
    with httpx.Client(transport=transport, base_url="http://engine", timeout=10) as client:
        wait_until(lambda: socket.exists() and client.get("/health").status_code == 200, 10)
        yield client
    process.terminate()
    assert process.wait(5) in (0, -15)
    assert (folder / "log").read_text() == ""  # no request ever reached a handler's traceback
