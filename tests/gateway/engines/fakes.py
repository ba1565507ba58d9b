"""A tiny engine in plain Python, and a store in memory, for the tests of what keeps engines."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gateway.engines.base import EngineSpec
from gateway.store.database import StoreError
from gateway.store.engines import Engine, EngineState
from gateway.store.releases import Release, Target

T = TypeVar("T")

_FAKE = """
import os, signal, socket, sys, time
path, mode, note = sys.argv[1:4]
print("fake engine in mode", mode, flush=True)
if mode == "crash":
    print("out of memory, or so", flush=True)
    sys.exit(3)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode in ("forks", "escapes"):
    child = os.fork()
    if child == 0:
        if mode == "escapes":
            os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    with open(note, "w") as file:
        file.write(str(child))
if mode == "slow-exit":
    def finish(*_):
        time.sleep(0.3)
        print("finished its requests", flush=True)
        os._exit(0)
    signal.signal(signal.SIGTERM, finish)
if mode == "deaf":
    time.sleep(600)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen(16)
answered = 0
while True:
    connection, _ = server.accept()
    connection.recv(4096)
    if mode == "stuck" and answered >= 1:
        time.sleep(600)
    answered += 1
    connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n")
    connection.close()
"""


class FakeKind:
    """An `EngineKind` whose engines behave as `mode` says."""

    def __init__(self, folder: Path, mode: str = "plain") -> None:
        self.script = folder / "fake_engine.py"
        self.script.write_text(_FAKE)
        self.note = folder / "grandchild"
        self.mode = mode

    def command(self, spec: EngineSpec) -> list[str]:
        path = spec.address.removeprefix("unix:")
        return [sys.executable, "-I", "-S", str(self.script), path, self.mode, str(self.note)]

    def environment(self, spec: EngineSpec) -> dict[str, str]:
        return {"FAKE": spec.release.id}


class MemoryStore:
    """`Releases` and `Engines` in memory; `broken` makes every call fail."""

    def __init__(self) -> None:
        self.broken = False
        self.rows: dict[tuple[str, str], Engine] = {}
        self.history: list[tuple[float, Engine]] = []
        self.targets: dict[str, tuple[Target, ...]] = {}
        self.lock = threading.Lock()

    def _check(self) -> None:
        if self.broken:
            raise StoreError("the database is away")

    def point(self, alias: str, *releases: str) -> None:
        self.targets[alias] = tuple(Target(id, 1.0, "live") for id in releases)

    def aliases(self) -> dict[str, tuple[Target, ...]]:
        self._check()
        return dict(self.targets)

    def get(self, id: str) -> Release | None:
        self._check()
        return None if id == "unregistered" else make_release(id)

    def put(self, engine: Engine) -> None:
        self._check()
        with self.lock:
            self.rows[engine.host, engine.slot] = engine
            self.history.append((time.monotonic(), engine))

    def remove(self, host: str, slot: str) -> None:
        self._check()
        with self.lock:
            self.rows.pop((host, slot), None)

    def all(self) -> list[Engine]:
        self._check()
        with self.lock:
            return list(self.rows.values())

    def ready(self, release: str) -> Engine | None:
        """Return the release's row where its engine is ready."""
        rows = [row for row in self.all() if row.release == release]
        return next((row for row in rows if row.state is EngineState.READY), None)


def make_release(id: str) -> Release:
    return Release(id=id, model="m", revision="r", path="/nowhere", digests={}, created_at=0.0)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] != "Z"


def wait_until(check: Callable[[], T], seconds: float = 5.0) -> T:
    """Poll in a thread-blocking way until `check` is true; fails the test otherwise."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.005)
    raise AssertionError(f"not reached within {seconds} s: {check}")
