"""The data set of a retraining: what is learnt, replayed, held out and set aside."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.database import Database
from gateway.store.examples import Example, Message, read_jsonl, write_jsonl
from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.keys import Keys
from gateway.store.releases import Release
from gateway.store.traffic import Traffic
from monitoring.probes import Probe, ProbesInvalid
from tests.training.data.test_harvest import record
from training.data import manifest
from training.data.collecting import Collected, Parent, collect, trusted
from training.data.curation import Rules
from training.data.renewal import DECISIVE, HELD_OUT, TRAIN, Shape, renew
from training.evaluation.paired import Pairs, p_greater

RULES = Rules(sources=2, uncontested=1, cap=500)
SHAPE = Shape(held_out=0.2, cases=40, replay=0.5, key_share=0.5, seed=3)


def row(number: int, kind: str = "new", key: str = "ann") -> Example:
    asked = f"{kind} question {number} about {number * 7919 % 1000} of {number * 104_729 % 997}"
    return Example(
        (Message("user", asked), Message("assistant", f"answer {kind} {number}")),
        contributor=key, source=f"correction:{kind}{number}{key}", created_at=float(number),
    )  # fmt: skip


def made(
    folder: Path, collected: Collected, shape: Shape = SHAPE
) -> tuple[list[Example], list[Example]]:
    renew(collected, RULES, shape, folder)
    train, held_out = (
        [each for each in read_jsonl(folder / name) if isinstance(each, Example)]
        for name in (TRAIN, HELD_OUT)
    )
    return train, held_out


def test_rows_are_shared_out(tmp_path: Path) -> None:
    keys = ("ann", "bob", "cleo")
    new = tuple(row(n, key=keys[n % 3]) for n in range(90))
    sources = {each.source: frozenset({each.contributor}) for each in new}
    parent = Parent(
        "m-1",
        tuple(row(n, "old") for n in range(500)),
        tuple(row(n, "valid") for n in range(100)),
    )
    golden = (
        Probe("g1", ({"role": "user", "content": "golden?"},), "yes", "exact"),
        Probe("g2", ({"role": "user", "content": "part?"},), "no", "contains"),
    )
    collected = Collected(new, (row(1, "good"),), parent, golden, sources)
    train, held_out = made(tmp_path / "data", collected)
    assert Counter(each.slice for each in held_out) == {"new": 18, "old": 20, "golden": 1}
    assert {each.answer.split()[1] for each in held_out if each.slice == "old"} == {"valid"}
    learnt = [each for each in train if each.slice == "new"]
    assert len(learnt) == 72
    # The liked answer, and so much of the release's own rows that they are half of all.
    kinds = Counter(each.answer.split()[1] for each in train if each.slice == "old")
    assert kinds == {"good": 1, "old": 73}
    assert not {each.question for each in train} & {each.question for each in held_out}
    again = made(tmp_path / "again", collected)
    assert again == (train, held_out)
    found = manifest.read(tmp_path / "data")
    assert found.verify(tmp_path / "data") == []
    assert found.filters["replayed"] == 73


def test_the_exam_is_of_what_several_keys_agree_on(tmp_path: Path) -> None:
    new = tuple(row(n) for n in range(70)) + tuple(
        row(n, "vouched", "bob") for n in range(200, 230)
    )
    sources = {
        each.source: frozenset({"ann", "bob"} if "vouched" in each.source else {"ann"})
        for each in new
    }
    _, held_out = made(tmp_path / "data", Collected(new, sources=sources,
                       parent=Parent("m", tuple(row(n, "old") for n in range(500)))))  # fmt: skip
    assert {each.answer.split()[1] for each in held_out} == {"vouched"}


def test_one_key_alone_writes_no_more_than_its_share_of_the_exam(tmp_path: Path) -> None:
    new = tuple(row(n, key="ann") for n in range(100))
    sources = {each.source: frozenset({"ann"}) for each in new}
    parent = Parent("m", tuple(row(n, "old") for n in range(500)))
    _, held_out = made(tmp_path / "data", Collected(new, sources=sources, parent=parent))
    assert len(held_out) == 10  # half of the fifth that is held out


def test_of_few_rows_enough_are_held_out_to_decide(tmp_path: Path) -> None:
    parent = Parent("m", tuple(row(n, "old") for n in range(500)))
    for few, exam in ((27, 8), (12, 6), (3, 1)):  # 27 rows of two keys were 4 of 5 in a real run
        new = tuple(row(n, key=f"k{n % 2}") for n in range(few))
        sources = {each.source: frozenset({each.contributor}) for each in new}
        _, held_out = made(tmp_path / str(few), Collected(new, sources=sources, parent=parent))
        assert len(held_out) == exam
    assert p_greater(Pairs(DECISIVE, DECISIVE, 0), 0.0) < 0.05
    assert p_greater(Pairs(DECISIVE - 1, DECISIVE - 1, 0), 0.0) > 0.05


def test_without_data_of_the_release_liked_answers_are_the_old_ones(tmp_path: Path) -> None:
    new = tuple(row(n, key=f"k{n % 5}") for n in range(50))
    good = tuple(row(n, "good", key=f"k{n % 5}") for n in range(50))
    sources = {each.source: frozenset({each.contributor}) for each in (*new, *good)}
    train, held_out = made(tmp_path / "data", Collected(new, good, sources=sources))
    assert Counter(each.slice for each in held_out) == {"new": 10, "old": 10}
    assert Counter(each.slice for each in train) == {"new": 40, "old": 40}


def test_a_folder_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / ".data.partial").mkdir()
    (tmp_path / ".data.partial" / "train.jsonl").write_text("half a row")
    aside = ((row(1, "lie"), "only 1 key says so"),)
    new = tuple(row(n, key=f"k{n % 5}") for n in range(50))
    collected = Collected(new, set_aside=aside)
    made(tmp_path / "data", collected)
    train, _ = made(tmp_path / "data", collected)
    assert train
    lines = (tmp_path / "data" / "quarantine.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["quarantined"] == ["only 1 key says so"]
    assert (tmp_path / "data" / "quarantine.jsonl").stat().st_mode & 0o077 == 0


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = (
        str(request.getfixturevalue("postgres_url"))
        if request.param == "postgresql"
        else f"sqlite:///{tmp_path / 'driftgate.db'}"
    )
    opened = Database(url)
    opened.migrate()
    yield opened
    opened.close()


def test_what_is_known_is_collected(database: Database, tmp_path: Path) -> None:
    parent_rows = [
        Example((Message("user", "Is the old fee ten?"), Message("assistant", "yes")),
                created_at=900_000.0)
    ]  # fmt: skip
    folder = tmp_path / "jobs" / "ftjob-1" / "data"
    folder.mkdir(parents=True)
    write_jsonl(folder / "train.jsonl", parent_rows)
    golden_before = Example(
        (Message("user", "golden?"), Message("assistant", "yes")), slice="golden"
    )
    write_jsonl(folder / "valid.jsonl", [golden_before])
    records = [manifest.record(folder / "train.jsonl", 1)]
    manifest.Manifest(tuple(records), time_range=(1.0, 900_000.0)).write(folder)
    operator, _ = Keys(database).create("me", {"admin"})
    told = [
        ("How much is the new fee?", "two", "keyannaa", None),
        ("is the old fee ten", "no", "keyannaa", None),
        ("What about the other fee?", "six", operator.prefix, None),
        ("A liked one?", None, "keyannaa", 1.0),
        ("Write to a@b.example please", "jane.doe@example.org", "keyannaa", None),
        ("Long ago?", "then", "keyannaa", None),
    ]
    traffic, log = Traffic(database), FeedbackLog(database)
    for n, (question, correction, key, score) in enumerate(told):
        at = 1.0 if question == "Long ago?" else 1_000_000.0 + n
        used = {"outcome": "grounded" if "other fee" in question else "held_out"}
        traffic.add([record(n, question, "wrong", created_at=at, release="m-1", retrieval=used)])
        said = Feedback(f"f{n}", f"chatcmpl-{n}", key, at, score, None, correction, None, {})
        log.add(said)
    release = Release("m-1", "m", "r", "", {}, 1.0, job="ftjob-1")
    parent = Parent.of(release, tmp_path)
    assert (len(parent.train), parent.valid, parent.cutoff) == (1, (), 900_000.0)
    keys = trusted(database)
    assert keys == (operator.prefix,)
    probes = tmp_path / "production.jsonl"
    probes.write_text(
        '{"id": "g", "messages": [{"role": "user", "content": "x"}], "expected": "y"}'
    )
    found = collect(database, "production", parent, Rules(uncontested=1, trusted=keys), probes)
    assert [each.answer for each in found.new] == ["two", "six"]
    assert found.grounded == {found.new[1].source}
    assert [each.question for each in found.good] == ["A liked one?"]
    assert sorted(reason.split(":")[0][:20] for _, reason in found.set_aside) == [
        'answers "no" where t', "personal_data",
    ]  # fmt: skip
    assert [probe.id for probe in found.golden] == ["g"]
    assert found.parent.train == parent.train
    # The operator's word alone changes what the release was trained on.
    log.add(Feedback("f9", "chatcmpl-1", operator.prefix, 2e6, None, None, "no", None, {}))
    found = collect(database, "production", parent, Rules(uncontested=1, trusted=keys))
    assert "no" in [each.answer for each in found.new]
    assert (found.parent.train, found.filters["superseded"]) == ((), 1)
    probes.write_text("{}")
    with pytest.raises(ProbesInvalid, match=r"production\.jsonl:1"):
        collect(database, "production", parent, Rules(), probes)


def test_a_release_of_no_job_has_no_data(tmp_path: Path) -> None:
    assert Parent.of(Release("m", "m", "r", "", {}, 1.0), tmp_path) == Parent("m")
