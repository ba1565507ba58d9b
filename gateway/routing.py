"""Routing: from the `model` of a request to a release and an engine that serves it.

`Routes` is what one worker knows of the world: aliases, releases and engines as last read from the
store, plus what it has seen itself (requests in flight, engines that refused a connection). It
keeps its last knowledge when the store cannot be read.
"""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.errors import NotFound, Unavailable
from gateway.store.engines import Engine, EngineState
from gateway.store.releases import Release, Target
from gateway.upstream import Upstream

# An engine that refused a connection is left alone this long, unless it is the only one.
_REST_S = 1.0
_RETRY_AFTER_S = 5


@dataclass(slots=True, eq=False)
class EngineLink:
    """An engine as this worker sees it."""

    engine: Engine
    upstream: Upstream
    in_flight: int = 0
    rest_until: float = 0.0

    def ready(self, now: float) -> bool:
        """Return whether requests may be sent to it."""
        return self.engine.state is EngineState.READY and self.rest_until <= now

    def rest(self) -> None:
        """Leave it alone for a moment, after it refused or broke a connection."""
        self.rest_until = time.monotonic() + _REST_S


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes."""

    alias: str
    release: str
    link: EngineLink


@dataclass(slots=True)
class Routes:
    """The routing table of one worker process."""

    aliases: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)
    releases: Mapping[str, Release] = field(default_factory=dict)
    _links: dict[tuple[str, str, str], EngineLink] = field(default_factory=dict)
    _by_release: dict[str, list[EngineLink]] = field(default_factory=dict)

    def update(
        self,
        aliases: Mapping[str, tuple[Target, ...]],
        releases: Sequence[Release],
        engines: Sequence[Engine],
    ) -> None:
        """Take over what the store says, keeping the connections of engines that remain."""
        links: dict[tuple[str, str, str], EngineLink] = {}
        by_release: dict[str, list[EngineLink]] = {}
        for engine in engines:
            key = (engine.host, engine.slot, engine.address)
            link = self._links.get(key) or EngineLink(engine, Upstream(engine.address))
            link.engine = engine
            links[key] = link
            by_release.setdefault(engine.release, []).append(link)
        for key in self._links.keys() - links.keys():
            self._links[key].upstream.close()
        self.aliases = aliases
        self.releases = {release.id: release for release in releases}
        self._links, self._by_release = links, by_release

    def resolve(self, model: str) -> Route:
        """Choose the release and the engine for a request.

        Raises:
            NotFound: No alias and no release has this name.
            Unavailable: The name is known, but no engine of it is ready now.
        """
        targets = self.aliases.get(model)
        if targets is None:
            if model not in self.releases:
                raise self._unknown(model)
            targets = (Target(release=model, weight=1.0, mode="live"),)
        live = [t for t in targets if t.mode == "live" and t.weight > 0]
        now = time.monotonic()
        while live:
            target = live[0]
            if len(live) > 1:
                target = random.choices(live, [t.weight for t in live])[0]  # noqa: S311 - a share
            links = [k for k in self._by_release.get(target.release, ()) if k.ready(now)]
            if links:
                return Route(model, target.release, _least_loaded(links))
            live.remove(target)  # another live release of the alias answers instead
        raise Unavailable(
            f"No engine of `{model}` is ready. Try again in {_RETRY_AFTER_S} seconds.",
            code="engine_unavailable",
            retry_after=_RETRY_AFTER_S,
        )

    def serves(self, alias: str) -> bool:
        """Return whether a request for `alias` would find an engine now."""
        try:
            self.resolve(alias)
        except (NotFound, Unavailable):
            return False
        return True

    def engines(self) -> list[Engine]:
        """Return the engines as last read from the store."""
        return [link.engine for link in self._links.values()]

    def close(self) -> None:
        """Close the idle connections to all engines."""
        for link in self._links.values():
            link.upstream.close()

    def _unknown(self, model: str) -> NotFound:
        names = ", ".join(f"`{name}`" for name in sorted({*self.aliases, *self.releases})[:20])
        return NotFound(
            f"The model `{model[:200]}` does not exist. Known: {names or 'none yet'}.",
            code="model_not_found",
            param="model",
        )


def _least_loaded(links: list[EngineLink]) -> EngineLink:
    if len(links) == 1:
        return links[0]
    fewest = min(link.in_flight for link in links)
    return random.choice([k for k in links if k.in_flight == fewest])  # noqa: S311 - a tie
