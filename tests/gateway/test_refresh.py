"""What a worker knows outlives the store."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from gateway.auth import KeyRing
from gateway.errors import AuthenticationFailed, NotFound
from gateway.metrics import Metrics
from gateway.refresh import Refresher
from gateway.routing import Routes
from gateway.store.database import Database, StoreError
from gateway.store.keys import Keys
from tests.gateway.running import serve_release


async def test_known_keys_and_routes_survive_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    database.migrate()
    key, text = Keys(database).create("a", ["inference"])
    serve_release(database, "production-1", "unix:/x")
    ring, routes = KeyRing(open_without_keys=False), Routes()
    refresher = Refresher(database, ring, routes, Metrics(), 0.01)
    header = f"Bearer {text}".encode()
    task = asyncio.create_task(refresher.run())
    await asyncio.wait_for(refresher.known(), 5)

    def away(_: Keys) -> list[object]:
        raise StoreError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(Keys, "all", away)
        while refresher.store_up:
            await asyncio.sleep(0.01)
        assert ring.authenticate(header).key_prefix == key.prefix
        assert routes.resolve("production").release == "production-1"
    while not refresher.store_up:
        await asyncio.sleep(0.01)
    Keys(database).revoke(key.prefix)
    for _ in range(500):
        try:
            ring.authenticate(header)
        except AuthenticationFailed:
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("the revoked key still works")
    with pytest.raises(NotFound):
        routes.resolve("nothing")
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    database.close()
