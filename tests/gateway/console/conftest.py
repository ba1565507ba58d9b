"""The console alone, over a small store, without a socket."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from gateway.auth import KeyRing
from gateway.call import Call
from gateway.certified import Certified
from gateway.console.app import create_console
from gateway.console.pages import BASE, Pages
from gateway.console.parts import Parts
from gateway.console.session import Sealer
from gateway.errors import GatewayError
from gateway.flow import Deadlines
from gateway.store.certificates import Certificates
from gateway.store.database import Database
from gateway.store.files import Files
from gateway.store.keys import SCOPES, Keys
from gateway.store.releases import Release, Releases, Target


@dataclass
class Answers:
    """In place of the relay: answers with what it was asked."""

    keys: KeyRing
    urls: dict[bytes, str] = field(default_factory=dict)
    asked: list[bytes] = field(default_factory=list)

    def begin(self, call: Call) -> None:
        self.asked.append(call.body)
        try:
            self.keys.require(self.keys.authenticate(call.authorization), "inference")
        except GatewayError as error:
            call.fail(error)
            return
        call.release = b"new"
        call.whole(200, b"application/json", call.body)

    def refuses(self, call: Call) -> GatewayError | None:
        return None


@dataclass
class Desk:
    """The console, its store, and keys."""

    app: FastAPI
    database: Database
    ring: KeyRing
    answers: Answers
    home: Path
    admin: str
    looker: str

    def client(self) -> TestClient:
        """Return a browser without a session."""
        return TestClient(self.app, base_url="http://desk", follow_redirects=False)

    def log_in(self, key: str | None = None) -> "Visit":
        """Return a browser with one."""
        client = self.client()
        answer = client.post(f"{BASE}/login", data={"key": key or self.admin})
        assert answer.status_code == 303, answer.text
        page = client.get(f"{BASE}/").text
        return Visit(client, page.partition('name="csrf" value="')[2].partition('"')[0])

    def load_keys(self) -> None:
        """Take over the keys of the store, as the worker does now and then."""
        self.ring.load(Keys(self.database).all())


@dataclass
class Visit:
    """A browser with a session, and the token of its forms."""

    client: TestClient
    token: str

    def get(self, path: str, **more: Any) -> Any:
        return self.client.get(f"{BASE}{path}", **more)

    def post(self, path: str, **fields: Any) -> Any:
        return self.client.post(f"{BASE}{path}", data={"csrf": self.token, **fields})

    def told(self, answer: Any) -> str:
        """Return the sentence that a page shows after a change."""
        assert answer.status_code == 303, answer.text
        page = self.client.get(answer.headers["location"]).text
        return str(page.partition('role="status">')[2].partition("</p>")[0])


@pytest.fixture
def desk(empty_store: Path, tmp_path: Path) -> Iterator[Desk]:
    """A console of one's own."""
    with _desk(empty_store, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def still(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A console for tests that change nothing."""
    with _desk(empty_store, tmp_path_factory.mktemp("console")) as made:
        yield made


@contextlib.contextmanager
def _desk(empty_store: Path, tmp_path: Path) -> Iterator[Desk]:
    shutil.copy(empty_store, tmp_path / "x.db")
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    keys = Keys(database)
    _, admin = keys.create("admin", SCOPES)
    _, looker = keys.create("looker", ["view"])
    ring = KeyRing(open_without_keys=False)
    ring.load(keys.all())
    releases = Releases(database)
    for id, base in (("old", None), ("new", "old")):
        releases.register(Release(id, "m", "r", "", {}, time.time(), base_release=base))
    releases.point("production", [Target("old", 1.0, "live")], by="x")
    releases.point("production", [Target("new", 1.0, "live")], by="x")
    sealer = Sealer(b"s" * 32)
    answers = Answers(ring)
    parts = Parts(
        database, ring, sealer, Pages(sealer),
        Certified(Certificates(database), tmp_path / "signing.key"),
        Files(database, tmp_path / "files"), tmp_path, answers, Deadlines(),
    )  # fmt: skip
    app = FastAPI()
    app.mount(BASE, create_console(parts))
    yield Desk(app, database, ring, answers, tmp_path, admin, looker)
    database.close()
