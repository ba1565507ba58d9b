"""What the bench runs, in which order: what matters most first, so that little already tells."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from monitoring.bench.material import Material
from monitoring.bench.outcomes import OURS, Key, Outcome, Outcomes
from monitoring.bench.peers import Method
from monitoring.bench.smooth import Smooth
from monitoring.bench.streams import NULL, SCENARIOS, Scenario, stream
from monitoring.bench.watched import watch

LONG = Scenario("long-null", "smooth", 0.0, "nothing changes, 200 windows (smooth)")
LONG_WINDOWS = 200
COMPARED = ("null", "topic-10", "topic-20")
"""The scenarios that the other methods are run on."""


@dataclass(frozen=True)
class Plan:
    """How many runs there are.

    Attributes:
        runs: Of each change.
        nulls: In which nothing changes, of both kinds.
        peers: Of each other method and scenario.
        size: Requests in a window.
    """

    runs: int = 40
    nulls: int = 100
    peers: int = 20
    size: int = 100

    def keys(self, methods: Mapping[str, Method]) -> Iterator[Key]:
        """Yield all runs, a few of each kind first."""
        for number in range(max(self.runs, self.nulls, self.peers)):
            for scenario in (*SCENARIOS, LONG):
                quiet = scenario in (NULL, LONG)
                if number < (self.nulls if quiet else self.runs):
                    yield Key(OURS, scenario.name, self.size, number)
            for name, method in methods.items():
                if number < min(self.peers, method.most):
                    yield from (Key(name, each, self.size, number) for each in COMPARED)


class Runner:
    """Runs what is planned.

    Args:
        material: What streams are made of.
        methods: The other methods by name.
        code: Digest of the detector's code.
    """

    def __init__(self, material: Material, methods: Mapping[str, Method], code: str) -> None:
        self._material = material
        self._methods = methods
        self._code = code
        self._smooth: Smooth | None = None

    def run(self, key: Key) -> Outcome:
        """Run one and return what it gave."""
        return self._ours(key) if key.method == OURS else self._peer(key)

    def _ours(self, key: Key) -> Outcome:
        material = self._material
        if key.scenario == LONG.name:
            self._smooth = self._smooth or Smooth(material)
            material, made = self._smooth.null(LONG_WINDOWS, key.size, key.seed)
        else:
            made = stream(material, named(key.scenario), key.size, key.seed)
        found = watch(material, made, key.seed)
        return Outcome(
            *key, made.onset, found.evidence, found.cpu_ms, self._code, found.harm, found.loss
        )  # fmt: skip

    def _peer(self, key: Key) -> Outcome:
        method = self._methods[key.method]
        made = stream(self._material, named(key.scenario), key.size, key.seed)
        vectors = self._material.vectors
        judge = method.judge(vectors[made.reference[: method.rows]])
        trace, spent = [], []
        for window in made.live:
            began = time.process_time()
            trace.append(round(judge.statistic(vectors[window]), 5))
            spent.append(1000 * (time.process_time() - began))
        cpu = sorted(spent)[len(spent) // 2]
        return Outcome(*key, made.onset, {"statistic": trace}, cpu)


def named(scenario: str) -> Scenario:
    """Return a scenario by its name."""
    return next(each for each in (*SCENARIOS, LONG) if each.name == scenario)


def left(plan: Plan, methods: Mapping[str, Method], outcomes: Outcomes) -> list[Key]:
    """Return what is planned and was not run."""
    return [key for key in plan.keys(methods) if key not in outcomes.found]
