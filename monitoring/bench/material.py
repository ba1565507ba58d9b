"""All that streams are made of: questions as the monitor sees them, and their vectors."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monitoring.bench.alterations import ALTERATIONS, altered
from monitoring.bench.banking import Question
from monitoring.descriptors.language import language
from monitoring.reference import Row, Vectors
from retrieval.embedder import Embedder

Places = npt.NDArray[np.int64]
Told = Callable[[str, int, int], None]
"""Is told of progress: what is done, how much of it, of how much."""
_TOGETHER = 256
_ALTERABLE = 0.25


@dataclass(frozen=True)
class Material:
    """Questions in one order; places are places in it.

    Attributes:
        rows: As the monitor describes them.
        vectors: Unit vectors, shape (n, d).
        intents: What each wants.
        plain: How many, from the first, are BANKING77's own.
        altered: By kind, where the altered form of a question is; -1 for those without.
        foreign: Where the questions in other languages are.
    """

    rows: tuple[Row, ...]
    vectors: Vectors
    intents: npt.NDArray[np.str_]
    plain: int
    altered: Mapping[str, Places]
    foreign: Places


def material(
    plain: Sequence[Question], foreign: Sequence[Question], embedder: Embedder, folder: Path,
    told: Told = lambda what, done, of: None,
) -> Material:  # fmt: skip
    """Describe and embed everything; vectors are kept in `folder` and made once.

    A quarter of the questions, drawn at random once, has altered forms: more are in no stream.
    """
    rng = np.random.default_rng(77)
    alterable = np.sort(rng.permutation(len(plain))[: int(len(plain) * _ALTERABLE)])
    parts = {"plain": list(plain), "foreign": list(foreign)}
    for kind in ALTERATIONS:
        parts[kind] = altered(kind, [plain[i] for i in alterable])
    every: list[Question] = []
    vectors: list[Vectors] = []
    starts: dict[str, int] = {}
    for name, part in parts.items():
        starts[name] = len(every)
        every += part
        vectors.append(_embedded(name, [each.text for each in part], embedder, folder, told))
    forms = {}
    for kind in ALTERATIONS:
        forms[kind] = np.full(len(plain), -1, np.int64)
        forms[kind][alterable] = starts[kind] + np.arange(len(alterable))
    return Material(
        rows=tuple(described(str(place), each.text) for place, each in enumerate(every)),
        vectors=np.concatenate(vectors),
        intents=np.asarray([each.intent for each in every]),
        plain=len(plain),
        altered=forms,
        foreign=starts["foreign"] + np.arange(len(foreign)),
    )


def described(name: str, text: str) -> Row:
    """Return what drift signals read of a question."""
    return Row(name, text, None, {"prompt_words": float(len(text.split()))}, language(text))


def _embedded(
    name: str, texts: Sequence[str], embedder: Embedder, folder: Path, told: Told
) -> Vectors:
    """Return vectors of texts; parts of them are kept, so that an interruption loses little."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [np.zeros((0, embedder.dimensions), np.float32)]
    for start in range(0, len(texts), _TOGETHER):
        part = list(texts[start : start + _TOGETHER])
        digest = hashlib.blake2b("\0".join(part).encode(), digest_size=12).hexdigest()
        path = folder / f"{embedder.id}-{name}-{digest}.npy"
        if path.exists():
            found.append(np.load(path, allow_pickle=False))
            continue
        told(f"embedding: {name}", start, len(texts))
        vectors, _ = embedder.embed(part)
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            np.save(file, vectors, allow_pickle=False)
        new.replace(path)
        found.append(vectors)
    return np.concatenate(found).astype(np.float32)
