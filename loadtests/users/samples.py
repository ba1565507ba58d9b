"""Writes every measurement of a run to the file that `--samples` names.

Locust keeps rounded counts of response times. Percentiles of tokens that are 12 ms apart need the
times as they were, and plots need when they were. A line is a JSON array:
`[unix time, kind, name, milliseconds, error]`; the kinds are those of `Kind`.
"""

import json
import time
from enum import StrEnum
from typing import Any, TextIO

import gevent
from locust import events
from locust.env import Environment
from locust.runners import Runner

from loadtests.users.options import option


class Kind(StrEnum):
    """What was measured."""

    TTFT = "TTFT"
    INTER_TOKEN = "inter-token"
    TOTAL = "total"
    REFUSED = "refused"
    """Above a key's limit, as was to be expected."""
    USERS = "users"
    """How many users there are; in place of milliseconds."""


def fire(environment: Environment, kind: Kind, name: str, milliseconds: float) -> None:
    """Report a measurement to Locust, as a metric of its own: `chat stream TTFT`."""
    environment.events.request.fire(
        request_type=kind.value,
        name=f"{name} {kind.value}",
        response_time=milliseconds,
        response_length=0,
        exception=None,
        context={},
    )


class _Writer:
    def __init__(self, file: TextIO) -> None:
        self._file = file

    def on_request(
        self,
        request_type: str,
        name: str,
        response_time: float,
        exception: BaseException | None,
        **_: object,
    ) -> None:
        own = request_type in {kind.value for kind in Kind}
        kind = Kind(request_type) if own else Kind.TOTAL
        name = name.removesuffix(f" {kind.value}")
        self.write(kind, name, response_time, str(exception) if exception else "")

    def count(self, runner: Runner) -> None:
        """Note the number of users every half second."""
        while True:
            self.write(Kind.USERS, "", float(runner.user_count), "")
            gevent.sleep(0.5)

    def write(self, kind: Kind, name: str, value: float, error: str) -> None:
        line = [round(time.time(), 4), kind.value, name, round(value, 3), error]
        self._file.write(json.dumps(line) + "\n")

    def close(self, **_: object) -> None:
        self._file.close()


@events.init.add_listener  # type: ignore[untyped-decorator]
def _open(environment: Environment, runner: Runner, **_: Any) -> None:
    path = option(environment, "samples")
    if not path:
        return
    writer = _Writer(open(path, "w", encoding="utf-8"))  # noqa: SIM115 - closed when Locust quits
    environment.events.request.add_listener(writer.on_request)
    counting = gevent.spawn(writer.count, runner)

    def quitting(**_: object) -> None:
        counting.kill()
        writer.close()

    environment.events.quitting.add_listener(quitting)
