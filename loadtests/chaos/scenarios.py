"""All scenarios, in the order of the scorecard."""

from collections.abc import Awaitable, Callable

from loadtests.chaos import scenarios_client as client
from loadtests.chaos import scenarios_departure as departure
from loadtests.chaos import scenarios_engine as engine
from loadtests.chaos import scenarios_fuzz as fuzzing
from loadtests.chaos import scenarios_process as process
from loadtests.chaos import scenarios_store as store
from loadtests.chaos.score import Score
from loadtests.chaos.targets import System

Scenario = Callable[[System], Awaitable[Score]]

ALL: tuple[Scenario, ...] = (
    engine.killed_alone,
    engine.killed_of_two,
    engine.stalled_of_two,
    engine.garbage_of_two,
    engine.half_frame_of_two,
    engine.errors_of_two,
    engine.refusing_of_two,
    engine.refusing_alone,
    store.sqlite_locked,
    store.postgres_hangs,
    store.postgres_gone,
    store.disk_full,
    departure.departures,
    client.thousand_clients,
    client.slow_loris,
    client.large_body,
    fuzzing.fuzz,
    process.rolling_restart,
    process.drain,
)


def name(scenario: Scenario) -> str:
    """Return the name by which the command line knows a scenario."""
    return str(getattr(scenario, "__name__", scenario))
