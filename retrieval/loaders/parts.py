"""What a loader finds in a file, one after the other: the language of loaders and chunker."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from retrieval.ingest import LoadError, Progress

__all__ = ["BadPart", "Block", "LoadError", "Loader", "Part", "Progress", "Start"]


@dataclass(frozen=True, slots=True)
class Start:
    """A document begins.

    Attributes:
        fields: What the file says of it: title, url, validity, metadata.
        place: Where it stands, for errors: "line 7"; empty where it is the whole file.
        row: Its row from 1 in a file of many documents; 0 where it is the whole file.
    """

    fields: dict[str, object] = field(default_factory=dict)
    place: str = ""
    row: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, heading, list item, row or piece of code of the document that began last.

    Attributes:
        text: Its words.
        level: 1 to 9 for a heading, 0 for text.
        page: Its page from 1, where the format has pages.
        tight: Whether it belongs closely to the block before, as a row or an item of a list does.
        runs_on: Whether it goes on with the sentence of the block before, over the end of a page.
    """

    text: str
    level: int = 0
    page: int | None = None
    tight: bool = False
    runs_on: bool = False


@dataclass(frozen=True, slots=True)
class BadPart:
    """A row or page that could not be read; the rest of the file goes on."""

    place: str
    why: str


Part = Start | Block | BadPart | Progress
Loader = Callable[[Path, str], Iterator[Part]]
