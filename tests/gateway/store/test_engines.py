from dataclasses import replace

from gateway.store.database import Database
from gateway.store.engines import Engine, Engines, EngineState

_BLUE = Engine("blue", "h1", "m-1", "unix:/b.sock", EngineState.STARTING, None, 0, None, 1.5)


def test_an_engine_is_its_host_and_slot(database: Database) -> None:
    engines = Engines(database)
    ready = replace(_BLUE, state=EngineState.READY, pid=2**22, restarts=3, updated_at=2.5)
    green = replace(_BLUE, slot="green", state=EngineState.FAILED, error="no memory")
    elsewhere = replace(_BLUE, host="h2", address="http://h2:8101")
    for engine in (_BLUE, elsewhere, green, ready):
        engines.put(engine)
    assert engines.all() == [ready, green, elsewhere]
    assert all(isinstance(engine.state, EngineState) for engine in engines.all())
    engines.remove("h1", "blue")
    engines.remove("h1", "blue")
    assert engines.all() == [green, elsewhere]


def test_an_engines_last_words_may_be_anything(database: Database) -> None:
    engines = Engines(database)
    engines.put(replace(_BLUE, error="died\x00\ud800 \n" + "x" * 10_000))
    assert (engines.all()[0].error or "").startswith("died")
