"""`driftgate index` against a real service process with the stub embedder."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.commands.index import app
from gateway.commands.index_sources import sources
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.files import Files
from gateway.store.keys import Keys
from gateway.store.vector_store_files import VectorStoreFiles
from gateway.store.vector_stores import VectorStores
from tests.gateway.running import wait
from tests.retrieval.serving import process

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a service."""
    home = tmp_path / "home"
    monkeypatch.setenv("DRIFTGATE_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "160")
    return home


@pytest.fixture
def served(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The home's service."""
    with process(home, Settings().retrieval_socket()) as started:
        yield started


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder of documents; two of them are bad, and two are no documents."""
    folder = tmp_path / "docs"
    (folder / "cats").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "fees.md").write_text("# Fees\n\nThe monthly fee is two euros.\n")
    (folder / "cats" / "sleep.txt").write_text("Cats sleep all day.")
    (folder / "binary.txt").write_bytes(b"\x00\x01\xff\xfe\x00")
    (folder / "rows.jsonl").write_text(
        '{"id": "dogs", "text": "Dogs bark at night.", "kind": "pet"}\n{"text": "no end\n'
    )
    (folder / ".git" / "notes.md").write_text("hidden")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    return folder


def run(*arguments: str | Path, status: int = 0, given: str | None = None) -> Result:
    """Run `driftgate index …` in this process."""
    result = CliRunner().invoke(app, [str(each) for each in arguments], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result


def told(*arguments: str | Path, status: int = 0) -> Any:
    """Run `driftgate index … --json`; returns what it says."""
    return json.loads(run(*arguments, "--json", status=status).stdout)


def found(query: str, *options: str) -> list[str]:
    """Return the texts that a search of `kb` finds."""
    hits = told("search", query, "--store", "kb", *options)["hits"]
    return [hit["text"] for hit in hits]


@pytest.mark.usefixtures("served")
def test_a_folder_is_added_and_what_is_bad_is_named(home: Path, documents: Path) -> None:
    done = told("add", documents, "--store", "kb", status=1)
    files = {file["name"]: file for file in done["files"]}
    assert {name: file["state"] for name, file in files.items()} == {
        "docs/binary.txt": "failed",
        "docs/fees.md": "added",
        "docs/rows.jsonl": "partial",
        "docs/cats/sleep.txt": "added",
    }
    assert "docs/binary.txt: is binary" in files["docs/binary.txt"]["error"]
    assert "docs/rows.jsonl, line 2" in files["docs/rows.jsonl"]["error"]
    assert "fee is two euros" in found("monthly fee")[0]
    assert found("dogs bark", "--filter", "kind=pet") == ["Dogs bark at night."]
    assert found("dogs bark", "--filter", "kind=wild") == []
    assert found("cats", "--top-k", "1", "--mode", "lexical") == ["Cats sleep all day."]
    database = Database(Settings().resolved_database_url())
    (store,) = VectorStores(database).page()[0]
    assert (store.id, store.name, store.key_prefix) == (done["store"], "kb", None)
    uploads = Files(database, Settings().files_dir())
    upload = uploads.get(files["docs/fees.md"]["file_id"])
    assert upload is not None
    assert (upload.purpose, upload.filename) == ("assistants", "docs/fees.md")
    assert uploads.path(upload.id).read_bytes() == (documents / "fees.md").read_bytes()
    assert not list(Settings().files_dir().glob(".upload-*"))
    database.close()
    shown = run("add", documents, "--store", store.id, status=1)
    assert "docs/binary.txt: is binary" in shown.stdout
    assert "docs/fees.md: unchanged, 1 document, 1 passage" in shown.stdout
    assert "docs/rows.jsonl, line 2" in shown.stdout


@pytest.mark.usefixtures("served")
def test_a_changed_file_replaces_its_old_version_and_others_are_skipped(
    home: Path, documents: Path
) -> None:
    files = (documents / "fees.md", documents / "cats")
    first = {f["name"]: f for f in told("add", *files, "--store", "kb")["files"]}
    (documents / "fees.md").write_text("# Fees\n\nThe monthly fee is nine euros.\n")
    again = {f["name"]: f for f in told("add", *files, "--store", "kb")["files"]}
    assert {name: file["state"] for name, file in again.items()} == {
        "fees.md": "replaced",
        "cats/sleep.txt": "unchanged",
    }
    assert [text for text in found("monthly fee euros") if "fee" in text] == [
        "The monthly fee is nine euros."
    ]
    (row,) = told("stats")
    assert row["files"]["completed"] == 2
    assert (row["index"]["documents"], row["index"]["embedder"]) == (2, "hash-64")
    assert not (Settings().files_dir() / first["fees.md"]["file_id"]).exists()
    assert (Settings().files_dir() / again["fees.md"]["file_id"]).exists()


@pytest.mark.usefixtures("served")
def test_files_documents_and_stores_are_removed(home: Path, documents: Path) -> None:
    told("add", documents, "--store", "kb", status=1)
    done = run("remove", "docs/fees.md", "dogs", "nothing", "--store", "kb", "--yes", status=1)
    assert "files: 1, documents: 1" in done.stdout
    assert "It has no nothing." in done.stderr
    assert found("fee dogs bark cats") == ["Cats sleep all day."]
    asked = run("remove", "docs/cats/sleep.txt", "--store", "kb", given="n\n", status=1)
    assert "Remove docs/cats/sleep.txt from kb?" in asked.stderr
    assert found("cats")
    run("remove", "--store", "kb", "--all", "--yes")
    assert told("stats") == []
    assert list((home / "indexes").iterdir()) == []
    assert list((home / "files").iterdir()) == []
    assert "There is no vector store kb." in run("stats", "--store", "kb", status=2).stderr


@pytest.mark.usefixtures("served")
def test_compaction_and_tables(home: Path, documents: Path) -> None:
    run("add", documents / "fees.md", "--store", "kb")
    (done,) = told("compact", "--store", "kb")
    assert done["generation"] == "g00000001"
    table = run("stats").stdout
    assert done["id"] in table
    for word in ("kb", "of everyone", "1 completed", "1 document", "g00000001"):
        assert word in table
    table = run("search", "monthly fee", "--store", "kb").stdout
    assert "The monthly fee is two euros." in table
    assert "Fees" in table


@pytest.mark.usefixtures("served")
def test_a_keys_store_is_another_than_everyones(home: Path, documents: Path) -> None:
    database = Database(Settings().resolved_database_url())
    database.migrate()
    key = Keys(database).create("k", ("inference",))[0].prefix
    database.close()
    ours = told("add", documents / "fees.md", "--store", "kb")["store"]
    theirs = told("add", documents / "cats", "--store", "kb", "--key", key)["store"]
    assert ours != theirs
    assert found("cats fee") == ["The monthly fee is two euros."]
    assert found("cats fee", "--key", key) == ["Cats sleep all day."]
    assert {row["id"]: row["key"] for row in told("stats")} == {ours: None, theirs: key}
    wrong = run("add", documents / "fees.md", "--store", ours, "--key", key, status=2)
    assert f"{ours} is not of the key {key}" in wrong.stderr
    wrong = run("add", documents / "fees.md", "--store", "kb", "--key", "unknown1", status=2)
    assert "There is no key unknown1" in wrong.stderr


def test_without_a_service_it_says_how_to_start_it(home: Path, documents: Path) -> None:
    for command in (("add", documents), ("search", "x"), ("compact",), ("stats",)):
        result = run(*command, "--store", "kb", status=1)
        assert "retrieval service does not answer" in result.stderr
        assert "driftgate serve" in result.stderr
        assert f"--socket {Settings().retrieval_socket()}" in result.stderr
    assert not list((home / "files").glob("*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "nowhere", "--store", "kb"), "There is no nowhere."),
        (("add", "/dev/null", "--store", "kb"), "neither a file nor a folder"),
        (("search", "x", "--store", "kb", "--mode", "other"), "hybrid, dense, lexical"),
        (("search", "x", "--store", "kb", "--filter", "kind"), "neither NAME=VALUE nor JSON"),
        (("search", "x", "--store", "kb", "--filter", "{"), "--filter {"),
        (("search", "x", "--store", "kb", "--filter", '{"type": "is"}'), "filters.type"),
        (("remove", "--store", "kb"), "Name what to remove"),
    ],
)
@pytest.mark.usefixtures("home")
def test_what_is_wrong_is_named(arguments: tuple[str, ...], message: str) -> None:
    assert message in run(*arguments, status=2).stderr


def test_sources_are_named_by_their_folder(documents: Path) -> None:
    names = [source.name for source in sources([documents, documents / "fees.md"])]
    assert names == ["docs/binary.txt", "docs/fees.md", "docs/rows.jsonl", "docs/cats/sleep.txt"]
    assert [s.name for s in sources([documents / "picture.png"])] == ["picture.png"]
    (documents / "cats" / "fees.md").write_text("other")
    with pytest.raises(ValueError, match=r"both be called fees\.md"):
        sources([documents / "fees.md", documents / "cats" / "fees.md"])


_MANY = 40  # a fast machine must not have added all of them before it is interrupted


@pytest.mark.usefixtures("served")
def test_after_ctrl_c_the_same_command_goes_on(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(_MANY):
        (folder / f"{number:02}.txt").write_text(f"Fact {number} is about zebra{number}.")
    command = [sys.executable, "-c", "from gateway.commands.index import app; app()"]
    command += ["add", str(folder), "--store", "kb"]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"COLUMNS": "99"})

    def completed() -> int:
        database = Database(Settings().resolved_database_url())
        try:
            ids = [store.id for store in VectorStores(database).page()[0]]
            return sum(each.completed for each in VectorStoreFiles(database).counts(ids).values())
        finally:
            database.close()

    wait(lambda: (home / "driftgate.db").exists() and (home / "files").exists(), 30)
    time.sleep(1.0)
    wait(lambda: completed() >= 1, 30)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 130, errors
    assert b"the same command goes on with the rest" in errors
    before = completed()
    assert 1 <= before < _MANY
    done = told("add", folder, "--store", "kb")
    states = [file["state"] for file in done["files"]]
    assert states.count("unchanged") == before
    assert len(states) == _MANY
    assert set(states) == {"added", "unchanged"}
    assert told("stats")[0]["index"]["documents"] == _MANY
    assert len(list((home / "files").iterdir())) == _MANY
