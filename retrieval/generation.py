"""A generation: an immutable folder with everything a collection held when it was built.

manifest.json        what it is, and the SHA-256 of every other file
documents.bin        Document, MessagePack, one after the other (with .starts.npy)
passages.bin         Passage, likewise; a document's passages follow one another
owners.npy           the document of each passage
names.npy files.npy  64-bit hashes of the documents' ids and file ids
times.npy            valid_from, valid_to, updated_at of each document
supersessions.msgpack
vectors.npy          float32, a row per passage; dense.faiss: the index over them
data.csc.index.npy … BM25 (see `lexical.py`)
"""

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from retrieval import index, lexical
from retrieval.database import CorruptIndex, IndexMismatch, Vector
from retrieval.durable import sync_file, sync_folder
from retrieval.filters import Columns
from retrieval.masks import Mask
from retrieval.packed import Packed
from retrieval.records import Document, Passage, Value
from retrieval.validity import Supersession, Supersessions, Validity

_FORMAT = 1
_MANIFEST = "manifest.json"


class FileDigest(msgspec.Struct, frozen=True):
    """A file's size and SHA-256."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, kw_only=True):
    """What a generation is.

    Attributes:
        format: The version of this layout.
        embedder: The id of the embedder that made its vectors.
        dimensions: Length of a vector.
        documents: How many documents it has.
        passages: How many passages.
        journal: The first file of the journal that is not part of it.
        lists: How many inverted lists a search looks at; 0: the index is exact.
        created: Unix seconds.
        built_s: How long building took.
        files: Each other file.
        check: SHA-256 of this manifest with an empty `check`.
    """

    format: int = _FORMAT
    embedder: str
    dimensions: int
    documents: int
    passages: int
    journal: int
    lists: int
    created: float
    built_s: float
    files: dict[str, FileDigest] = {}
    check: str = ""


class _Metadata(msgspec.Struct):
    metadata: dict[str, Value] = {}


class Generation:
    """An open generation. Searches may run in several threads.

    Args:
        folder: Its folder, whose name is its name.
        embedder: The id that its vectors must have.
        dimensions: Their length.

    Raises:
        IndexMismatch: Another embedder made it.
        CorruptIndex: A file is missing or damaged.
    """

    def __init__(self, folder: Path, embedder: str, dimensions: int) -> None:
        self.name = folder.name
        self.manifest = verified(folder, embedder, dimensions)
        try:
            self._open(folder)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            raise CorruptIndex(f"generation {self.name}: {error}") from error

    def _open(self, folder: Path) -> None:
        self._documents = Packed(folder / "documents.bin")
        self._passages = Packed(folder / "passages.bin")
        self.owners: npt.NDArray[np.int32] = np.load(folder / "owners.npy", allow_pickle=False)
        self._names: npt.NDArray[np.uint64] = np.load(folder / "names.npy", allow_pickle=False)
        self._by_name = np.argsort(self._names)
        self._sorted_names = self._names[self._by_name]
        self._files: npt.NDArray[np.uint64] = np.load(folder / "files.npy", allow_pickle=False)
        self.vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
        self._dense = index.DenseIndex(folder / "dense.faiss", self.vectors, self.manifest.lists)
        self.words = lexical.LexicalIndex(folder)
        self.columns = Columns(self._metadata)
        stored = (folder / "supersessions.msgpack").read_bytes()
        self._supersessions = stored
        valid_from, valid_to, updated_at = np.load(folder / "times.npy", allow_pickle=False)
        validity = Validity(
            np.ones(len(self._documents), np.bool_),
            valid_from,
            valid_to,
            np.full(len(self._documents), np.inf),
            updated_at,
        )
        supersessions = self.supersessions()
        found = {name: self.find(name) for name in supersessions.targets}
        self.validity = validity.superseded(
            {n: supersessions.since(name) for name, n in found.items() if n is not None}
        )

    @property
    def size(self) -> int:
        """Size of its files, in bytes."""
        return sum(file.bytes for file in self.manifest.files.values())

    def supersessions(self) -> Supersessions:
        """Return who replaced whom when it was built; the caller may change it."""
        known = msgspec.msgpack.decode(self._supersessions, type=dict[str, list[Supersession]])
        return Supersessions(known)

    def find(self, document: str) -> int | None:
        """Return a document's number."""
        wanted = hashed(document)
        place = int(np.searchsorted(self._sorted_names, wanted))
        while place < len(self._sorted_names) and self._sorted_names[place] == wanted:
            number = int(self._by_name[place])
            if self.document(number).id == document:
                return number
            place += 1
        return None

    def of_file(self, file_id: str) -> list[int]:
        """Return the numbers of a file's documents."""
        numbers = np.flatnonzero(self._files == hashed(file_id)).tolist()
        return [number for number in numbers if self.document(number).file_id == file_id]

    def document(self, number: int) -> Document:
        """Return a document."""
        return msgspec.msgpack.decode(self._documents[number], type=Document)

    def passage(self, row: int) -> Passage:
        """Return a passage."""
        return msgspec.msgpack.decode(self._passages[row], type=Passage)

    def packed(self, number: int) -> bytes:
        """Return a document as it is stored."""
        return self._documents[number]

    def packed_passage(self, row: int) -> bytes:
        """Return a passage as it is stored."""
        return self._passages[row]

    def nearest(self, vector: Vector, limit: int, mask: Mask) -> tuple[index.Rows, Vector]:
        """Return the nearest rows with their cosines, best first."""
        return self._dense.search(vector, limit, mask)

    def cosines(self, rows: index.Rows, vector: Vector) -> Vector:
        """Return the cosines of these rows to a vector."""
        return index.cosines(self.vectors, rows, vector)

    def _metadata(self, start: int, end: int) -> Iterable[dict[str, Value]]:
        decoder = msgspec.msgpack.Decoder(_Metadata)
        return (decoder.decode(self._documents[number]).metadata for number in range(start, end))


def hashed(name: str) -> np.uint64:
    """Return the 64-bit hash by which a document or file is looked up."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def seal(folder: Path, manifest: Manifest) -> None:
    """Complete a generation: digests of its files, all of them on the disk, the manifest last."""
    for path in sorted(folder.iterdir()):
        sync_file(path)
        manifest.files[path.name] = _digest(path)
    manifest.created = time.time()
    manifest.check = _check(manifest)
    path = folder / _MANIFEST
    path.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    sync_file(path)
    sync_folder(folder)


def verified(folder: Path, embedder: str, dimensions: int) -> Manifest:
    """Return the manifest of a generation whose files all have their digests.

    Raises:
        IndexMismatch: Another embedder made it.
        CorruptIndex: Something is missing or damaged.
    """
    try:
        manifest = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise CorruptIndex(f"generation {folder.name}: its manifest: {error}") from error
    if manifest.check != _check(manifest) or manifest.format != _FORMAT:
        raise CorruptIndex(
            f"generation {folder.name}: its manifest is damaged or of another format"
        )
    if (manifest.embedder, manifest.dimensions) != (embedder, dimensions):
        raise IndexMismatch(
            f"its vectors are of the embedder {manifest.embedder} ({manifest.dimensions} "
            f"dimensions), not of {embedder} ({dimensions})"
        )
    for name, expected in manifest.files.items():
        try:
            found = _digest(folder / name)
        except OSError as error:
            raise CorruptIndex(f"generation {folder.name}: {error}") from error
        if found != expected:
            raise CorruptIndex(f"generation {folder.name}: {name} is damaged")
    return manifest


def _check(manifest: Manifest) -> str:
    plain = msgspec.structs.replace(manifest, check="")
    return hashlib.sha256(msgspec.json.encode(plain)).hexdigest()


def _digest(path: Path) -> FileDigest:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileDigest(file.tell(), digest)
