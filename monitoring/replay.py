"""Computes evidence again from what is stored, window by window."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.store.monitoring import Monitoring, StoredWindow
from monitoring.evidence.book import Book, Levels

RESTART = "restart"
"""In the inputs of a window: the evidence began anew here, since a person said so."""
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Replayed:
    """A window, the evidence that was stored with it, and what follows from its inputs."""

    window: StoredWindow
    again: Mapping[str, float]

    @property
    def equal(self) -> bool:
        stored = self.window.evidence
        return stored.keys() == self.again.keys() and all(
            math.isclose(stored[name], self.again[name], rel_tol=1e-9) for name in stored
        )


def replayed(store: Monitoring, alias: str, release: str, levels: Levels) -> Iterator[Replayed]:
    """Go through the stored windows of a release, from the first.

    Args:
        store: The monitor's part of the store.
        alias: The alias.
        release: The release.
        levels: As they were when the windows were judged.

    Raises:
        KeyError: Nothing is known of the release behind the alias.
        ValueError: The first windows are deleted already: nothing can be computed without them.
    """
    state = store.state(alias, release)
    if state is None or "book" not in state.detail:
        raise KeyError(alias)
    signals = tuple(state.detail["book"]["drift"])
    book, after = Book(levels, signals), -1
    while windows := store.windows(alias, release, after=after, limit=_PAGE):
        if after < 0 and windows[0].number > 0:
            raise ValueError(f"the windows before number {windows[0].number} are deleted")
        for window in windows:
            if window.inputs.get(RESTART):
                book = Book(levels, signals)
            yield Replayed(window, book.observe(window.inputs))
        after = windows[-1].number
