"""How load changes in a run: from the share of its time that has passed to a share of its users."""

from collections.abc import Callable, Mapping

Curve = Callable[[float], float]


def steady(passed: float) -> float:
    """All users from the start to the end."""
    return 1.0


def ramp(passed: float) -> float:
    """Evenly up to all users, who then stay for the last fifth: where does it begin to hurt?"""
    return min(1.0, passed / 0.8)


def spike(passed: float) -> float:
    """A fifth of the users, for the third fifth of the time all of them, then a fifth again."""
    return 1.0 if 0.4 <= passed < 0.6 else 0.2


def soak(passed: float) -> float:
    """Half of the users, after a slow rise, for a long time: does anything grow?"""
    return 0.5 * min(1.0, passed / 0.05)


CURVES: Mapping[str, Curve] = {"steady": steady, "ramp": ramp, "spike": spike, "soak": soak}


def users_at(name: str, passed_s: float, seconds: float, peak: int) -> int | None:
    """Return how many users there are after `passed_s` of `seconds`; None: the run is over."""
    if passed_s >= seconds:
        return None
    return max(1, round(peak * CURVES[name](passed_s / seconds)))
