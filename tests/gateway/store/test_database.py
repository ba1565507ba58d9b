import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gateway.store import database as module
from gateway.store.database import Database, StoreError
from gateway.store.keys import Keys


def _migrate(url: str) -> None:
    database = Database(url)
    database.migrate()
    Keys(database).create("k", ["admin"])
    database.close()


def test_migrations_and_tables_agree(database: Database) -> None:
    with database.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, module.metadata) == []
        names = set(sa.inspect(connection).get_table_names())
    assert {"keys", "releases", "aliases", "engines", "traffic", "feedback", "ledger"} <= names


def test_migrating_again_keeps_the_data(database: Database, url: str) -> None:
    Keys(database).create("k", ["admin"])
    again = Database(url)
    again.migrate()
    assert [key.name for key in Keys(again).all()] == ["k"]
    again.close()


@pytest.mark.slow
def test_four_processes_may_migrate_at_once(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_migrate, args=(url,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    database = Database(url)
    assert len(Keys(database).all()) == 4
    database.close()


def test_an_error_rolls_the_transaction_back(database: Database) -> None:
    insert = (
        "INSERT INTO keys (prefix, digest, name, scopes, created_at) "
        "VALUES ('00000000', '', 'k', '[]', 0)"
    )
    with pytest.raises(StoreError), database.begin() as connection:
        connection.execute(sa.text(insert))
        connection.execute(sa.text("SELECT nonsense FROM nowhere"))
    assert Keys(database).all() == []


def test_the_error_says_why_without_sql_or_parameters(database: Database) -> None:
    query = sa.text("SELECT nonsense FROM nowhere WHERE x = :x")
    with pytest.raises(StoreError) as caught, database.begin() as connection:
        connection.execute(query, {"x": "a secret prompt"})
    assert "nowhere" in str(caught.value)
    assert "a secret prompt" not in str(caught.value)
    assert "SELECT" not in str(caught.value)


def test_other_errors_are_left_alone(database: Database) -> None:
    with pytest.raises(KeyError), database.begin():
        raise KeyError("mine")


def test_a_store_without_schema_is_a_store_error(url: str) -> None:
    database = Database(url)
    with pytest.raises(StoreError):
        Keys(database).all()
    database.close()


@pytest.mark.services
def test_a_missing_database_is_a_store_error(postgres_url: str) -> None:
    database = Database(postgres_url.replace("/test_", "/absent_"))
    for call in (database.ping, database.migrate):
        with pytest.raises(StoreError, match="does not exist"):
            call()


def test_a_server_that_is_away_is_a_store_error_without_its_password(tmp_path: Path) -> None:
    database = Database(f"postgresql+psycopg://u:hush@/d?host={tmp_path}")
    for call in (database.ping, database.migrate):
        with pytest.raises(StoreError) as caught:
            call()
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "nonsense", "oracle9://u:hush@h/d", "postgresql://h:x/d"])
def test_a_wrong_url_is_a_store_error(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        Database(url)
    assert "hush" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        Database(f"sqlite:///{tmp_path}/file/driftgate.db")


def test_a_locked_sqlite_is_a_store_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUSY_MS", 50)
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    database.migrate()
    other = sqlite3.connect(tmp_path / "x.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        Keys(database).create("k", ["admin"])
    assert Keys(database).all() == []  # readers are not held up
    other.close()
    Keys(database).create("k", ["admin"])
    database.close()


def test_a_file_that_is_no_database_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is not a database" * 100)
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    for call in (database.ping, database.migrate):
        with pytest.raises(StoreError):
            call()
    database.close()


def test_sqlite_is_private_and_tuned(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a' / 'x.db'}")
    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o700
    wanted = {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000, "synchronous": 1}
    with database.begin() as connection:
        for name, value in wanted.items():
            assert connection.exec_driver_sql(f"PRAGMA {name}").scalar() == value
    database.close()


def test_importing_the_store_is_light() -> None:
    heavy = "alembic", "pydantic", "fastapi", "torch", "psycopg", "vllm"
    code = (
        "import sys, gateway.store.traffic, gateway.store.keys, gateway.store.releases\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
