"""`python -m loadtests.retrieval`: measures retrieval and writes the report.

Real texts come from BANKING77 and, with `--debian`, from the descriptions of Debian packages (the
file `Translation-en.xz` of a mirror's `dists/bookworm/main/i18n`, or its address). Their vectors
are made once and kept in the work folder, and so are indexes, so that an interrupted run goes on
where it was; `--resume` also keeps what `retrieval.json` has already.
"""

import argparse
import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from loadtests.bench.process import ROOT, StartFailed, without_root
from loadtests.bench.results import machine
from loadtests.retrieval import (
    changed,
    chart,
    freshness,
    latency,
    million,
    quality,
    report,
    results,
    texts,
)
from loadtests.retrieval.goals import goals
from loadtests.retrieval.results import Results
from loadtests.retrieval.serving import prepare, say
from loadtests.retrieval.vectors import VectorCache, perturbed
from retrieval.client import RetrievalFailed, RetrievalUnavailable
from retrieval.embedder import Embedder, HashEmbedder, SentenceTransformerEmbedder, Vectors

MEASURES = ("served", "fresh", "quality", "changed", "large")


@dataclass(frozen=True)
class Sizes:
    """How much is measured: counts, and `seconds` before and after a compaction."""

    passages: int = 100_000
    vectors: int = 1_000_000
    searches: int = 1_000
    apart: int = 2_000
    queries: int = 2_000
    intents: int = 10**6
    facts: int = 50
    rate: float = 50.0
    seconds: float = 30.0


QUICK = Sizes(3_000, 25_000, 60, 200, 100, 200, 10, 20.0, 2.0)


@dataclass
class Bench:
    """What the measures share."""

    sizes: Sizes
    work: Path
    model: str
    embedder: Embedder
    cache: VectorCache
    train: list[texts.Question]
    test: list[texts.Question]
    every: list[texts.Package]
    apart: list[texts.Package]
    real: int

    def corpus(self) -> tuple[list[str], Vectors, int]:
        """Return the passages, their vectors, and how many are copies of others."""
        found = texts.passages(self.train, self.every, self.apart, self.sizes.passages)
        known = found[: self.real]
        vectors = self.cache.of(known, "passages")
        copies, noisy = perturbed(known, vectors, self.sizes.passages - len(known))
        return [*known, *copies], np.concatenate((vectors, noisy)), len(copies)

    def questions(self) -> list[str]:
        """Return questions of both kinds, none of which is a passage."""
        half = self.sizes.searches // 2
        asked = [question.text for question in self.test[:half]]
        asked += [package.synopsis for package in self.apart[:half]]
        return list(dict.fromkeys([*asked, *(q.text for q in self.test)]))[: self.sizes.searches]

    def served(self, found: Results) -> None:
        """Measure searches through the service."""
        passages, vectors, copies = self.corpus()
        prepare(self.work / "served", self.embedder, passages, vectors)
        asked = self.questions()
        found.served = asyncio.run(
            latency.measure(
                self.work / "served", self.model, passages, vectors, copies, asked,
                self.cache.of(asked, "questions"),
            )
        )  # fmt: skip

    def large(self, found: Results) -> None:
        """Measure the dense index by itself."""
        _, vectors, copies = self.corpus()
        asked = self.cache.of(self.questions(), "questions")
        real = vectors[: len(vectors) - copies]
        found.large = million.measure(self.work / "large", real, asked, self.sizes.vectors)

    def fresh(self, found: Results) -> None:
        """Measure upserts and compaction under searches."""
        passages, vectors, _ = self.corpus()
        prepare(self.work / "served", self.embedder, passages, vectors)
        shutil.rmtree(self.work / "fresh", ignore_errors=True)
        shutil.copytree(self.work / "served", self.work / "fresh",
                        ignore=shutil.ignore_patterns("*.sock", "*.log"))  # fmt: skip
        found.fresh = asyncio.run(
            freshness.measure(
                self.work / "fresh", self.model, len(passages), self.questions(),
                self.sizes.rate, self.sizes.seconds,
            )
        )  # fmt: skip

    def quality(self, found: Results) -> None:
        """Measure rankings on labelled sets."""
        sets = [quality.banking77(self.train, self.test[: self.sizes.intents])]
        if self.apart:
            sets.append(quality.debian(self.apart, self.sizes.queries))
        found.quality = [
            quality.measure(self.work / "quality", self.embedder, self.cache, each)
            for each in sets
        ]  # fmt: skip

    def changed(self, found: Results) -> None:
        """Measure what is cited after facts have changed."""
        folder = self.work / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "indexes").mkdir(parents=True)
        found.changed = asyncio.run(changed.measure(folder, self.model, self.sizes.facts))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure, and write the report; returns the exit status."""
    options = _options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    raw = options.out / "retrieval.json"
    try:
        found = _begin(raw, options, sys.argv[1:] if arguments is None else arguments)
        bench = _bench(options)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    measures: dict[str, Callable[[Results], None]] = {
        name: getattr(bench, name) for name in MEASURES if name in options.only
    }
    for name, measure in measures.items():
        if options.resume and getattr(found, name):
            continue
        say(f"measuring: {name}")
        found.failures.pop(name, None)
        try:
            measure(found)
        except (RetrievalUnavailable, RetrievalFailed, StartFailed, OSError) as error:
            found.failures[name] = without_root(str(error))
            say(f"{name} FAILED: {found.failures[name]}")
        found.save(raw)
        (options.out / "retrieval.md").write_text(report.markdown(found))
        chart.draw(found, options.out / "retrieval.png")
    for goal in goals(found):
        print(f"{goal.verdict.strip('*'):12} {goal.claim}: {goal.measured}")
    return 1 if found.failures else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.retrieval", description=__doc__)
    data = os.environ.get("DRIFTGATE_TEST_DATA", ROOT.parent / "shared" / "data")
    home = ROOT / ".driftgate"
    # fmt: off
    parser.add_argument("--debian", default="", metavar="PATH_OR_URL",
                        help="Translation-en.xz; without it Debian's texts are left out")
    parser.add_argument("--banking77", type=Path, default=Path(data) / "banking77",
                        help="folder of BANKING77's train.csv and test.csv")
    parser.add_argument("--model", default=str(home / "models" / "all-minilm-l6-v2"),
                        help="folder of the embedder, or `hash` for the stub")
    parser.add_argument("--work", type=Path, default=home / "bench-retrieval",
                        help="folder of vectors and indexes, which are kept (4 GB)")
    parser.add_argument("--out", type=Path, default=ROOT / "loadtests" / "results",
                        help="folder of retrieval.md, retrieval.png and retrieval.json")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES, metavar="MEASURE",
                        help=f"which to measure: {', '.join(MEASURES)}")
    parser.add_argument("--real", type=int, default=10**9,
                        help="embed at most so many passages; the others are copies of them")
    parser.add_argument("--resume", action="store_true", help="go on from retrieval.json")
    parser.add_argument("--quick", action="store_true", help="little of everything: a smoke test")
    # fmt: on
    options = parser.parse_args(arguments)
    options.work, options.out = options.work.resolve(), options.out.resolve()
    return options


def _begin(raw: Path, options: argparse.Namespace, arguments: Sequence[str]) -> Results:
    if options.resume:
        try:
            return results.load(raw)
        except msgspec.MsgspecError as error:
            raise ValueError(f"--resume: {raw}: {error}") from error
    return Results(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        # Where files lie is this machine's business.
        command=shlex.join(
            [
                "python",
                "-m",
                "loadtests.retrieval",
                *(each.rpartition("/")[2] for each in arguments),
            ]
        ),
        machine=machine(),
    )


def _bench(options: argparse.Namespace) -> Bench:
    embedder: Embedder
    if options.model == "hash":
        embedder = HashEmbedder()
    elif Path(options.model).is_dir():
        embedder = SentenceTransformerEmbedder(Path(options.model), os.cpu_count() or 1)
    else:
        raise ValueError(f"there is no folder {options.model} (driftgate models pull)")
    options.work.mkdir(parents=True, exist_ok=True)
    sizes = QUICK if options.quick else Sizes()
    every = texts.packages(texts.fetched(options.debian, options.work)) if options.debian else []
    return Bench(
        sizes=sizes,
        work=options.work,
        model=options.model,
        embedder=embedder,
        cache=VectorCache(options.work / "vectors", embedder),
        train=texts.questions(options.banking77, "train"),
        test=texts.questions(options.banking77, "test"),
        every=every,
        apart=texts.held_apart(every, sizes.apart),
        real=options.real,
    )


if __name__ == "__main__":
    raise SystemExit(main())
