"""A reference of rows that somebody gives, instead of the first traffic."""

import asyncio
from pathlib import Path

from gateway.store.examples import RowError, read_jsonl
from monitoring import reference
from monitoring.embedding import ServiceEmbedder
from monitoring.reference import ReferenceUnusable
from monitoring.requests import Request
from monitoring.rows import described
from monitoring.settings import MonitorSettings, slug
from retrieval.places import retrieval_socket

_MOST = 20_000


async def freeze(settings: MonitorSettings, alias: str, release: str, file: Path) -> int:
    """Freeze a reference of a file's questions; returns how many rows it has.

    A question that stands in the file twice counts once.

    Raises:
        ReferenceUnusable: A row cannot be read, there are too few, or there is a reference already.
        RetrievalUnavailable, RetrievalFailed: There are no vectors.
        OSError: The file cannot be read.
    """
    folder = settings.folder() / "references" / slug(alias, release)
    if folder.exists():
        raise ReferenceUnusable(f"{alias} has a reference of {release} already, in {folder}")
    requests = await asyncio.to_thread(_requests, file, alias, release)
    embedder = ServiceEmbedder(retrieval_socket(settings.home))
    try:
        rows = await described(requests, embedder)
    finally:
        await embedder.close()
    made = reference.made(rows.rows, rows.vectors, file.name)
    reference.save(made, folder)
    return len(made.rows)


def _requests(file: Path, alias: str, release: str) -> list[Request]:
    found: dict[str, Request] = {}
    for row in read_jsonl(file):
        if isinstance(row, RowError):
            raise ReferenceUnusable(f"{file}: {row}")
        question = row.question
        if question and question not in found:
            # The answer is what somebody wrote, not the release's: of it nothing is measured.
            found[question] = Request(f"line {row.line}", 0.0, alias, release, prompt=question)
        if len(found) > _MOST:
            raise ReferenceUnusable(f"{file}: more than {_MOST:,} different questions")
    return list(found.values())
