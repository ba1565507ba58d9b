"""The dense index with many vectors: `python -m loadtests.retrieval.million FOLDER build|search`.

The vectors are real ones with Gaussian noise, so they lie in clusters as passages do. Building and
searching have a process each, so that each process's memory is its own.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from loadtests.bench.process import ROOT
from loadtests.retrieval.results import Large, Times
from loadtests.retrieval.serving import say
from loadtests.retrieval.statistics import CUT, recall, times
from retrieval.embedder import Vectors
from retrieval.index import DenseIndex, build
from retrieval.masks import Mask

_NOISE = 0.5  # length of the noise beside a vector of length 1: their cosine is 0.89
_BLOCK = 50_000
_WARM_UP = 100


class _Built(msgspec.Struct):
    lists: int
    seconds: float
    peak_mb: float


class _Searched(msgspec.Struct):
    times: Times
    found: list[list[int]]
    own_mb: float
    mapped_mb: float


def measure(folder: Path, real: Vectors, queries: Vectors, count: int) -> Large:
    """Make the vectors, build the index and search it; what is there already is kept.

    Args:
        folder: Where they are kept.
        real: Vectors to make them from.
        queries: Real vectors that are not among those.
        count: How many to make.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "vectors.npy"
    if not made.is_file() or np.load(made, mmap_mode="r").shape != (count, real.shape[1]):
        _make(made, real, count)
        (folder / "built.json").unlink(missing_ok=True)
    np.save(folder / "queries.npy", queries)
    if not (folder / "built.json").is_file():
        say(f"building an index of {count:,} vectors")
        _child(folder, "build")
    built = msgspec.json.decode((folder / "built.json").read_bytes(), type=_Built)
    say(f"built in {built.seconds:.0f} s; searching")
    _child(folder, "search")
    searched = msgspec.json.decode((folder / "searched.json").read_bytes(), type=_Searched)
    vectors = cast(Vectors, np.load(made, mmap_mode="r"))
    return Large(
        vectors=count,
        dimensions=real.shape[1],
        real=len(real),
        times=searched.times,
        recall=round(recall(searched.found, vectors, queries), 4),
        lists=built.lists,
        build_s=round(built.seconds, 1),
        build_mb=built.peak_mb,
        file_mb=round((folder / "dense.faiss").stat().st_size / 1e6, 1),
        vectors_mb=round(made.stat().st_size / 1e6, 1),
        own_mb=searched.own_mb,
        mapped_mb=searched.mapped_mb,
    )


def _make(path: Path, real: Vectors, count: int) -> None:
    random = np.random.default_rng(3)
    dimensions = real.shape[1]
    partial = path.with_suffix(".partial")
    written: Any = np.lib.format  # it has no types
    with partial.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, dimensions)}
        written.write_array_header_1_0(file, header)
        for start in range(0, count, _BLOCK):
            rows = random.integers(0, len(real), min(_BLOCK, count - start))
            noise = random.standard_normal((len(rows), dimensions), np.float32)
            block = real[rows] + noise * np.float32(_NOISE / np.sqrt(dimensions))
            block /= np.linalg.norm(block, axis=1, keepdims=True)
            file.write(np.ascontiguousarray(block, "<f4").data)
    partial.rename(path)
    say(f"{count:,} vectors made")


def _child(folder: Path, step: str) -> None:
    subprocess.run(
        [sys.executable, "-m", __spec__.name, str(folder.resolve()), step], cwd=ROOT, check=True
    )


def _build(folder: Path) -> None:
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    began = time.monotonic()
    lists = build(folder / "dense.faiss", vectors)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    built = _Built(lists, seconds, round(peak, 1))
    (folder / "built.json").write_bytes(msgspec.json.encode(built))


def _search(folder: Path) -> None:
    lists = msgspec.json.decode((folder / "built.json").read_bytes(), type=_Built).lists
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    queries = np.load(folder / "queries.npy")
    index = DenseIndex(folder / "dense.faiss", vectors, lists)
    mask = Mask(None, len(vectors))
    for query in queries[:_WARM_UP]:
        index.search(query, CUT, mask)
    seconds, found = [], []
    for query in queries:
        began = time.perf_counter()
        rows, _ = index.search(query, CUT, mask)
        seconds.append(time.perf_counter() - began)
        found.append(rows.tolist())
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, mapped = (
        round(int(status[key].split()[0]) * 1024 / 1e6, 1) for key in ("RssAnon", "RssFile")
    )
    searched = _Searched(times(seconds), found, own, mapped)
    (folder / "searched.json").write_bytes(msgspec.json.encode(searched))


if __name__ == "__main__":
    {"build": _build, "search": _search}[sys.argv[2]](Path(sys.argv[1]))
