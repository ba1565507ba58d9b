"""The folder of files that the service may read, and nothing outside of it."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import msgspec

from retrieval.ingest import IngestOptions, LoadError, Progress, ingest
from retrieval.library import Refused
from retrieval.passages import text_of
from retrieval.records import Entry
from retrieval.requests import Text


class Folder:
    """Reads files.

    Args:
        path: The folder; None: no file may be read.
        tokenizer: The embedder's folder, by whose tokens files are cut; empty: words are counted.
    """

    def __init__(self, path: Path | None, tokenizer: str) -> None:
        self._path = None if path is None else path.resolve()
        self._tokenizer = tokenizer

    def entries(
        self,
        path: str,
        options: IngestOptions,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> AsyncGenerator[Entry]:
        """Return the entries of a file, to be closed by the caller.

        Raises:
            Refused: It lies outside the folder.
            LoadError: On the way: it cannot be read, or not all of it.
        """
        real = Path(path).resolve()
        if self._path is None or not real.is_relative_to(self._path):
            raise Refused("the file lies outside the service's folder of files")
        if self._tokenizer and not options.tokenizer:
            options = msgspec.structs.replace(options, tokenizer=self._tokenizer)
        return ingest(real, options, on_progress=on_progress)

    async def texts(self, path: str, options: IngestOptions) -> tuple[Text, ...]:
        """Return the texts of a file's documents; rows and pages that are bad are left out.

        Raises:
            Refused: It lies outside the folder.
            LoadError: It cannot be read.
        """
        found = []
        async with contextlib.aclosing(self.entries(path, options)) as entries:
            try:
                async for entry in entries:
                    document = entry.document
                    found.append(Text(document.id, document.title, text_of(entry.passages)))
            except LoadError as error:
                if not error.partial:
                    raise
        return tuple(found)
