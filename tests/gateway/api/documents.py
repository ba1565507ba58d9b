"""A gateway with the retrieval service behind it, and the official client of several keys."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import openai
from openai.types import VectorStore
from openai.types.vector_stores import VectorStoreFile

from gateway.store.keys import Keys
from tests.gateway.running import RunningGateway, wait

HOURS = b"# Opening hours\n\nThe Karlsruhe office opens at 9:30 on Mondays.\n"
BREAD = b"# Bread\n\nSourdough needs flour, water, salt and a warm night.\n"


@dataclass
class Desk:
    """The gateway, and a client of a key that may do anything."""

    gateway: RunningGateway
    admin: openai.OpenAI
    _clients: list[openai.OpenAI] = field(default_factory=list)

    def key(self, scopes: Sequence[str] = ("inference",)) -> openai.OpenAI:
        """Return a client of a new key."""
        _, text = Keys(self.gateway.database).create("tenant", scopes)
        client = openai.OpenAI(base_url=f"{self.gateway.url}/v1", api_key=text, max_retries=0)
        self._clients.append(client)

        def known() -> bool:
            try:
                client.models.list()
            except openai.AuthenticationError:
                return False
            except openai.PermissionDeniedError:
                pass  # the key is known, and may do something else
            return True

        wait(known)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()


def upload(client: openai.OpenAI, name: str, content: bytes) -> str:
    """Upload a document; returns its id."""
    return client.files.create(file=(name, content), purpose="assistants").id


def add(
    client: openai.OpenAI,
    store: VectorStore,
    name: str,
    content: bytes,
    attributes: dict[str, str | float | bool] | None = None,
) -> VectorStoreFile:
    """Upload a document, add it to a store and wait until it is there."""
    file = client.vector_stores.files.create_and_poll(
        upload(client, name, content),
        vector_store_id=store.id,
        attributes=attributes,
        poll_interval_ms=50,
        max_wait_seconds=30,
    )
    assert (file.status, file.last_error) == ("completed", None)
    return file
