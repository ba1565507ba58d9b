"""The shape of a run for Locust: `--shape` by name, scaled by `-u` (all users) and `-t` (time)."""

from locust import LoadTestShape
from locust.util.timespan import parse_timespan

from loadtests.curves import users_at
from loadtests.users.options import option

_MINUTE = 60.0


class Shape(LoadTestShape):  # type: ignore[misc]
    """Follows the curve that `--shape` names; without `-t` it takes a minute."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        assert self.runner is not None
        environment = self.runner.environment
        given = environment.parsed_options
        peak = int(given.num_users or 1)
        # Locust has parsed it where it runs without its web page.
        length = given.run_time
        seconds = float(parse_timespan(length) if isinstance(length, str) else length or _MINUTE)
        users = users_at(option(environment, "shape"), self.get_run_time(), seconds, peak)
        return None if users is None else (users, float(given.spawn_rate or peak))
