"""SIGKILL of the engine and of the launcher, with a real vLLM.

The last test ends the instance that all tests here share, so this file and it come last.
"""

import signal
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

if TYPE_CHECKING:
    from .conftest import Served

pytestmark = pytest.mark.engine


def _post(served: "Served") -> httpx.Response:
    return httpx.post(
        f"{served.url}/v1/chat/completions",
        json={
            "model": "production",
            "max_tokens": 8,
            "messages": [{"role": "user", "content": "Say hello."}],
        },
        headers={"authorization": f"Bearer {served.key}"},
        timeout=60,
    )


def test_a_killed_engine_is_503_and_comes_back(served: "Served") -> None:
    assert _post(served).status_code == 200
    (engine,) = served.engines()
    workers = engine.children(recursive=True)
    assert workers
    engine.kill()
    answer = _post(served)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"]["code"] == "engine_unavailable"
    served.wait(lambda: not served.ready(), 2)
    served.wait(lambda: not any(worker.is_running() for worker in workers), 10)
    served.wait(served.ready, 240)
    assert _post(served).status_code == 200


def test_a_killed_launcher_leaves_nothing_behind(served: "Served") -> None:
    served.wait(served.ready, 240)
    below = psutil.Process(served.process.pid).children(recursive=True)
    assert any("vllm" in " ".join(process.cmdline()) for process in below)
    assert len(below) > 4
    served.process.send_signal(signal.SIGKILL)
    served.process.wait(5)
    served.wait(lambda: not any(_alive(process) for process in below), 15)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
