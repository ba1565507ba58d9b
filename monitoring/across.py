"""Whose harm to believe where many aliases are watched: of a hundred good ones, one alarms falsely.

Each test of harm keeps its own promise. Somebody who looks at all of them asks another question:
of those that look bad, how many are not? e-BH answers it at any time, however the aliases depend.
It needs e-values: harm's evidence is one at any moment, the detector of drift's grows by itself
until it alarms, and is none. So drift keeps its own promise alone: one false alarm in so long.
"""

from collections.abc import Iterable

from gateway.store.monitoring import MonitorState
from monitoring.evidence.combining import average, believed

RATE = 0.1
"""Of the releases whose harm is believed, so large a share is wrong at most, on average."""


def believed_harm(states: Iterable[MonitorState]) -> frozenset[tuple[str, str]]:
    """Return the alias and release of those whose answers are believed to have got worse.

    Args:
        states: All that are watched; those without a test of harm have no evidence.
    """
    of = {f"{state.alias}\0{state.release}": state for state in states}
    found = believed({name: _evidence(state) for name, state in of.items()}, RATE)
    return frozenset((of[name].alias, of[name].release) for name in found)


def _evidence(state: MonitorState) -> float:
    harm = {n: s["evidence"] for n, s in state.signals.items() if s["kind"] == "harm"}
    return average(harm)
