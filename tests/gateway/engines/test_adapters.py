import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.digests import FileDigests
from gateway.engines.adapters import fits
from gateway.engines.base import EngineKind, engine_addresses
from gateway.engines.echo import EchoEngine
from gateway.engines.launcher import Launcher
from gateway.store.engines import Engine, EngineState
from gateway.store.releases import Release
from tests.gateway.engines.fakes import MemoryStore, make_release
from tests.gateway.engines.test_launcher import FAST, running, until

S = EngineState


class Releases(MemoryStore):
    """A store in memory that knows `base-1`, and releases trained from it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.known = {"base-1": make_release("base-1"), "other-1": make_release("other-1")}
        for id in ("tuned-1", "tuned-2"):
            model, adapter = folder / id, folder / f"{id}-adapter"
            model.mkdir()
            adapter.mkdir()
            (adapter / "adapter_config.json").write_text("{}")
            digest = FileDigests().of(adapter / "adapter_config.json")
            told = {"adapter": {"adapter_config.json": digest}}
            (model / "release.json").write_text(json.dumps(told))
            self.known[id] = replace(
                make_release(id),
                path=str(model),
                base_release="base-1",
                adapter_path=str(adapter),
            )

    def get(self, id: str) -> Release | None:
        self._check()
        return self.known.get(id)

    def states(self, release: str) -> set[EngineState]:
        return {row.state for row in self.all() if row.release == release}


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path)


def _launcher(store: MemoryStore, folder: Path, kind: EngineKind | None = None) -> Launcher:
    run_dir = folder / "run"
    return Launcher(
        store,
        store,
        kind or EchoEngine(),
        host="here",
        run_dir=run_dir,
        addresses=engine_addresses(run_dir, "", 0),
        logs=folder / "logs",
        environment=os.environ,
        timing=FAST,
        slots=1,
        linger_s=0.3,
        reconcile_s=0.05,
    )


@asynccontextmanager
async def _asking(address: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.AsyncHTTPTransport(uds=address.removeprefix("unix:"))
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        yield client


async def _models(address: str) -> set[str]:
    async with _asking(address) as client:
        listed: dict[str, Any] = (await client.get("/v1/models")).json()
    return {card["id"] for card in listed["data"]}


def _row(store: MemoryStore, release: str) -> Engine:
    row = store.ready(release)
    assert row is not None
    return row


async def test_a_candidate_is_served_in_the_running_engine_and_leaves_it(
    releases: Releases, tmp_path: Path
) -> None:
    releases.point("production", "base-1")
    async with running(_launcher(releases, tmp_path)):
        await until(lambda: releases.ready("base-1"))
        base = _row(releases, "base-1")
        releases.point("candidate", "tuned-1")
        await until(lambda: releases.ready("tuned-1"))
        tuned = _row(releases, "tuned-1")
        assert tuned.address == base.address
        assert (tuned.host, tuned.slot, tuned.pid) == ("here", "blue+1", None)
        assert await _models(base.address) == {"base-1", "tuned-1"}
        assert len(releases.rows) == 2

        del releases.targets["candidate"]
        await until(lambda: not releases.states("tuned-1"))
        # The row goes first: workers may still send it requests.
        assert await _models(base.address) == {"base-1", "tuned-1"}
        async with asyncio.timeout(5):
            while await _models(base.address) != {"base-1"}:
                await asyncio.sleep(0.02)
        assert _row(releases, "base-1").pid == base.pid
    assert releases.rows == {}


async def test_a_promoted_release_takes_the_engines_place_and_is_announced(
    releases: Releases, tmp_path: Path
) -> None:
    releases.point("production", "base-1")
    releases.point("candidate", "tuned-1")
    async with running(_launcher(releases, tmp_path)):
        await until(lambda: releases.ready("tuned-1"))
        old = _row(releases, "base-1")
        releases.history.clear()
        releases.point("production", "tuned-1")
        # At every moment some row says that the release is served or about to be.
        async with asyncio.timeout(10):
            while "blue" not in {row.slot for row in releases.all() if row.release == "tuned-1"}:
                assert releases.states("tuned-1") & {S.READY, S.SWAPPING}
                await asyncio.sleep(0.002)
            while releases.states("tuned-1") != {S.READY}:
                assert releases.states("tuned-1") & {S.READY, S.SWAPPING}
                await asyncio.sleep(0.002)
        new = _row(releases, "tuned-1")
        assert (new.slot, new.address) == ("blue", old.address)
        assert new.pid != old.pid
        assert await _models(new.address) == {"tuned-1"}
        at = {(row.slot, row.state): seen for seen, row in releases.history}
        announced = at["blue+swap", S.SWAPPING]
        assert at["blue", S.STOPPING] - announced >= 0.25  # the workers have noticed
        assert list(releases.rows) == [("here", "blue")]


async def test_an_alias_that_moves_back_at_once_stops_nothing(
    releases: Releases, tmp_path: Path
) -> None:
    releases.point("production", "base-1")
    releases.point("candidate", "tuned-1")
    async with running(_launcher(releases, tmp_path)):
        await until(lambda: releases.ready("tuned-1"))
        old = _row(releases, "base-1")
        releases.point("production", "tuned-1")
        await until(lambda: S.SWAPPING in releases.states("tuned-1"))
        releases.point("production", "base-1")
        await until(lambda: releases.states("tuned-1") == {S.READY})
        await asyncio.sleep(0.5)
        assert _row(releases, "base-1").pid == old.pid
        assert _row(releases, "tuned-1").address == old.address


async def test_an_old_release_that_is_kept_warm_keeps_the_engine(
    releases: Releases, tmp_path: Path
) -> None:
    releases.point("production", "base-1")
    releases.point("candidate", "tuned-1")
    async with running(_launcher(releases, tmp_path)):
        await until(lambda: releases.ready("tuned-1"))
        releases.point("previous", "base-1")
        releases.point("production", "tuned-1")
        await asyncio.sleep(0.8)
        assert _row(releases, "tuned-1").slot == "blue+1"
        assert _row(releases, "base-1").slot == "blue"
        del releases.targets["previous"]
        del releases.targets["candidate"]
        await until(lambda: releases.ready("tuned-1") and len(releases.rows) == 1)
        assert _row(releases, "tuned-1").slot == "blue"


async def test_what_others_are_served_in_gets_the_slot_first(
    releases: Releases, tmp_path: Path
) -> None:
    # A launcher that starts between a promotion and the end of the old release's warm time.
    releases.point("production", "tuned-1")
    releases.point("previous", "base-1")
    async with running(_launcher(releases, tmp_path)):
        await until(lambda: releases.ready("tuned-1"))
        assert _row(releases, "base-1").slot == "blue"
        assert _row(releases, "tuned-1").slot == "blue+1"


async def test_a_crashed_engine_gets_its_adapters_again(releases: Releases, tmp_path: Path) -> None:
    releases.point("production", "base-1")
    releases.point("candidate", "tuned-1", "tuned-2")
    async with running(_launcher(releases, tmp_path)):
        await until(lambda: releases.ready("tuned-1") and releases.ready("tuned-2"))
        pid = _row(releases, "base-1").pid
        assert pid is not None
        os.kill(pid, 9)
        await until(lambda: releases.states("tuned-1") == {S.RESTARTING})
        await until(lambda: releases.ready("tuned-1") and releases.ready("tuned-2"))
        models = await _models(_row(releases, "base-1").address)
        assert models == {"base-1", "tuned-1", "tuned-2"}


async def test_a_release_of_another_parent_waits(
    releases: Releases, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    releases.point("production", "base-1")
    releases.point("candidate", "other-1")
    async with running(_launcher(releases, tmp_path)):
        await until(lambda: releases.ready("base-1"))
        await until(lambda: "no free engine slot for other-1" in caplog.text)
        assert not releases.states("other-1")


@pytest.mark.parametrize("part", ["adapter", "merged"])
async def test_what_was_changed_is_not_loaded(
    releases: Releases, tmp_path: Path, part: str
) -> None:
    if part == "adapter":
        (tmp_path / "tuned-1-adapter" / "adapter_config.json").write_text('{"r": 1}')
    else:
        known = releases.known["tuned-1"]
        releases.known["tuned-1"] = replace(known, digests={"model.safetensors": "00" * 32})
    releases.point("production", "base-1")
    releases.point("candidate", "tuned-1")
    async with running(_launcher(releases, tmp_path)):
        await until(lambda: releases.states("tuned-1") == {S.FAILED})
        (row,) = [row for row in releases.all() if row.release == "tuned-1"]
        assert "not what was registered" in (row.error or "")
        assert await _models(row.address) == {"base-1"}


def test_an_adapter_fits_only_into_the_engine_of_its_parent(
    releases: Releases, tmp_path: Path
) -> None:
    base, tuned = releases.known["base-1"], releases.known["tuned-1"]
    assert fits(tuned, base)
    assert not fits(tuned, releases.known["other-1"])
    assert not fits(base, base)
    assert not fits(replace(tuned, adapter_path=str(tmp_path / "gone")), base)
