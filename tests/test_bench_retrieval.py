"""The benchmark of retrieval: its figures, and a quick run of everything with the stub embedder."""

import csv
import lzma
import random
from pathlib import Path

import numpy as np
import pytest

from loadtests.bench.results import Machine
from loadtests.retrieval import __main__ as bench
from loadtests.retrieval import report, results, texts
from loadtests.retrieval.goals import goals
from loadtests.retrieval.results import Changed, Figures, Fresh, Interval, Labelled, Results, Served
from loadtests.retrieval.statistics import interval, ndcg, nearest, recall, recall_at, times
from loadtests.retrieval.vectors import VectorCache, perturbed
from retrieval.embedder import HashEmbedder

_MACHINE = Machine(2, "a CPU", 24.0, "6.1", "3.11.9")


def test_ranking_quality() -> None:
    assert ndcg(["a", "b"], {"a"}) == 1.0
    assert ndcg(["b", "a"], {"a"}) == pytest.approx(1 / np.log2(3))
    assert ndcg(["x", "a", "b"], {"a", "b"}) == pytest.approx(
        (1 / np.log2(3) + 0.5) / (1 + 1 / np.log2(3))
    )
    assert recall_at(["x", "a"], {"a", "b"}) == 0.5
    assert recall_at(list("abcdefghij"), set("abcdefghijkl")) == 1.0


def test_recall_against_exact_search() -> None:
    vectors = np.random.default_rng(1).standard_normal((60, 8)).astype(np.float32)
    queries = vectors[:2]
    order = np.argsort(-(queries @ vectors.T), axis=1)
    assert np.array_equal(nearest(vectors, queries), order[:, :10])
    first, second = order.tolist()
    assert recall([first[:10], second[:10]], vectors, queries) == 1.0
    assert recall([first[:10], second[:5] + second[20:25]], vectors, queries) == 0.75
    assert recall([first[:10], []], vectors, queries) == 0.5
    same = np.ones((30, 2), np.float32)
    assert recall([[29, *range(9)]], same, same[:1]) == 1.0  # all are equally near


def test_intervals_hold_the_mean_and_narrow_with_more_questions() -> None:
    draw = random.Random(1)
    few, many = ([draw.random() for _ in range(count)] for count in (50, 5000))
    found = interval(few)
    assert found.low < found.mean < found.high
    assert interval(many).high - interval(many).low < (found.high - found.low) / 3
    measured = times([0.001] * 99 + [0.2])
    assert (measured.count, measured.p50) == (100, 1.0)
    assert len(measured.curve) == 100


def test_vectors_are_made_once_and_survive_a_kill(tmp_path: Path) -> None:
    embedder = HashEmbedder(8)
    cache = VectorCache(tmp_path, embedder)
    first = cache.of(["a", "b", "a"], "texts")
    assert np.array_equal(first[0], first[2])
    with (tmp_path / "hash-8.f4").open("ab") as file:
        file.write(b"half a vector")
    again = VectorCache(tmp_path, embedder)
    assert again.missing(["a", "c"]) == ["c"]
    assert np.array_equal(again.of(["c", "b"], "texts"), embedder.embed(["c", "b"])[0])
    copies, noisy = perturbed(["one two", "three"], first[:2], 5)
    assert len(set(copies)) == 5
    assert np.allclose(np.linalg.norm(noisy, axis=1), 1, atol=1e-5)


def _packages(path: Path, count: int) -> Path:
    words = [f"word{number}" for number in range(400)]
    draw = random.Random(2)
    stanzas = []
    for number in range(count):
        about = draw.sample(words, 12)
        stanzas.append(
            f"Package: package-{number}\nDescription-md5: x\n"
            f"Description-en: a tool for {' '.join(about[:4])} {number}\n"
            f" This tool does {' '.join(about)} number {number}.\n .\n"
            f" It comes with {' '.join(draw.sample(words, 20))} for {number}.\n\n"
        )
    with lzma.open(path, "wt") as file:
        file.write("".join(stanzas))
    return path


def _questions(folder: Path) -> Path:
    draw = random.Random(3)
    folder.mkdir()
    for part, count in (("train", 1500), ("test", 150)):
        with (folder / f"{part}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("text", "category"))
            for number in range(count):
                intent = draw.randrange(40)
                text = f"please {part} {number} about topic{intent} matter{draw.randrange(90)}"
                rows.writerow((text, f"intent{intent}"))
    return folder


def test_packages_are_read_and_held_apart(tmp_path: Path) -> None:
    every = texts.packages(_packages(tmp_path / "t.xz", 100))
    assert len(every) == 100
    assert every[7].name == "package-7"
    assert every[7].synopsis.startswith("a tool for word")
    assert len(list(texts.paragraphs(every[7]))) == 2
    apart = texts.held_apart(every, 20)
    assert len({package.name for package in apart}) == 20
    train = [texts.Question("a question", "x")]
    passages = texts.passages(train, every, apart, 10_000)
    assert len(set(passages)) == len(passages)
    assert not {package.synopsis for package in apart} & set(passages)


def _labelled(hybrid: float) -> Labelled:
    def figures(mean: float) -> Figures:
        one = Interval(mean, mean - 0.01, mean + 0.01)
        return Figures(one, one)

    modes = {"lexical": figures(0.5), "dense": figures(0.7), "hybrid": figures(hybrid)}
    gains = {"lexical": figures(hybrid - 0.5), "dense": figures(hybrid - 0.7)}
    return Labelled("A set", "a note", 10, 5, modes, gains)


def test_goals_are_decided_by_the_numbers() -> None:
    fast = times([0.012] * 99 + [0.03])
    found = Results("2026-11-27T12:00:00+00:00", "python -m x", _MACHINE)
    assert {goal.met for goal in goals(found)} == {None}
    found.served = Served(100_000, 0, 20.0, "e", fast, fast, 0.94)
    found.changed = Changed(50, 50, 50, 49, 1, ["a question → the old"])
    found.quality = [_labelled(0.75), _labelled(0.69)]
    found.fresh = Fresh(
        100_000, 50.0, 1000, 1, ["no answer"], fast, 31.0, fast, fast, [(1.0, 2.0)], [], []
    )
    met = {goal.claim: goal.met for goal in goals(found)}
    assert [met[claim] for claim in met if claim.startswith("Search in 100,000")] == [True]
    assert [met[claim] for claim in met if "against exact" in claim] == [False]
    assert [goal.met for goal in goals(found) if goal.claim.startswith("A set")] == [
        *(True, True, False, False)
    ]
    assert met["No search fails, also during compaction"] is False
    assert [met[claim] for claim in met if "changed facts" in claim] == [False]
    assert "**missed**" in report.markdown(found)
    found.served = Served(3_000, 0, 20.0, "e", fast, fast, 1.0)
    small = next(goal for goal in goals(found) if goal.claim.startswith("Search in 100,000"))
    assert small.met is None
    assert small.measured.endswith("(of 3,000 only)")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_quick_run_writes_the_table_the_plot_and_the_figures(tmp_path: Path) -> None:
    arguments = [
        *("--quick", "--model", "hash", "--out", str(tmp_path / "out")),
        *("--work", str(tmp_path / "work"), "--banking77", str(_questions(tmp_path / "questions"))),
        *("--debian", str(_packages(tmp_path / "Translation-en.xz", 1500))),
    ]
    assert bench.main(arguments) == 0
    found = results.load(tmp_path / "out" / "retrieval.json")
    assert found.failures == {}
    assert found.served is not None
    assert found.served.passages == 3_000
    assert found.served.recall > 0.9
    assert found.large is not None
    assert found.large.vectors == 25_000
    assert found.fresh is not None
    assert found.fresh.failed == 0
    assert found.fresh.visible.count > 0
    assert len(found.fresh.compactions) == 1
    assert [labelled.name for labelled in found.quality] == ["BANKING77", "Debian packages"]
    assert found.changed is not None
    assert found.changed.facts == 10
    table = (tmp_path / "out" / "retrieval.md").read_text()
    rows = [line for line in table.partition("## Goals")[2].splitlines() if line.startswith("| ")]
    assert sum(line.count("|") == 4 for line in rows[:12]) == 12
    assert str(tmp_path) not in table
    assert (tmp_path / "out" / "retrieval.png").read_bytes().startswith(b"\x89PNG")
    assert bench.main([*arguments, "--resume"]) == 0  # and nothing is measured again
    assert results.load(tmp_path / "out" / "retrieval.json") == found
