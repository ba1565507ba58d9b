"""Health checks: an engine that is ill is left before a request finds out, and comes back."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from gateway.health import HealthChecks
from gateway.routing import Routes
from gateway.store.engines import Engine, EngineState
from gateway.store.releases import Release
from tests.gateway.running import MESSAGES, RunningGateway, serve_release, wait

_CHAT = "/v1/chat/completions"
_PERIOD_S = 0.03


class _Engine:
    """Answers `GET /health` as it is told, and notes what else it is asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status = 200
        self.hangs = False
        self.checks = 0
        self.other: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if line.startswith(b"GET /health "):
            self.checks += 1
        else:
            self.other.append(line)
        while self.hangs:
            await asyncio.sleep(0.01)
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % self.status)
        writer.close()


@asynccontextmanager
async def _engines(folder: Path, *names: str) -> AsyncIterator[tuple[Routes, list[_Engine]]]:
    """Run engines that serve the release `a`, each in the slot of its name, and check them."""
    engines = [_Engine(folder / name) for name in names]
    servers = [await asyncio.start_unix_server(e.serve, e.path) for e in engines]
    routes = Routes()
    routes.update({}, [Release("a", "m", "r", "", {}, 0.0)], _rows(engines))
    checking = asyncio.create_task(HealthChecks(routes, _PERIOD_S).run())
    try:
        yield routes, engines
    finally:
        checking.cancel()
        for engine in engines:
            engine.hangs = False
        with contextlib.suppress(asyncio.CancelledError):
            await checking
        for server in servers:
            server.close()
        routes.close()
        await asyncio.sleep(0.03)


def _rows(engines: list[_Engine], state: EngineState = EngineState.READY) -> list[Engine]:
    return [
        Engine(e.path.name, "h", "a", f"unix:{e.path}", state, None, 0, None, 0.0) for e in engines
    ]


async def _until(condition: Callable[[], bool], timeout_s: float = 1.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        await asyncio.sleep(0.005)


async def _next_check(engine: _Engine) -> None:
    at = engine.checks
    await _until(lambda: engine.checks > at)


def _slots(routes: Routes) -> set[str]:
    picked = [routes.pick("a") for _ in range(20)]
    return {link.engine.slot for link in picked if link is not None}


async def test_an_ill_engine_is_left_and_comes_back_and_no_request_is_spent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with _engines(tmp_path, "1") as (routes, (engine,)):
        await _until(lambda: engine.checks >= 2)
        assert routes.pick("a") is not None
        engine.status = 500
        await _until(lambda: routes.pick("a") is None)
        assert "is open" in caplog.text
        at = engine.checks
        await _until(lambda: engine.checks > at + 3)
        assert routes.pick("a") is None
        engine.status = 200
        await _until(lambda: routes.pick("a") is not None)
        assert engine.other == []


async def test_one_bad_answer_is_no_illness(tmp_path: Path) -> None:
    async with _engines(tmp_path, "1") as (routes, (engine,)):
        for _ in range(3):
            engine.status = 500
            await _next_check(engine)
            engine.status = 200
            await _next_check(engine)
            assert routes.pick("a") is not None


async def test_the_other_engine_is_taken_meanwhile(tmp_path: Path) -> None:
    async with _engines(tmp_path, "1", "2") as (routes, (one, two)):
        one.status = 503
        await _until(lambda: _slots(routes) == {"2"})
        one.status, two.status = 200, 503
        await _until(lambda: _slots(routes) == {"1"})


async def test_an_engine_that_does_not_answer_is_ill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.health._TIMEOUT_S", 0.05)
    async with _engines(tmp_path, "1") as (routes, (engine,)):
        engine.hangs = True
        await _until(lambda: routes.pick("a") is None)
        engine.hangs = False
        await _until(lambda: routes.pick("a") is not None)


async def test_an_engine_that_hangs_does_not_hide_that_another_is_ill(tmp_path: Path) -> None:
    async with _engines(tmp_path, "1", "2") as (routes, (one, two)):
        await _until(lambda: one.checks > 0 and two.checks > 0)
        one.hangs = True
        await asyncio.sleep(0.1)
        two.status = 500
        ill = next(link for link in routes.links() if link.engine.slot == "2")
        await _until(lambda: not ill.ready(time.monotonic()), 1.0)


async def test_an_engine_that_is_gone_is_ill(tmp_path: Path) -> None:
    async with _engines(tmp_path, "1") as (routes, (engine,)):
        await _until(lambda: engine.checks > 0)
        engine.path.unlink()
        await _until(lambda: routes.pick("a") is None)


async def test_only_engines_that_are_said_to_be_ready_are_asked(tmp_path: Path) -> None:
    async with _engines(tmp_path, "1") as (routes, (engine,)):
        await _until(lambda: engine.checks > 0)
        routes.update({}, [], _rows([engine], EngineState.RESTARTING))
        await asyncio.sleep(0.1)
        at = engine.checks
        await asyncio.sleep(0.15)
        assert engine.checks == at
        routes.update({}, [], _rows([engine]))
        await _until(lambda: engine.checks > at)


async def test_an_engine_that_was_started_anew_begins_well(tmp_path: Path) -> None:
    async with _engines(tmp_path, "1") as (routes, (engine,)):
        engine.status = 500
        await _until(lambda: routes.pick("a") is None)
        routes.update({}, [], _rows([engine], EngineState.RESTARTING))
        engine.status = 200
        routes.update({}, [], _rows([engine]))
        assert routes.pick("a") is not None


# through the gateway


_TOKEN = b'data: {"id":"chatcmpl-h","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'


class _Listener:
    """An engine that may stop to listen, as one does that crashes, and listen again.

    It is healthy while it listens, and streams a token each 0.1 s for 3 s, or says nothing.
    """

    def __init__(self) -> None:
        self.hangs = False
        self.asked = 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._address = probe.getsockname()
        self.url = f"http://127.0.0.1:{self._address[1]}"

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        with socket.create_server(self._address) as server:
            thread = threading.Thread(target=self._serve, args=(server,), daemon=True)
            thread.start()
            yield
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)

    def _serve(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if connection.recv(65536).startswith(b"GET /health"):
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                return
            self.asked += 1
            if self.hangs:
                connection.recv(1)  # until the gateway gives up
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            for _ in range(30):
                connection.sendall(_TOKEN)
                time.sleep(0.1)
            connection.sendall(b"data: [DONE]\n\n")


@contextlib.contextmanager
def _stream(gateway: RunningGateway, model: str) -> Iterator[httpx.Response]:
    """Ask for a stream; where there is one, its first token has come."""
    body = {"model": model, "messages": MESSAGES, "stream": True}
    with gateway.client() as client, client.stream("POST", _CHAT, json=body) as answer:
        lines = answer.iter_lines()  # kept: an iterator that is dropped closes the connection
        if answer.status_code == 200:
            assert json.loads(next(lines).removeprefix("data: "))["id"]
        yield answer


def _known(gateway: RunningGateway, model: str) -> None:
    with gateway.client() as client:
        wait(lambda: client.get(f"/v1/models/{model}").status_code == 200)


def test_an_engine_that_is_back_serves_everybody_from_its_first_token(
    gateway: RunningGateway,
) -> None:
    """The probe is a long answer: that it has begun is proof enough, others need not wait."""
    engine = _Listener()
    serve_release(gateway.database, "back-1", engine.url)
    _known(gateway, "back")
    assert gateway.post(model="back").status_code == 503
    with engine.listening():
        time.sleep(1.2)  # it has rested, and was found healthy
        with _stream(gateway, "back") as probe, _stream(gateway, "back") as second:
            assert probe.status_code == 200
            assert second.status_code == 200, second.read()


def test_a_departure_from_an_old_answer_lets_no_second_probe_go(gateway: RunningGateway) -> None:
    """One request at a time finds out whether an engine is back, whatever became of older ones."""
    engine = _Listener()
    serve_release(gateway.database, "once-1", engine.url)
    _known(gateway, "once")
    with ThreadPoolExecutor(1) as pool:
        with contextlib.ExitStack() as old:
            with engine.listening():
                assert old.enter_context(_stream(gateway, "once")).status_code == 200
            assert gateway.post(model="once").status_code == 503
            engine.hangs = True
            with engine.listening():
                time.sleep(0.7)
                probe = pool.submit(gateway.post, model="once")
                wait(lambda: engine.asked == 2, 2)
                old.close()  # the client of the stream leaves
                time.sleep(0.1)
                assert gateway.post(model="once").status_code == 503
                assert engine.asked == 2
                assert probe.result(5).status_code == 504


def test_the_time_until_a_retry_is_that_of_the_model(gateway: RunningGateway) -> None:
    """Not that of an engine of another model, which happens to rest."""
    serve_release(gateway.database, "resting-1", "unix:/nowhere/resting")
    serve_release(gateway.database, "starting-1", "unix:/nowhere", EngineState.RESTARTING)
    _known(gateway, "starting")
    assert gateway.post(model="resting").status_code == 503
    assert gateway.post(model="starting").headers["retry-after"] == "5"
