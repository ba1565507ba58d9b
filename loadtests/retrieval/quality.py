"""How good rankings are: lexical, dense and hybrid on labelled sets, with intervals."""

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from loadtests.retrieval.results import Figures, Labelled
from loadtests.retrieval.serving import say
from loadtests.retrieval.statistics import CUT, interval, ndcg, recall_at
from loadtests.retrieval.texts import Package, Question
from loadtests.retrieval.vectors import VectorCache
from retrieval.collection import Collection
from retrieval.collections import Collections
from retrieval.embedder import Embedder
from retrieval.records import Document, Entry, Passage, Search, SearchMode

_TOGETHER = 1000
_MODES: tuple[SearchMode, ...] = get_args(SearchMode)


@dataclass(frozen=True)
class LabelledSet:
    """Documents by name, and questions with the names of the documents that answer them."""

    name: str
    note: str
    documents: Mapping[str, str]
    questions: Sequence[tuple[str, frozenset[str]]]


def banking77(train: Sequence[Question], test: Sequence[Question]) -> LabelledSet:
    """Return BANKING77: a training question of the same intent is what is looked for."""
    documents = {f"{number}": question.text for number, question in enumerate(train)}
    of_intent: defaultdict[str, set[str]] = defaultdict(set)
    for number, question in enumerate(train):
        of_intent[question.intent].add(f"{number}")
    return LabelledSet(
        "BANKING77",
        "documents: all training questions; questions: its test questions; relevant: those of the "
        "same intent",
        documents,
        [(q.text, frozenset(of_intent[q.intent])) for q in test if q.intent in of_intent],
    )


def debian(apart: Sequence[Package], queries: int) -> LabelledSet:
    """Return Debian packages: a synopsis asks for its package's long description."""
    return LabelledSet(
        "Debian packages",
        "documents: whole long descriptions of packages outside the first 16,000 of "
        "`Translation-en` (on which the fusion was tuned), drawn with seed 5 from those whose "
        "synopsis and description no other package has, without their names; questions: the "
        f"synopses of {min(queries, len(apart)):,} of them; relevant: its own description",
        {package.name: package.description for package in apart},
        [(p.synopsis, frozenset((p.name,))) for p in apart[:queries]],
    )


def measure(
    folder: Path, embedder: Embedder, cache: VectorCache, labelled: LabelledSet
) -> Labelled:
    """Rank by each mode and compare; the collection is made anew.

    Args:
        folder: Where the collection is made.
        embedder: The embedder of the vectors.
        cache: Vectors of texts.
        labelled: What is ranked.
    """
    shutil.rmtree(folder, ignore_errors=True)
    collections = Collections(folder, embedder.id, embedder.dimensions)
    collection = collections.open("vs_quality", create=True)
    _fill(collection, cache, labelled)
    collection.compact()
    texts = [text for text, _ in labelled.questions]
    vectors = cache.of(texts, f"questions of {labelled.name}")
    scores: dict[str, tuple[list[float], list[float]]] = {}
    for mode in _MODES:
        found: tuple[list[float], list[float]] = ([], [])
        for (text, relevant), vector in zip(labelled.questions, vectors, strict=True):
            search = Search(query=text, collections=(), limit=CUT, mode=mode)
            hits = collection.search(search, None if mode == "lexical" else vector)
            ranked = [hit.document.id for hit in hits]
            found[0].append(ndcg(ranked, relevant))
            found[1].append(recall_at(ranked, relevant))
        scores[mode] = found
        say(f"{labelled.name}: {mode} ranked")
    collections.close()
    gains = {
        half: Figures(*(
            interval([a - b for a, b in zip(ours, theirs, strict=True)])
            for ours, theirs in zip(scores["hybrid"], scores[half], strict=True)
        ))
        for half in ("lexical", "dense")
    }  # fmt: skip
    return Labelled(
        name=labelled.name,
        note=labelled.note,
        documents=len(labelled.documents),
        queries=len(labelled.questions),
        modes={mode: Figures(interval(a), interval(b)) for mode, (a, b) in scores.items()},
        gains=gains,
    )


def _fill(collection: Collection, cache: VectorCache, labelled: LabelledSet) -> None:
    names, texts = list(labelled.documents), list(labelled.documents.values())
    vectors = cache.of(texts, f"documents of {labelled.name}")
    for start in range(0, len(names), _TOGETHER):
        places = range(start, min(start + _TOGETHER, len(names)))
        entries = [
            Entry(document=Document(id=names[n]), passages=(Passage(number=0, text=texts[n]),))
            for n in places
        ]
        collection.upsert(entries, [vectors[n : n + 1] for n in places])
