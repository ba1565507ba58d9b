"""What the vector store routes ask of the index, with the errors that their clients see."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from gateway.errors import GatewayError, InvalidRequest, Unavailable
from gateway.retrieval_metrics import RetrievalMetrics
from retrieval.client import RetrievalClient, RetrievalFailed, RetrievalUnavailable
from retrieval.ingest import IngestOptions
from retrieval.records import Found, Hit, Search
from retrieval.requests import Text

_log = logging.getLogger(__name__)
_SEARCH_S = 10.0
_REMOVE_S = 5.0


class Background(Protocol):
    """What is needed of `gateway.ingestion`."""

    def wake(self) -> None: ...

    def used(self, stores: Iterable[str]) -> None: ...


class Searches(Protocol):
    """What is needed of the retrieval client to search."""

    async def search(self, search: Search, *, deadline_s: float) -> Found: ...


class InUse:
    """Searches for answers, and notes which stores are in use, since those do not expire.

    Args:
        client: The retrieval service.
        background: What writes it down.
    """

    def __init__(self, client: Searches, background: Background) -> None:
        self._client = client
        self._background = background

    async def search(self, search: Search, *, deadline_s: float) -> Found:
        """Search as the client does, with its errors."""
        self._background.used(search.collections)
        return await self._client.search(search, deadline_s=deadline_s)


class Indexed:
    """The index.

    Args:
        client: The retrieval service.
        background: What works on files.
        metrics: Where searches are measured.
    """

    def __init__(
        self, client: RetrievalClient, background: Background, metrics: RetrievalMetrics
    ) -> None:
        self._client = client
        self._background = background
        self._metrics = metrics

    def wake(self) -> None:
        """Have what was just written done at once; any thread may call it."""
        self._background.wake()

    async def search(self, searches: Sequence[Search]) -> list[Hit]:
        """Return what some searches find together, best first, each passage once.

        Raises:
            Unavailable: The service is away or too busy.
            GatewayError: It failed.
        """
        began = time.perf_counter()
        with _told():
            found = await asyncio.gather(
                *(self._client.search(search, deadline_s=_SEARCH_S) for search in searches)
            )
        self._metrics.search.observe(time.perf_counter() - began)
        self._background.used({name for search in searches for name in search.collections})
        best: dict[tuple[str, str, int], Hit] = {}
        for hit in (hit for each in found for hit in each.hits):
            place = (hit.collection, hit.document.id, hit.passage.number)
            if place not in best or best[place].score < hit.score:
                best[place] = hit
        return sorted(best.values(), key=lambda hit: hit.score, reverse=True)

    async def remove(self, store: str, file_id: str) -> None:
        """Take a file's documents out at once, where that can be; the background makes sure."""
        with contextlib.suppress(RetrievalUnavailable, RetrievalFailed):
            await self._client.remove(store, file_id=file_id, deadline_s=_REMOVE_S)
        self._background.wake()

    async def texts(self, path: Path, how: IngestOptions) -> tuple[Text, ...]:
        """Return the texts of a file's documents.

        Raises:
            InvalidRequest: It cannot be read.
            Unavailable, GatewayError: As in `search`.
        """
        with _told():
            return await self._client.read_file(path, how)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except RetrievalUnavailable as error:
        _log.warning("the retrieval service: %s", error)
        raise Unavailable(
            "The retrieval service is away. Try again.", code="retrieval_unavailable", retry_after=2
        ) from error
    except RetrievalFailed as error:
        if error.reason == "file":
            raise InvalidRequest(str(error), code="invalid_file", param="file_id") from error
        _log.error("the retrieval service: %s", error)
        raise GatewayError(
            f"The retrieval service failed: {error}", code="retrieval_failed"
        ) from error
