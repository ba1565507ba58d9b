"""Timetables: the five fields of cron, in UTC; the only file that imports croniter."""

from datetime import UTC, datetime
from typing import Any

from croniter import CroniterError, croniter

# Finer ones would retrain without an end.
_FIELDS = 5


class TimetableInvalid(ValueError):
    """Not five fields of cron; the message says what is wrong."""


class Timetable:
    """When something is due.

    Args:
        text: Minute, hour, day of month, month, day of week, as `0 3 * * 0` for Sundays at 03:00.

    Raises:
        TimetableInvalid: It is none, or it names a day that never comes.
    """

    def __init__(self, text: str) -> None:
        if len(text.split()) != _FIELDS:
            raise TimetableInvalid(f"a timetable has five fields, as `0 3 * * 0`, not {text!r}")
        self._text = text
        try:
            self.last(datetime.now(UTC).timestamp())
        except (CroniterError, ValueError) as error:
            raise TimetableInvalid(f"{text!r} is no timetable: {error}") from error

    def last(self, now: float) -> float:
        """Return when it was due last, at `now` or before; Unix seconds."""
        # croniter answers with times before the one given, which may be the very minute.
        return self._around(now + 1.0).get_prev(float)  # type: ignore[no-any-return]

    def next(self, now: float) -> float:
        """Return when it is due next, after `now`; Unix seconds."""
        return self._around(now).get_next(float)  # type: ignore[no-any-return]

    def _around(self, now: float) -> Any:
        return croniter(self._text, datetime.fromtimestamp(now, UTC))
