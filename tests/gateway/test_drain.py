"""Stopping, replacing and losing workers: what clients notice of it is nothing, or an error."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.gateway.running import MESSAGES, ROOT, RunningGateway, running_gateway, wait

pytestmark = pytest.mark.chaos  # each runs a gateway of its own

_CHAT = "/v1/chat/completions"


def _workers(gateway: RunningGateway) -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("DRIFTGATE_HOME") == str(gateway.home)
            if ours and "gateway.worker" in process.cmdline():
                found.append(process)
    return found


def _parent(gateway: RunningGateway) -> psutil.Process:
    parent = _workers(gateway)[0].parent()
    assert parent is not None
    return parent


def _pids(gateway: RunningGateway) -> set[int]:
    return {process.pid for process in _workers(gateway)}


def _log(gateway: RunningGateway) -> str:
    return (gateway.home / "gateway.log").read_text()


def _words(count: int, delay_s: float, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "word " * count}]
    metadata = {"echo_delay_s": str(delay_s)}
    return {
        "model": "production", "messages": messages, "metadata": metadata, "max_tokens": 10_000,
        **fields,
    }  # fmt: skip


class _Streams:
    """Streams that run in threads of their own, each read to its end."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._gateway = gateway
        self._pool = ThreadPoolExecutor(16)

    def start(self, body: dict[str, Any]) -> Callable[[], httpx.Response]:
        begun = threading.Event()

        def read() -> httpx.Response:
            with self._gateway.client() as client:
                with client.stream("POST", _CHAT, json=body) as answer:
                    begun.set()
                    answer.read()
                    return answer

        future = self._pool.submit(read)
        if body.get("stream"):
            assert begun.wait(10)
        else:
            time.sleep(0.2)
        return lambda: future.result(30)

    def close(self) -> None:
        self._pool.shutdown()


@contextlib.contextmanager
def _streams(gateway: RunningGateway) -> Iterator[_Streams]:
    streams = _Streams(gateway)
    try:
        yield streams
    finally:
        streams.close()


def test_sigterm_is_announced_first_and_what_runs_ends_whole(tmp_path: Path) -> None:
    with running_gateway(tmp_path, embedder="", drain_delay_s="1.2") as gateway:
        parent = _parent(gateway)
        address = urlsplit(gateway.url).netloc
        kept = http.client.HTTPConnection(address, timeout=5)
        kept.request("GET", "/health/ready")
        assert kept.getresponse().read()
        with _streams(gateway) as streams:
            streaming = [streams.start(_words(n, 0.05, stream=True)) for n in (15, 40, 60)]
            whole = streams.start(_words(40, 0.05))
            parent.terminate()
            told = time.monotonic()
            wait(lambda: httpx.get(f"{gateway.url}/health/ready").status_code == 503, 0.5)
            ready = httpx.get(f"{gateway.url}/health/ready")
            assert ready.json()["status"] == "draining"
            assert httpx.get(f"{gateway.url}/health/live").status_code == 200
            # New connections and old ones are served meanwhile, and told to go elsewhere.
            answer = gateway.post()
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            kept.request(
                "POST", _CHAT, json.dumps({"model": "production", "messages": MESSAGES}),
                {"authorization": f"Bearer {gateway.key}"},
            )  # fmt: skip
            last = kept.getresponse()
            assert (last.status, last.headers["connection"]) == (200, "close")
            assert last.read()
            assert gateway.post(stream=True).text.endswith("data: [DONE]\n\n")
            assert time.monotonic() - told < 1.0
            for end, words in zip(streaming, (15, 40, 60), strict=True):
                text = end().text
                assert text.endswith("data: [DONE]\n\n")
                assert text.count('"content":"') >= words
            assert len(json.loads(whole().text)["choices"][0]["message"]["content"].split()) == 40
        kept.close()
        assert parent.wait(10) == 0
        assert not _workers(gateway)


def test_after_the_delay_who_connects_is_refused_and_not_left_hanging(tmp_path: Path) -> None:
    with running_gateway(tmp_path, embedder="") as gateway:
        parent, parts = _parent(gateway), urlsplit(gateway.url)

        def refused() -> bool:
            try:
                socket.create_connection((parts.hostname, parts.port), 1).close()
            except ConnectionRefusedError:
                return True
            return False

        with _streams(gateway) as streams:
            stream = streams.start(_words(80, 0.05, stream=True))
            parent.terminate()
            wait(refused, 2)
            assert stream().text.endswith("data: [DONE]\n\n")
        assert parent.wait(10) == 0


def test_other_routes_tell_to_close_while_it_drains(tmp_path: Path) -> None:
    with running_gateway(tmp_path, embedder="", drain_delay_s="1.5") as gateway:
        parent = _parent(gateway)
        kept = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=5)
        kept.request("GET", "/health/ready")
        assert kept.getresponse().read()
        parent.terminate()
        wait(lambda: httpx.get(f"{gateway.url}/health/ready").status_code == 503, 1)
        kept.request("GET", "/health/ready")
        answer = kept.getresponse()
        answer.read()
        kept.close()
        assert answer.status == 503
        assert answer.headers["connection"] == "close"
        assert parent.wait(10) == 0


def test_what_runs_longer_than_it_may_ends_with_an_error(tmp_path: Path) -> None:
    limits = {"drain_timeout_s": "1", "max_concurrency": "2"}
    with running_gateway(tmp_path, embedder="", **limits) as gateway:
        parent = _parent(gateway)
        with _streams(gateway) as streams:
            stream = streams.start(_words(400, 0.05, stream=True))
            whole = streams.start(_words(400, 0.05))
            waiting = streams.start(_words(1, 0))  # for a place
            began = time.monotonic()
            parent.terminate()
            answer = stream()
            assert 0.5 < time.monotonic() - began < 4
            frames = answer.text.split("\n\n")
            assert '"content":"word' in frames[1]
            error = json.loads(frames[-2].removeprefix("data: "))["error"]
            assert error["message"]
            assert whole().status_code in (503, 504)
            assert whole().json()["error"]["code"] != "internal"
            assert waiting().status_code in (503, 504), waiting().text
            assert waiting().json()["error"]["code"] != "internal"
        assert parent.wait(10) == 0
        assert "Traceback" not in _log(gateway)


def test_a_short_time_to_drain_is_still_a_time(tmp_path: Path) -> None:
    with running_gateway(tmp_path, embedder="", drain_timeout_s="0.9") as gateway:
        parent = _parent(gateway)
        with _streams(gateway) as streams:
            stream = streams.start(_words(10, 0.05, stream=True))
            parent.terminate()
            assert stream().text.endswith("data: [DONE]\n\n")
        assert parent.wait(10) == 0


def test_sighup_replaces_the_workers_and_no_client_notices(tmp_path: Path) -> None:
    with running_gateway(tmp_path, embedder="", workers="2", drain_delay_s="0.5") as gateway:
        wait(lambda: len(_pids(gateway)) == 2)
        before, parent = _pids(gateway), _parent(gateway)
        outcomes: Counter[str] = Counter()
        stop = threading.Event()

        def load(stream: bool) -> None:
            body = {"model": "production", "messages": MESSAGES, "stream": stream}
            with gateway.client() as client:
                while not stop.is_set():
                    try:
                        answer = client.post(_CHAT, json=body)
                        whole = not stream or answer.text.endswith("data: [DONE]\n\n")
                        outcomes[f"{answer.status_code} {whole}"] += 1
                    except httpx.HTTPError as error:
                        outcomes[repr(error)] += 1
                    time.sleep(0.01)

        with ThreadPoolExecutor(6) as pool, _streams(gateway) as streams:
            running = [pool.submit(load, n % 2 == 0) for n in range(6)]
            parent.send_signal(signal.SIGHUP)
            long = [streams.start(_words(40 + 5 * n, 0.1, stream=True)) for n in range(8)]
            try:
                wait(lambda: not _pids(gateway) & before and len(_pids(gateway)) == 2, 30)
                time.sleep(0.5)
            finally:
                stop.set()
            for each in running:
                each.result(10)
            assert all(each().text.endswith("data: [DONE]\n\n") for each in long)
        assert outcomes.keys() == {"200 True"}, outcomes
        assert outcomes["200 True"] > 50
        assert _parent(gateway).pid == parent.pid
        parent.terminate()
        assert parent.wait(20) == 0


def test_a_successor_that_cannot_start_leaves_the_old_worker(tmp_path: Path) -> None:
    with running_gateway(tmp_path, embedder="") as gateway:
        before, parent = _pids(gateway), _parent(gateway)
        spool, aside = gateway.home / "spool", gateway.home / "aside"
        shutil.move(spool, aside)
        spool.write_text("no folder")
        parent.send_signal(signal.SIGHUP)
        wait(lambda: "did not start; the old one stays" in _log(gateway), 20)
        assert _pids(gateway) == before
        assert gateway.post().status_code == 200
        spool.unlink()
        shutil.move(aside, spool)
        parent.send_signal(signal.SIGHUP)
        wait(lambda: len(_pids(gateway)) == 1 and not _pids(gateway) & before, 20)
        assert gateway.post().status_code == 200
        parent.terminate()
        assert parent.wait(20) == 0


def test_a_killed_worker_is_replaced_and_who_connects_meanwhile_waits(tmp_path: Path) -> None:
    with running_gateway(tmp_path, embedder="") as gateway:
        (worker,) = _workers(gateway)
        worker.send_signal(signal.SIGKILL)
        worker.wait(5)
        assert gateway.post().status_code == 200
        (successor,) = _workers(gateway)
        assert successor.pid != worker.pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_gateway_that_waits_for_its_store_can_be_stopped(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A worker that starts while the store is away waits for it, but serves nobody meanwhile."""
    with running_gateway(tmp_path, embedder="", drain_timeout_s="1") as gateway:
        parent = _parent(gateway)
        (worker,) = _workers(gateway)
        for file in tmp_path.glob("driftgate.db*"):
            file.unlink()
        (tmp_path / "driftgate.db").write_bytes(b"this is no database" * 1000)
        (worker if number == signal.SIGKILL else parent).send_signal(number)
        wait(lambda: "the store cannot be read" in _log(gateway), 20)
        parent.terminate()
        try:
            assert parent.wait(6) == 0
        finally:
            for process in [*_workers(gateway), parent]:
                with contextlib.suppress(psutil.Error):
                    process.kill()


def test_sighup_takes_a_changed_setting_and_refuses_a_wrong_one(tmp_path: Path) -> None:
    """Settings of `driftgate.env` are read anew by each worker; variables stay as they were."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    settings, log = tmp_path / "driftgate.env", tmp_path / "gateway.log"
    settings.write_text("DRIFTGATE_MAX_BODY_BYTES=2000\n")
    environment = os.environ | {
        "DRIFTGATE_HOME": str(tmp_path), "DRIFTGATE_PORT": url.rpartition(":")[2],
        "DRIFTGATE_DRAIN_DELAY_S": "0", "DRIFTGATE_EMBEDDER": "", "PYTHONPATH": str(ROOT),
    }  # fmt: skip

    def status() -> int:
        try:
            return httpx.post(url + _CHAT, content=b" " * 3000).status_code
        except httpx.TransportError:
            return 0

    command = [sys.executable, "-m", "gateway.cli", "gateway"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=file, stderr=file)
    try:
        wait(lambda: status() == 413, 30)
        settings.write_text("DRIFTGATE_MAX_BODY_BYTES=4000\n")
        process.send_signal(signal.SIGHUP)
        wait(lambda: status() == 400, 20)
        settings.write_text("DRIFTGATE_MAX_BODY_BYTES=many\n")
        process.send_signal(signal.SIGHUP)
        wait(lambda: "did not start; the old one stays" in log.read_text(), 20)
        assert status() == 400
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_two_workers_share_the_connections(tmp_path: Path) -> None:
    with running_gateway(tmp_path, embedder="", workers="2") as gateway:
        wait(lambda: len(_workers(gateway)) == 2)
        time.sleep(2)  # both listen
        parts = urlsplit(gateway.url)
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(socket.create_connection((parts.hostname, parts.port)))

            def counts() -> list[int]:
                return [
                    sum(c.laddr.port == parts.port and bool(c.raddr) for c in w.net_connections())
                    for w in _workers(gateway)
                ]

            wait(lambda: sum(counts()) == 60)
            assert min(counts()) >= 10, counts()
