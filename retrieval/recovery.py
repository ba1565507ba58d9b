"""Opening a collection after whatever happened: the newest whole generation, and the journal.

The generation before the current one is kept together with the journal from then on. So a damaged
generation costs time, and not documents.
"""

import dataclasses
import logging
import shutil
from pathlib import Path

from retrieval.database import CorruptIndex
from retrieval.durable import replace_file
from retrieval.generation import Generation
from retrieval.journal import Reader, check_complete, check_origin, drop_files_before, files_of
from retrieval.state import State

logger = logging.getLogger(__name__)
_BUILDING = "building-"
_POINTER = "current"


@dataclasses.dataclass(frozen=True)
class Recovered:
    """A collection as it was found.

    Attributes:
        state: What it holds.
        end: Where the journal ends.
        damages: How many damaged things were passed over.
    """

    state: State
    end: tuple[int, int] | None
    damages: int


def recover(folder: Path, embedder: str, dimensions: int) -> Recovered:
    """Open the newest whole generation and replay the journal on it.

    Raises:
        IndexMismatch: Another embedder made the collection.
        CorruptIndex: No generation is whole, and the journal does not go back to the beginning.
    """
    generations = folder / "generations"
    for leftover in generations.glob(_BUILDING + "*"):
        shutil.rmtree(leftover, ignore_errors=True)
    damages, candidates = _candidates(folder)
    problem: CorruptIndex | None = None
    for name in candidates:
        try:
            state, reader = _opened(folder, name, embedder, dimensions)
        except CorruptIndex as error:
            logger.error("collection %s: %s", folder.name, error)
            problem = problem or error
            damages += 1
            continue
        return Recovered(state, reader.end, damages + reader.damaged)
    if problem is not None:
        raise problem
    return Recovered(State(None, dimensions), None, damages)


def replay(state: State, reader: Reader, embedder: str, dimensions: int) -> None:
    """Apply the records that a reader has not read yet."""
    for record in reader.read():
        check_origin(record, embedder, dimensions)
        state.apply(record)


def point_to(folder: Path, generation: str) -> None:
    """Make a generation the current one."""
    replace_file(folder / _POINTER, generation.encode())


def generation_names(folder: Path) -> list[str]:
    """Return the names of the generations, the newest first."""
    names = (path.name for path in (folder / "generations").glob("g*"))
    return sorted((name for name in names if name[1:].isdecimal()), reverse=True)


def next_name(folder: Path) -> str:
    """Return a name that no generation has had while the newest was kept."""
    newest = next(iter(generation_names(folder)), "g0")
    return f"g{int(newest[1:]) + 1:08d}"


def discard_before(folder: Path, current: Generation, base: Generation | None) -> None:
    """Delete what neither the current generation needs nor the one that it was built from.

    Without the latter, the journal goes back to the beginning, and is the same insurance.
    """
    kept = {current.name} if base is None else {current.name, base.name}
    for name in generation_names(folder):
        if name not in kept:
            shutil.rmtree(folder / "generations" / name, ignore_errors=True)
    if base is not None:
        drop_files_before(folder / "journal", base.manifest.journal)


def _candidates(folder: Path) -> tuple[int, list[str | None]]:
    """Return how much is damaged, and what to try in turn; None: the journal alone."""
    names = generation_names(folder)
    journal: list[str | None] = [None] if files_of(folder / "journal")[:1] == [1] else []
    try:
        current = (folder / _POINTER).read_text()
    except (OSError, UnicodeDecodeError):
        current = ""
    if current in names:
        # Newer than the pointer is what a compaction was about to point to.
        return 0, [*(name for name in names if name <= current), *journal]
    lost = bool(current) or (bool(names) and not journal) or (folder / _POINTER).exists()
    return int(lost), [*names, *journal]


def _opened(folder: Path, name: str | None, embedder: str, dimensions: int) -> tuple[State, Reader]:
    generation = None
    first = 1
    if name is not None:
        generation = Generation(folder / "generations" / name, embedder, dimensions)
        first = generation.manifest.journal
    check_complete(folder / "journal", first)
    state, reader = State(generation, dimensions), Reader(folder / "journal", first)
    replay(state, reader, embedder, dimensions)
    return state, reader
