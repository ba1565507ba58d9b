"""What tests need beside the code: PostgreSQL and Redis of their own, models, public data."""

import functools
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
from psycopg import sql

from gateway.store.database import Database

ROOT = Path(__file__).parents[1]
_START_S = 30.0


@pytest.fixture(scope="session", autouse=True)
def _certificates() -> Iterator[None]:
    """Read the bundle of certificates once, not for each client that httpx makes: 20 ms of CPU."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(ssl.create_default_context)
        patch.setattr(ssl, "create_default_context", once)
        yield


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[Path]:
    """A throwaway PostgreSQL server, as the folder of its socket; its superuser is `driftgate`."""
    binaries = _binaries()
    if binaries is None:
        _missing("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    # Not pytest's own folder: that is closed to the user that the server runs as.
    home = Path(tempfile.mkdtemp(prefix="dg-pg-"))
    options: dict[str, Any] = {"cwd": home, "env": {"LC_ALL": "C", "PATH": os.environ["PATH"]}}
    if os.geteuid() == 0:  # initdb refuses root
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            _missing("PostgreSQL does not run as root, and there is no user `postgres`")
        os.chown(home, user.pw_uid, user.pw_gid)
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data, log = home / "data", home / "log"
    try:
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "driftgate", "-A", "trust", "-N", "-E", "UTF8"],
            check=True,
            capture_output=True,
            **options,
        )
        with log.open("wb") as output:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", data, "-k", home, "-h", "", "-F"],
                stdout=output,
                stderr=output,
                **options,
            )
        try:
            _wait(home, server, log)
            yield home
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown
            server.wait(30)
    finally:
        shutil.rmtree(home)


@pytest.fixture
def postgres_url(postgres_socket: Path) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh, empty database."""
    name = f"test_{secrets.token_hex(6)}"
    with _admin(postgres_socket) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield f"postgresql+psycopg://driftgate@/{name}?host={postgres_socket}"
    with _admin(postgres_socket) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[Path]:
    """A throwaway Redis server, as the path of its socket."""
    if importlib.util.find_spec("redis") is None:
        _missing("The package `redis` is not installed (pip install 'driftgate[redis]')")
    binary = shutil.which("redis-server")
    if binary is None:
        _missing("Redis is not installed (Debian: apt-get install redis-server)")
    home = Path(tempfile.mkdtemp(prefix="dg-redis-"))
    options = f"--port 0 --unixsocket {home}/s --save --appendonly no --dir {home}".split()
    server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_S
        while not (home / "s").exists():
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail("Redis did not start")
            time.sleep(0.02)
        yield home / "s"
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(home)


@pytest.fixture
def redis_url(redis_socket: Path) -> str:
    """The URL of an empty Redis."""
    import redis

    url = f"unix://{redis_socket}"
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with files that have slow tests: a long one at the end leaves a core without work."""
    long = ("slow", "train")
    slow = {item.path for item in items if any(map(item.get_closest_marker, long))}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store with the current schema and nothing in it, to be copied."""
    path = tmp_path_factory.mktemp("store") / "empty.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture(scope="session")
def smollm() -> Path:
    """The folder of SmolLM2-135M-Instruct, which `make test` pulls before it is needed."""
    return _model("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2."""
    return _model("all-minilm-l6-v2")


@pytest.fixture(scope="session")
def public_data() -> Path:
    """The folder of public data sets; they are no part of the repository, so CI may lack them."""
    named = os.environ.get("DRIFTGATE_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not (folder / "banking77").is_dir() or not (folder / "restaurant8k").is_dir():
        pytest.skip(
            f"{folder} has no banking77 and restaurant8k; DRIFTGATE_TEST_DATA names another"
        )
    return folder


def _model(name: str) -> Path:
    folder = ROOT / ".driftgate" / "models" / name
    if not (folder / "config.json").is_file():
        _missing(f"{name} is not on this machine (driftgate models pull {name})")
    return folder


def _admin(socket: Path) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=str(socket), user="driftgate", dbname="postgres", autocommit=True, connect_timeout=5
    )


def _binaries() -> Path | None:
    def version(folder: Path) -> float:
        name = folder.parent.name
        return float(name) if name.replace(".", "", 1).isdigit() else 0.0

    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=version, reverse=True)
    on_path = shutil.which("initdb")
    folders = [*installed, *([Path(on_path).resolve().parent] if on_path else [])]
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _wait(socket: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            _admin(socket).close()
            return
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start: {error}\n{log.read_text()[-2000:]}")
        time.sleep(0.05)
