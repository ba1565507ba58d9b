"""Golden probes on a schedule: what a release answers to questions with known answers."""

import logging
import time
from collections.abc import Callable, Iterable

from monitoring.probes import Asker, ProbesInvalid, load, losses_by_release
from monitoring.settings import MonitorSettings
from monitoring.watcher import Watcher

_log = logging.getLogger(__name__)
SIGNAL = "probes"


class Probing:
    """Asks the probes of each alias that has a file of them.

    Args:
        settings: The monitor's settings.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, settings: MonitorSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._clock = settings, clock
        self._next: dict[str, float] = {}
        key = settings.monitor_api_key.get_secret_value()
        self._asker = Asker(settings.monitor_gateway_url, key) if key else None

    async def ask_due(self, watchers: Iterable[Watcher]) -> dict[str, str]:
        """Ask what is due, and hand the losses to the watchers of the releases that answered.

        Returns:
            What failed, by alias: a file that cannot be read, or probes without an answer. These
            give no loss: that a gateway cannot be reached is not the release's fault.
        """
        failures: dict[str, str] = {}
        if self._asker is None:
            return failures
        by_release = {(watcher.alias, watcher.release): watcher for watcher in watchers}
        for alias in sorted({alias for alias, _ in by_release}):
            path = self._settings.probes() / f"{alias}.jsonl"
            if self._clock() < self._next.get(alias, 0.0) or not path.is_file():
                continue
            self._next[alias] = self._clock() + self._settings.monitor_probe_period_s
            try:
                answered = await self._asker.ask(alias, load(path))
            except (ProbesInvalid, OSError) as error:
                failures[alias] = f"{error}"
                continue
            for release, losses in losses_by_release(answered).items():
                if (alias, release) in by_release:
                    by_release[alias, release].add_losses(SIGNAL, losses)
            errors = [each.error for each in answered if each.error is not None]
            if errors:
                failures[alias] = f"{len(errors)} of {len(answered)} probes failed: {errors[0]}"
        return failures

    async def close(self) -> None:
        """Close the connections."""
        if self._asker is not None:
            await self._asker.close()
