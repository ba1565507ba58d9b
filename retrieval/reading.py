"""What the child of `retrieval.ingest` does: a file's documents, cut, as messages on a pipe."""

import contextlib
import os
import resource
import struct
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from retrieval.chunking import Chunker
from retrieval.document_fields import document
from retrieval.ingest import (
    Batch,
    Began,
    Ended,
    Failed,
    IngestOptions,
    Job,
    LoadError,
    Message,
    Passages,
)
from retrieval.lifeline import end_with_parent
from retrieval.loaders import load
from retrieval.loaders.parts import BadPart, Block, Progress, Start
from retrieval.protocol import frame
from retrieval.records import Document, Passage
from retrieval.tokens import EmbedderTokens, TokenCounter, WordCounter

MAX_DOCUMENT = 64 * 10**6
"""Most characters of one document: its passages are added at once, so they are in memory."""
MAX_BAD = 1000
_SHOWN_BAD = 3
_BATCH_MESSAGES = 256
_BATCH_CHARACTERS = 2**18
_BATCH_S = 0.25
_LENGTH = struct.Struct(">I")


def read(path: Path, options: IngestOptions) -> Iterator[Message]:
    """Yield what a file holds; bad rows and pages are named at the end, by a LoadError.

    Raises:
        LoadError: The file, or a part of it, cannot be read.
    """
    now = time.time() if options.now is None else options.now
    name = options.filename
    try:
        document({}, options.attributes, document_id=options.document_id, now=now)
    except (ValueError, OverflowError) as error:
        raise LoadError(f"{name}: attributes: {error}") from None
    reader = _Reader(options, now)
    for part in load(path, name):
        if isinstance(part, Progress):
            yield part
        elif isinstance(part, BadPart):
            reader.bad.append(part)
        elif isinstance(part, Start):
            yield from reader.end()
            reader.begin(part)
        else:
            yield from reader.add(part)
        if len(reader.bad) >= MAX_BAD:
            break
    yield from reader.end()
    reader.check()


class _Reader:
    """Turns the parts of one file into messages.

    Args:
        options: How.
        now: Unix seconds at which documents are added.
    """

    def __init__(self, options: IngestOptions, now: float) -> None:
        self.bad: list[BadPart] = []
        self._options = options
        self._now = now
        self._counter = _counter(options)
        self._start = Start()
        self._document: Document | None = None
        self._chunker: Chunker | None = None
        self._sent = 0
        self._documents = 0

    def begin(self, start: Start) -> None:
        """Begin a document; where its fields are wrong, its row is bad."""
        options = self._options
        own_id = f"{options.document_id}#{start.row}" if start.row else options.document_id
        self._start, self._document, self._chunker, self._sent = start, None, None, 0
        try:
            self._document = document(
                start.fields,
                options.attributes,
                document_id=own_id,
                now=self._now,
                file_id=options.file_id,
                filename=options.filename,
            )
        except (ValueError, OverflowError) as error:
            if not start.place:
                raise LoadError(f"{options.filename}: {error}") from None
            self.bad.append(BadPart(start.place, str(error)))
            return
        self._chunker = Chunker(
            self._counter, options.max_tokens, options.overlap_tokens, self._document.title
        )

    def add(self, block: Block) -> Iterator[Message]:
        """Take the next block of the document."""
        if self._chunker is None:
            return
        yield from self._send(self._chunker.add(block))
        if self._chunker.length > MAX_DOCUMENT:
            raise LoadError(
                f"{self._options.filename}: has more than {MAX_DOCUMENT:,} characters of text;"
                " split it"
            )

    def end(self) -> Iterator[Message]:
        """End the document; one without any text is none."""
        if self._chunker is None:
            return
        yield from self._send(self._chunker.end())
        if self._sent:
            self._documents += 1
            yield Ended()
        elif self._start.place:
            self.bad.append(BadPart(self._start.place, "has no text"))
        self._chunker = None

    def check(self) -> None:
        """Raise LoadError where rows or pages were bad, or where there was nothing."""
        name = self._options.filename
        if self.bad:
            shown = "; ".join(f"{part.place}: {part.why}" for part in self.bad[:_SHOWN_BAD])
            more = len(self.bad) - _SHOWN_BAD
            if len(self.bad) >= MAX_BAD:
                shown += f"; and so on, given up after {MAX_BAD} of them"
            elif more > 0:
                shown += f"; and {more} more"
            raise LoadError(f"{name}, {shown}", partial=self._documents > 0)
        if not self._documents:
            raise LoadError(f"{name}: has no text")

    def _send(self, passages: list[Passage]) -> Iterator[Message]:
        if passages and self._document is not None:
            if not self._sent:
                yield Began(self._document)
            self._sent += len(passages)
            yield Passages(tuple(passages))


def _counter(options: IngestOptions) -> TokenCounter:
    if not options.tokenizer:
        return WordCounter()
    try:
        return EmbedderTokens(Path(options.tokenizer))
    except ValueError as error:
        raise LoadError(f"{options.filename}: {error}") from None


def main() -> None:
    """Read the job on standard input, send the file's messages to standard output."""
    (length,) = _LENGTH.unpack(sys.stdin.buffer.read(_LENGTH.size))
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(length), type=Job)
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a parser prints must not end up among the frames
    end_with_parent()
    _limit(job)
    with contextlib.suppress(BrokenPipeError):
        _send(_guarded(job), output)
    os._exit(0)  # the thread that waits for the parent holds standard input


def _limit(job: Job) -> None:
    os.nice(5)
    for kind, most in (
        (resource.RLIMIT_AS, job.memory_bytes),
        (resource.RLIMIT_CPU, job.cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, hard))


def _guarded(job: Job) -> Iterator[Message]:
    """Yield a file's messages; whatever goes wrong is the last of them."""
    name = job.options.filename
    try:
        yield from read(Path(job.path), job.options)
    except LoadError as error:
        yield Failed(str(error), error.partial)
    except MemoryError:
        yield Failed(f"{name}: reading it takes more than {job.memory_bytes >> 20} MiB of memory")
    except RecursionError:
        yield Failed(f"{name}: is nested too deeply")
    except OSError as error:
        yield Failed(f"{name}: cannot be read: {error.strerror or error}")
    except Exception as error:
        traceback.print_exc()
        yield Failed(f"{name}: cannot be read: {type(error).__name__}: {error}")


def _send(messages: Iterator[Message], output: BinaryIO) -> None:
    """Write messages as frames: many in one where they come fast, soon where they come slowly."""
    held: list[Message] = []
    characters, sent = 0, time.monotonic()
    for message in messages:
        held.append(message)
        if isinstance(message, Passages):
            characters += sum(len(passage.text) for passage in message.passages)
        is_late = time.monotonic() - sent > _BATCH_S
        if is_late or len(held) >= _BATCH_MESSAGES or characters >= _BATCH_CHARACTERS:
            output.write(frame(Batch(held)))
            output.flush()
            held, characters, sent = [], 0, time.monotonic()
    if held:
        output.write(frame(Batch(held)))
    output.flush()
