"""The world of the vector store tests: a gateway and a retrieval service as processes."""

from collections.abc import Iterator

import openai
import pytest
from openai.types import VectorStore

from gateway.settings import Settings
from tests.gateway.api.documents import Desk
from tests.gateway.running import running_gateway
from tests.retrieval.serving import process


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A gateway over the real retrieval service with the stub embedder."""
    home = tmp_path_factory.mktemp("stores")
    socket = Settings(home=home).retrieval_socket()
    with process(home, socket), running_gateway(home, embedder="") as gateway:
        admin = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)
        with admin:
            made = Desk(gateway, admin)
            yield made
            made.close()


@pytest.fixture(scope="session")
def tenant(desk: Desk) -> openai.OpenAI:
    """A client of a key with `inference` alone."""
    return desk.key()


@pytest.fixture
def store(tenant: openai.OpenAI) -> VectorStore:
    """A new store of the tenant."""
    return tenant.vector_stores.create(name="docs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what needs the retrieval service to `make test`."""
    for item in items:
        if "desk" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
