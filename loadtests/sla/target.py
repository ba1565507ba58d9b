"""The gateway that is tested: one that answers, or one that is started for the test."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from gateway.settings import Settings

_ROOT = Path(__file__).parents[2]
_START_S = 900.0
_STOP_S = 90.0


class TargetError(Exception):
    """There is no gateway to test, or it refuses; the message says what to do."""


@contextlib.contextmanager
def serving(url: str, log: Path, tell: Callable[[str], None], *, start: bool) -> Iterator[None]:
    """Have a gateway at `url` while the block runs: the one that answers, else `driftgate serve`.

    Args:
        url: Where it is.
        log: What a started one prints.
        tell: Is told what is being waited for.
        start: Whether one may be started.

    Raises:
        TargetError: None answers and none may be started, or it does not get ready.
    """
    if _ready(url):
        yield
        return
    if not start or url != Settings().url():
        raise TargetError(
            f"No gateway is ready at {url}. Start one in another terminal (`make serve`), or let "
            "`make load` start and stop one; --url names another."
        )
    tell(f"starting `driftgate serve` (its output: {log})")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve"],
            cwd=_ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + _START_S
        while not _ready(url):
            if process.poll() is not None:
                raise TargetError(f"`driftgate serve` ended:\n{log.read_text()[-2000:]}")
            if time.monotonic() > deadline:
                raise TargetError(f"`driftgate serve` was not ready within {_START_S:g} s: {log}")
            time.sleep(0.5)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def key_for(url: str) -> str:
    """Return a key that the gateway takes: DRIFTGATE_API_KEY, else that of `driftgate serve`.

    Raises:
        TargetError: There is none, or it is refused.
    """
    file = Settings().home / "serve.key"
    key = os.environ.get("DRIFTGATE_API_KEY") or (file.read_text().strip() if file.exists() else "")
    if not key:
        raise TargetError(
            "There is no key to ask with. DRIFTGATE_API_KEY names one; "
            "`driftgate keys create --name load` makes one."
        )
    try:
        check_key(url, key)
    except httpx.HTTPError as error:
        raise TargetError(f"{url} does not answer: {error}") from None
    return key


def check_key(url: str, key: str, patience_s: float = 3.0) -> None:
    """Wait until the gateway knows a key that may have just been made.

    Raises:
        TargetError: It refuses the key.
    """
    deadline = time.monotonic() + patience_s
    while True:
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.get(f"{url}/v1/models", headers=headers, timeout=10, trust_env=False)
        if answer.status_code == 200:
            return
        if time.monotonic() > deadline:
            raise TargetError(
                f"{url} refuses the key {key[:11]}… with status {answer.status_code}. Is it a key "
                "of this gateway's store (DRIFTGATE_HOME, DRIFTGATE_DATABASE_URL)?"
            )
        time.sleep(0.2)


def _ready(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/health/ready", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200
