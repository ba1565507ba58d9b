"""Material of the bench on vectors whose distribution is known, and an embedder that is quick."""

from pathlib import Path

import numpy as np

from monitoring.bench.alterations import ALTERATIONS
from monitoring.bench.material import Material
from monitoring.reference import Row, Vectors

DIMENSIONS, INTENTS, EACH = 48, 20, 120


def known(seed: int = 3) -> Material:
    """Return 2,400 rows of 20 clusters, with altered forms of half of them, and 100 foreign."""
    rng = np.random.default_rng(seed)
    plain = INTENTS * EACH
    intents = np.repeat([f"intent-{number:02}" for number in range(INTENTS)], EACH)
    centres = np.eye(DIMENSIONS, dtype=np.float32)[:INTENTS]
    vectors = [_around(rng, np.repeat(centres, EACH, axis=0))]
    forms = {}
    half = np.arange(0, plain, 2)
    start = plain
    for kind in ALTERATIONS:
        forms[kind] = np.full(plain, -1, np.int64)
        forms[kind][half] = start + np.arange(len(half))
        vectors.append(vectors[0][half])
        start += len(half)
    elsewhere = np.eye(DIMENSIONS, dtype=np.float32)[-1:]
    vectors.append(_around(rng, np.repeat(elsewhere, 100, axis=0)))
    every = np.concatenate(vectors)
    names = np.concatenate([intents, *[intents[half]] * len(ALTERATIONS), intents[:100]])
    words = rng.integers(4, 15, len(every))
    rows = tuple(
        Row(str(place), "", None, {"prompt_words": float(count)}, "en")
        for place, count in enumerate(words)
    )
    return Material(rows, every, names, plain, forms, np.arange(start, start + 100))


def _around(rng: np.random.Generator, centres: Vectors) -> Vectors:
    found = centres + 0.08 * rng.standard_normal(centres.shape, np.float32)
    unit: Vectors = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


def banking(folder: Path, rows: int = 6) -> Path:
    """Write BANKING77's two files in small."""
    folder.mkdir()
    for part in ("train", "test"):
        lines = [f'"Where is my {part} card, number {number}?",card' for number in range(rows)]
        (folder / f"{part}.csv").write_text("\n".join(["text,category", *lines]) + "\n")
    return folder
