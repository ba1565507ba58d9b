"""The world of grounded requests, shared by the tests over HTTP."""

import time
from collections.abc import Iterator

import pytest

from gateway.store.calibrations import Calibrations, StoredCalibration
from gateway.store.keys import Keys
from retrieval.records import Found
from tests.gateway.grounding.scripted import ScriptedEngine, ScriptedService, hit
from tests.gateway.grounding.world import AUTO, FACT, World, own
from tests.gateway.running import running_gateway, serve_release, wait


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("grounded")
    engine, service = ScriptedEngine(), ScriptedService(home / "run" / "retrieval.sock")
    with (
        service.running(),
        engine.running() as address,
        running_gateway(home, embedder="", retrieval_holdout="0", idle_timeout_s="2") as gateway,
    ):
        _, other = Keys(gateway.database).create("other", ["inference"])
        for store, key in (("vs_mine", gateway.key), ("vs_other", other), ("vs_all", None)):
            own(gateway, store, key)
        serve_release(gateway.database, "docs-1", address)
        with gateway.client() as client:
            wait(lambda: client.get("/v1/models/docs").status_code == 200)
        yield World(gateway, engine, service, other)


@pytest.fixture
def world(running: World) -> World:
    running.engine.forget()
    running.service.found = Found(hits=(hit("hours", FACT),), generations={"vs_mine": "g3"})
    running.service.delay_s, running.service.error = 0.0, ""
    running.service.searches.clear()
    running.engine.grounded = f"{FACT} Bring a unicorn to the party."
    return running


@pytest.fixture
def calibrated(world: World) -> Iterator[World]:
    """The release is known to be unsure above a mean negative log-likelihood of 1."""
    calibration = StoredCalibration(
        "docs-1", time.time() - 100, "reference-x", 0.4, 1.0, None, 1, 1, 0.0
    )
    Calibrations(world.gateway.database).put(calibration)
    world.service.found = Found(
        hits=(hit("hours", FACT, updated_at=1.0),), reference_similarity=0.9
    )

    def known() -> bool:
        world.ask(retrieval=AUTO)
        return world.service.searches[-1].reference == "reference-x"

    wait(known)
    world.engine.bodies.clear()
    yield world
    Calibrations(world.gateway.database).put(
        StoredCalibration("docs-1", None, None, None, None, None, 0, 0, 0.0)
    )
    wait(lambda: not known())
