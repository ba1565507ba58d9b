"""Kill -9 and damaged files: what was acknowledged stays, what was removed stays away."""

import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from retrieval.collection import Collection
from retrieval.collections import Collections
from retrieval.database import CompactionFailed, CorruptIndex
from retrieval.journal import files_of
from tests.retrieval.collecting import add, entry, find, ids, opened

# Adds, replaces, removes and compacts at random, and says so before and after each act.
_WRITER = """
import json, random, sys, threading
from pathlib import Path
from tests.retrieval.collecting import add, entry, opened

def say(*what):
    sys.stdout.write(json.dumps(what) + "\\n")
    sys.stdout.flush()

collection = opened(Path(sys.argv[1])).open("facts", create=True)
seed, compacts = int(sys.argv[2]), sys.argv[3] == "compact"
chance = random.Random(seed)

def compact():
    while True:
        collection.compact()
        say("compacted")

if compacts:
    threading.Thread(target=compact, daemon=True).start()
say("open")
for act in range(1_000_000):
    name, text = f"d{chance.randrange(30)}", f"fact {seed}x{act}"
    what = ("remove", name, "") if chance.random() < 0.3 else ("add", name, text)
    say("begin", *what)
    if what[0] == "add":
        add(collection, entry(name, text, text + " again"))
    else:
        collection.remove(documents=[name])
    say("done", *what)
"""


class _Expected:
    """What documents must and may be there, from what a killed writer said."""

    def __init__(self) -> None:
        self.sure: dict[str, str] = {}
        self.perhaps: tuple[str, str] | None = None

    def follow(self, lines: list[list[str]]) -> None:
        self.perhaps = None
        for line in lines:
            if line[0] == "begin":
                self.perhaps = (line[2], line[3])
            elif line[0] == "done":
                self._settle(line[2], line[3])
                self.perhaps = None

    def check(self, collection: Collection) -> None:
        found: dict[str, set[str]] = {}
        for hit in find(collection, "fact", limit=1000):
            text = hit.passage.text.removesuffix(" again")
            found.setdefault(hit.document.id, set()).add(text)
        there = {name: texts.pop() for name, texts in found.items() if len(texts) == 1}
        assert len(there) == len(found), "passages of several versions"
        if self.perhaps is not None:
            name, text = self.perhaps
            assert there.get(name, "") in (self.sure.get(name, ""), text)
            self._settle(name, there.get(name, ""))
        assert there == self.sure

    def _settle(self, name: str, text: str) -> None:
        if text:
            self.sure[name] = text
        else:
            self.sure.pop(name, None)


@pytest.mark.slow
@pytest.mark.parametrize(("compacts", "kills"), [("", 15), ("compact", 12)])
def test_a_killed_writer_loses_nothing_that_it_acknowledged(
    tmp_path: Path, compacts: str, kills: int
) -> None:
    chance, expected, acts, compacted = random.Random(5), _Expected(), 0, 0
    for seed in range(kills):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), str(seed), compacts],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        lines = [json.loads(writer.stdout.readline())]
        assert lines == [["open"]] or lines == [["compacted"]]
        time.sleep(chance.random() * (4.0 if compacts else 0.3))
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate()
        lines += [json.loads(line) for line in rest.splitlines(keepends=True) if line[-1] == "\n"]
        acts += sum(line[0] == "done" for line in lines)
        compacted += sum(line[0] == "compacted" for line in lines)
        expected.follow(lines)
        collections = opened(tmp_path)
        collection = collections.open("facts")
        expected.check(collection)
        assert collection.stats().fallbacks == 0
        collections.close()
    assert acts > 5 * kills
    assert not compacts or compacted > 0


@pytest.mark.slow
def test_a_killed_compaction_changes_nothing_and_the_next_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = _two_generations(tmp_path).open("facts")
    popen, chance = subprocess.Popen, random.Random(2)

    def start_and_kill(*args: Any, **options: Any) -> Any:
        process = popen(*args, **options)
        threading.Timer(chance.random() * 0.6, process.kill).start()
        return process

    for number in range(4):
        with monkeypatch.context() as patch:
            patch.setattr("retrieval.compaction.subprocess.Popen", start_and_kill)
            with pytest.raises(CompactionFailed):
                collection.compact()
        add(collection, entry(f"during{number}", "apples"))
        assert "b" in ids(find(collection, "apples"))
    collection.compact()
    assert sorted(ids(find(collection, "apples"))) == ["a", "b"] + [f"during{n}" for n in range(4)]
    assert collection.stats().delta_passages == 0
    assert not list(tmp_path.glob("facts/generations/building*"))
    collection.close()


def _two_generations(folder: Path) -> Collections:
    collections = opened(folder)
    collection = collections.open("facts", create=True)
    add(collection, entry("a", "apples one"), entry("gone", "apples gone"))
    collection.compact()
    add(collection, entry("b", "apples two"))
    collection.remove(documents=["gone"])
    collection.compact()
    return collections


_FILES = [
    "manifest.json",
    "documents.bin",
    "documents.starts.npy",
    "passages.bin",
    "owners.npy",
    "names.npy",
    "times.npy",
    "supersessions.msgpack",
    "vectors.npy",
    "dense.faiss",
    "data.csc.index.npy",
    "vocabulary.msgpack",
    "tokens.npy",
]


@pytest.fixture(scope="module")
def generations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generations")
    _two_generations(folder).close()
    return folder


@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize("harm", ["flip", "cut", "delete"])
def test_a_damaged_generation_is_passed_over_and_nothing_is_lost(
    tmp_path: Path, generations: Path, name: str, harm: str
) -> None:
    shutil.copytree(generations, tmp_path / "copy")
    path = tmp_path / "copy" / "facts" / "generations" / "g00000002" / name
    _harm(path, harm)
    collections = opened(tmp_path / "copy")
    collection = collections.open("facts")
    stats = collection.stats()
    assert (stats.generation, stats.fallbacks) == ("g00000001", 1)
    assert sorted(ids(find(collection, "apples"))) == ["a", "b"]
    add(collection, entry("c", "apples three"))
    assert collection.wants_compaction()
    collections.close()


def test_a_collection_is_whole_again_after_a_fallback_and_a_compaction(
    tmp_path: Path, generations: Path
) -> None:
    shutil.copytree(generations, tmp_path / "copy")
    _harm(tmp_path / "copy/facts/generations/g00000002/vectors.npy", "flip")
    collections = opened(tmp_path / "copy")
    collections.open("facts").compact()
    assert not collections.open("facts").wants_compaction()
    collections.close()
    collections = opened(tmp_path / "copy")
    stats = collections.open("facts").stats()
    assert (stats.generation, stats.fallbacks) == ("g00000003", 0)
    assert sorted(ids(find(collections.open("facts"), "apples"))) == ["a", "b"]
    collections.close()


def test_all_generations_damaged_is_an_error_and_the_collection_can_be_dropped(
    tmp_path: Path, generations: Path
) -> None:
    shutil.copytree(generations, tmp_path / "copy")
    for name in ("g00000001", "g00000002"):
        _harm(tmp_path / f"copy/facts/generations/{name}/passages.bin", "flip")
    collections = opened(tmp_path / "copy")
    if files_of(tmp_path / "copy/facts/journal")[0] == 1:  # the journal still has everything
        assert sorted(ids(find(collections.open("facts"), "apples"))) == ["a", "b"]
        assert collections.open("facts").stats().fallbacks == 2
        collections.open("facts").compact()
        collections.open("facts").compact()
        collections.close()
        for path in (tmp_path / "copy/facts/generations").glob("g*/passages.bin"):
            _harm(path, "flip")
        collections = opened(tmp_path / "copy")
    with pytest.raises(CorruptIndex, match=r"passages\.bin"):
        collections.open("facts")
    collections.drop("facts")
    assert collections.names() == []


@pytest.mark.parametrize("harm", ["flip", "cut", "delete"])
def test_a_damaged_pointer_is_passed_over(tmp_path: Path, generations: Path, harm: str) -> None:
    shutil.copytree(generations, tmp_path / "copy")
    _harm(tmp_path / "copy/facts/current", harm)
    collections = opened(tmp_path / "copy")
    collection = collections.open("facts")
    assert collection.stats().generation == "g00000002"
    assert sorted(ids(find(collection, "apples"))) == ["a", "b"]
    collections.close()


def test_damage_inside_the_journal_costs_that_record_alone_and_is_counted(tmp_path: Path) -> None:
    collections = opened(tmp_path)
    collection = collections.open("facts", create=True)
    path = tmp_path / "facts" / "journal" / "00000001.journal"
    add(collection, entry("a", "apples"))
    middle = path.stat().st_size + 200
    add(collection, entry("b", "apples"))
    add(collection, entry("c", "apples"))
    collections.close()
    data = bytearray(path.read_bytes())
    data[middle] ^= 1
    path.write_bytes(data)
    collections = opened(tmp_path)
    collection = collections.open("facts")
    assert sorted(ids(find(collection, "apples"))) == ["a", "c"]
    assert collection.stats().fallbacks == 1
    add(collection, entry("d", "apples"))
    collections.close()
    collections = opened(tmp_path)
    assert sorted(ids(find(collections.open("facts"), "apples"))) == ["a", "c", "d"]
    collections.close()


def test_a_record_that_was_cut_off_was_never_there_wherever_the_cut_is(tmp_path: Path) -> None:
    collections = opened(tmp_path)
    collection = collections.open("facts", create=True)
    path = tmp_path / "facts" / "journal" / "00000001.journal"
    begun = path.stat().st_size
    add(collection, entry("a", "apples"))
    whole = path.stat().st_size
    add(collection, entry("b", "apples"))
    collections.close()
    data = path.read_bytes()
    for cut in (0, 3, begun - 1, begun, begun + 5, whole - 1, whole, whole + 7, len(data) - 1):
        path.write_bytes(data[:cut])
        collections = opened(tmp_path)
        collection = collections.open("facts")
        assert ids(find(collection, "apples")) == (["a"] if cut >= whole else [])
        assert collection.stats().fallbacks == 0
        add(collection, entry("z", "apples"))
        collections.close()
        collections = opened(tmp_path)
        assert "z" in ids(find(collections.open("facts"), "apples"))
        collections.close()


def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collections = opened(tmp_path)
    collection = collections.open("facts", create=True)
    with monkeypatch.context() as patch:
        patch.setattr("retrieval.journal.os.fdatasync", _full)
        with pytest.raises(OSError, match="No space"):
            add(collection, entry("lost", "apples"))
    assert find(collection, "apples") == []
    add(collection, entry("a", "apples"))
    collections.close()
    collections = opened(tmp_path)
    assert ids(find(collections.open("facts"), "apples")) == ["a"]
    collections.close()


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")


def _harm(path: Path, harm: str) -> None:
    data = bytearray(path.read_bytes())
    if harm == "delete":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 0x10
        path.write_bytes(data)
