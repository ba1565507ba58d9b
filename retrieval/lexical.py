"""The lexical half: BM25 (Lucene's variant) over stemmed words. bm25s builds it for a generation.

Scores are summed here rather than by bm25s, since the words' weights are those of the generation
and the delta together, where bm25s knows those of the generation it has built.

Source: Kamphuis et al. 2020, "Which BM25 do you mean?"; Lù 2024, arXiv:2407.03618 (bm25s).
"""

import math
import re
import threading
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt
import Stemmer

from retrieval.records import Document, Passage

Scores = npt.NDArray[np.float32]
_K1, _B = 1.5, 0.75
_WORD = re.compile(r"[^\W_]+")
_LONGEST = 64  # characters; what is longer is no word: base64, for example
# Lucene's English stop words.
_STOPWORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
_STOPPED = frozenset(re.findall(_WORD, _STOPWORDS))
_local = threading.local()


def tokenise(text: str) -> list[str]:
    """Return the stems of a text's words, without stop words, in their order."""
    stemmer = getattr(_local, "stemmer", None)
    if stemmer is None:  # it is not safe to share between threads
        stemmer = _local.stemmer = Stemmer.Stemmer("english")
    words = [word[:_LONGEST] for word in _WORD.findall(text.lower()) if word not in _STOPPED]
    return cast(list[str], stemmer.stemWords(words))


def searched_text(document: Document, passage: Passage) -> str:
    """Return the words by which a passage is found: its own, those above it, the title's."""
    return " ".join((document.title, passage.heading, passage.text))


def weight(frequency: int, passages: int) -> float:
    """Return the inverse document frequency of a word that `frequency` of `passages` have."""
    return math.log(1 + (passages - frequency + 0.5) / (frequency + 0.5))


class Question:
    """The words of a query with their weights over all segments of a collection.

    Args:
        text: The query.
        segments: What is searched: each tells how often it has a word, and its passages.
    """

    def __init__(self, text: str, segments: Sequence["LexicalIndex | Postings"]) -> None:
        passages = sum(segment.passages for segment in segments)
        words = sum(segment.words for segment in segments)
        self.average = words / passages if passages else 1.0
        self.weights = {
            word: times * weight(sum(s.frequency(word) for s in segments), passages)
            for word, times in Counter(tokenise(text)).items()
        }
        self.most = sum(self.weights.values())  # no passage can score higher


class Postings:
    """The lexical half of what was added since the last generation. Grows; searches need no lock.

    Attributes:
        passages: How many passages it has.
        words: How many words they have.
    """

    def __init__(self) -> None:
        self._rows: dict[str, array[int]] = {}
        self._counts: dict[str, array[int]] = {}
        self._lengths = array("i")
        self.passages = 0
        self.words = 0

    def add(self, text: str) -> None:
        """Add the next passage."""
        tokens = tokenise(text)
        for word, count in Counter(tokens).items():
            # The count first: a search that runs meanwhile reads as many counts as it finds rows.
            self._counts.setdefault(word, array("i")).append(count)
            self._rows.setdefault(word, array("i")).append(self.passages)
        self._lengths.append(len(tokens))
        self.words += len(tokens)
        self.passages += 1

    def frequency(self, word: str) -> int:
        """Return how many passages have a word."""
        return len(self._rows.get(word, ()))

    def scores(self, question: Question, passages: int) -> Scores:
        """Return the score of each of the first `passages` passages."""
        scores = np.zeros(passages, np.float32)
        lengths = np.array(self._lengths[:passages], np.float32)
        slowness = _K1 * (1 - _B + _B * lengths / question.average)
        for word, factor in question.weights.items():
            found = self._rows.get(word)
            if not found:
                continue
            rows = np.array(found[:], np.int64)
            counts = np.array(self._counts[word][: len(rows)], np.float32)
            visible = rows < passages
            rows, counts = rows[visible], counts[visible]
            scores[rows] += np.float32(factor) * counts / (counts + slowness[rows])
        return scores


class LexicalIndex:
    """The lexical half of a generation: scores of words in passages, by word.

    Args:
        folder: Where `build` has written it.
    """

    def __init__(self, folder: Path) -> None:
        self._data = _load(folder / "data.csc.index.npy")
        self._rows = _load(folder / "indices.csc.index.npy")
        self._starts = _load(folder / "indptr.csc.index.npy")
        self.vocabulary = read_vocabulary(folder)
        self.tokens = Tokens.open(folder)
        self.passages = len(self.tokens)
        self.words = self.tokens.words

    def frequency(self, word: str) -> int:
        """Return how many passages have a word."""
        number = self.vocabulary.get(word)
        return 0 if number is None else int(self._starts[number + 1] - self._starts[number])

    def scores(self, question: Question, passages: int) -> Scores:
        """Return the score of each passage."""
        scores = np.zeros(passages, np.float32)
        for word, factor in question.weights.items():
            number = self.vocabulary.get(word)
            if number is None:
                continue
            start, end = int(self._starts[number]), int(self._starts[number + 1])
            if start < end:
                ratio = np.float32(factor / weight(end - start, self.passages))
                scores[self._rows[start:end]] += ratio * self._data[start:end]
        return scores


class Tokens(Sequence[list[int]]):
    """The numbers of each passage's words; a compaction needs them and not the text.

    Args:
        flat: The numbers of all passages, one after the other.
        starts: Where each passage begins in `flat`, and the end.
    """

    def __init__(self, flat: npt.NDArray[np.int32], starts: npt.NDArray[np.int64]) -> None:
        self.flat, self.starts = flat, starts

    @classmethod
    def open(cls, folder: Path) -> "Tokens":
        """Return what `build` has written."""
        return cls(_load(folder / "tokens.npy"), _load(folder / "tokens.starts.npy"))

    @property
    def words(self) -> int:
        """How many words all passages have."""
        return len(self.flat)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: Any) -> Any:
        return self.flat[self.starts[row] : self.starts[row + 1]].tolist()

    def __iter__(self) -> Iterator[list[int]]:
        for row in range(len(self)):
            yield self[row]


def joined(
    old: Tokens | None,
    rows: npt.NDArray[np.int64],
    texts: Iterable[str],
    vocabulary: dict[str, int],
) -> tuple[Tokens, dict[str, int]]:
    """Return some rows of the old words and then those of texts, and the vocabulary of both.

    Args:
        old: The words of a generation.
        rows: Which of its passages stay.
        texts: What was added.
        vocabulary: The generation's.
    """
    numbers = dict(vocabulary)
    flat = array("i")
    lengths = array("q")
    for text in texts:
        words = tokenise(text)
        flat.extend(numbers.setdefault(word, len(numbers)) for word in words)
        lengths.append(len(words))
    every = np.array(flat, np.int32)
    sizes = np.array(lengths, np.int64)
    if old is not None:
        before = np.diff(old.starts)
        stays = np.zeros(len(old), np.bool_)
        stays[rows] = True
        every = np.concatenate((old.flat[np.repeat(stays, before)], every))
        sizes = np.concatenate((before[rows], sizes))
    used = np.zeros(len(numbers), np.bool_)
    used[every] = True
    renumbered = (np.cumsum(used) - 1).astype(np.int32)
    words_used = [word for word, is_used in zip(numbers, used.tolist(), strict=True) if is_used]
    starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    tokens = Tokens(renumbered[every], starts)
    return tokens, {word: number for number, word in enumerate(words_used)}


def build(folder: Path, tokens: Tokens, vocabulary: dict[str, int]) -> None:
    """Write the lexical half of a generation.

    Args:
        folder: A folder that exists.
        tokens: The words of each passage.
        vocabulary: The number of each word, from 0 without gaps.
    """
    _save(folder / "tokens.npy", tokens.flat)
    _save(folder / "tokens.starts.npy", tokens.starts)
    (folder / "vocabulary.msgpack").write_bytes(msgspec.msgpack.encode(list(vocabulary)))
    data: npt.NDArray[Any] = np.zeros(0, np.float32)
    rows: npt.NDArray[Any] = np.zeros(0, np.int32)
    starts: npt.NDArray[Any] = np.zeros(len(vocabulary) + 1, np.int64)
    if tokens.words:
        import bm25s  # loads numba: only the process that builds pays for it

        scores = bm25s.BM25(
            k1=_K1, b=_B, method="lucene", csc_backend="numpy"
        ).build_index_from_ids(range(len(vocabulary)), tokens, show_progress=False)
        data, rows, starts = scores["data"], scores["indices"], scores["indptr"]
    _save(folder / "data.csc.index.npy", data.astype(np.float32))
    _save(folder / "indices.csc.index.npy", rows.astype(np.int32))
    _save(folder / "indptr.csc.index.npy", starts.astype(np.int64))


def read_vocabulary(folder: Path) -> dict[str, int]:
    """Return the number of each word of a generation."""
    words = msgspec.msgpack.decode((folder / "vocabulary.msgpack").read_bytes(), type=list[str])
    return {word: number for number, word in enumerate(words)}


def _load(path: Path) -> npt.NDArray[Any]:
    return cast(npt.NDArray[Any], np.load(path, mmap_mode="r", allow_pickle=False))


def _save(path: Path, values: npt.NDArray[Any]) -> None:
    np.save(path, values, allow_pickle=False)
