"""SIGKILL of the engine and of the launcher, with a real vLLM."""

import os
import signal
from typing import TYPE_CHECKING

import httpx
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
    engines = served.processes("vllm.entrypoints")
    assert engines
    for pid in engines:
        os.kill(pid, signal.SIGKILL)
    answer = _post(served)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"]["code"] == "engine_unavailable"
    served.wait(lambda: not served.ready(), 2)
    served.wait(served.ready, 180)
    assert _post(served).status_code == 200


def test_a_killed_launcher_leaves_no_engine(served: "Served") -> None:
    served.wait(served.ready, 180)
    assert served.processes("vllm.entrypoints")
    served.process.send_signal(signal.SIGKILL)
    served.process.wait(5)
    served.wait(lambda: not served.processes("vllm"), 15)
    served.wait(lambda: not served.processes("python"), 15)
