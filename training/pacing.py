"""When a request to retrain may be taken up: not too soon after the last one, not too often.

All is read from the requests that were closed before, so there is nothing to keep.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.store.retraining import CLOSED, OPEN, TAKEN, RetrainingRequest
from gateway.store.rollouts import Rollout
from training.loop import LoopSettings

_PERIOD_S = 30 * 86_400.0
# Only these took something: the machine's time, or people's patience.
_DONE = frozenset({"promoted", "rolled_back", "rejected", "failed", "index", "neither", "put_off"})
_TRAINED = frozenset({"promoted", "rolled_back", "rejected", "failed"})


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a request is not taken up yet.

    Attributes:
        why: In words.
        until: Unix seconds; None: until something else ends or a person changes the settings.
    """

    why: str
    until: float | None = None

    def told(self) -> str:
        """Return both in a sentence."""
        if self.until is None:
            return f"Waits: {self.why}."
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.until))
        return f"Waits until {when}: {self.why}."


def wait(
    request: RetrainingRequest,
    settings: LoopSettings | None,
    history: Sequence[RetrainingRequest],
    rollout: Rollout | None,
    now: float,
) -> Wait | None:
    """Return why an open request must wait, or None where it may be taken up.

    A person's passes the cool-down, the budget and the back-off, but not a retraining or a rollout
    of the alias that is under way.

    Args:
        request: The request.
        settings: Those of its alias; None: it has none.
        history: All requests of the alias, the newest first.
        rollout: A rollout of the alias that is under way.
        now: Unix seconds.
    """
    for other in history:
        if other.status == TAKEN and other.id != request.id:
            return Wait(f"the retraining {other.id} is under way")
    if rollout is not None:
        return Wait(f"the rollout {rollout.id} is under way")
    if request.source == "person":
        return None
    if settings is None:
        return Wait("the alias has no loop; `driftgate loop set` makes one")
    if request.source not in settings.sources:
        return Wait(f"the source `{request.source}` may not retrain (`sources`)")
    waits = [_after_last(settings, history), _budget(settings, history, now)]
    return max((w for w in waits if w and (w.until or 0) > now), key=_until, default=None)


def _after_last(settings: LoopSettings, history: Sequence[RetrainingRequest]) -> Wait | None:
    """Return the cool-down after a promotion, or the back-off after what led to none."""
    done = _done(history)
    failures = 0
    for request in done:
        if request.outcome == "promoted":
            break
        failures += 1
    if not done:
        return None
    ended = done[0].closed_at or 0.0
    if not failures:
        return Wait(
            "the last retraining was a moment ago (`cool_down_s`)", ended + settings.cool_down_s
        )
    pause = min(settings.back_off_s * 2 ** min(failures - 1, 60), settings.longest_back_off_s)
    if done[0].outcome in _TRAINED:
        pause = max(pause, settings.cool_down_s)
    times = "once" if failures == 1 else f"{failures} times in a row"
    return Wait(
        f"retraining led to no promotion {times}, last to `{done[0].outcome}` (`back_off_s`)",
        ended + pause,
    )


def _budget(
    settings: LoopSettings, history: Sequence[RetrainingRequest], now: float
) -> Wait | None:
    """Return the wait for the oldest of the last 30 days to leave them, where they are full."""
    ends = [r.closed_at or 0.0 for r in history if r.status == CLOSED and r.outcome in _TRAINED]
    recent = sorted(end for end in ends if end > now - _PERIOD_S)
    if len(recent) < settings.most_per_30_days:
        return None
    freed = recent[len(recent) - settings.most_per_30_days] + _PERIOD_S
    return Wait(f"{len(recent)} retrainings in 30 days (`most_per_30_days`)", freed)


def _done(history: Sequence[RetrainingRequest]) -> list[RetrainingRequest]:
    """Return the requests that were worked on to an end, the one that ended last first."""
    done = [r for r in history if r.status == CLOSED and r.outcome in _DONE]
    return sorted(done, key=lambda r: r.closed_at or 0.0, reverse=True)


def _until(wait: Wait) -> float:
    return wait.until or 0.0


def live(history: Sequence[RetrainingRequest]) -> list[RetrainingRequest]:
    """Return the requests that are not closed, those taken first."""
    return sorted(
        (r for r in history if r.status in (OPEN, TAKEN)), key=lambda r: r.status != TAKEN
    )
