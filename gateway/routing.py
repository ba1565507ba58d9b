"""Routing: from the `model` of a request to a release, and to an engine that serves it.

`Routes` is what one worker knows of the world: aliases, releases and engines as last read from the
store, plus what it has seen itself (requests in flight, engines that fail). It keeps its last
knowledge when the store cannot be read.
"""

import math
import random
import time
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.breaker import Breaker
from gateway.conversations import Conversations, checksum
from gateway.errors import NotFound, Unavailable
from gateway.store.engines import Engine, EngineState
from gateway.store.releases import PREVIOUS, Release, Target
from gateway.upstream import Upstream

_RETRY_AFTER_S: Final = 5
# An engine that has a prompt's beginning in its cache is taken although it has this many more
# requests in flight than the least loaded one.
_AFFINITY_SLACK: Final = 4
_PREFIX_BYTES: Final = 1024


@dataclass(slots=True, eq=False)
class EngineLink:
    """An engine as this worker sees it."""

    engine: Engine
    upstream: Upstream
    breaker: Breaker = field(default_factory=Breaker)
    in_flight: int = 0

    def ready(self, now: float) -> bool:
        """Return whether requests may be sent to it."""
        return self.engine.state is EngineState.READY and self.breaker.allows(now)


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a request."""

    alias: str
    release: str


@dataclass(frozen=True, slots=True)
class _Share:
    """A live target of an alias, with what each request needs of it."""

    route: Route
    weight: float
    checksum: int


class Routes:
    """The routing table of one worker process.

    Args:
        conversations: Where it notes which release a conversation began on.

    Attributes:
        aliases: The targets of each alias.
        releases: Every release, by its id.
        shadows: The shadow targets of each alias that has any.
        patient: Whether a release without a ready engine is a route too: who follows it waits.
        on_update: Called after each update.
    """

    def __init__(self, conversations: Conversations | None = None) -> None:
        self.aliases: Mapping[str, tuple[Target, ...]] = {}
        self.releases: Mapping[str, Release] = {}
        self.shadows: dict[str, list[Target]] = {}
        self.patient = False
        self.on_update: list[Callable[[], None]] = []
        self._live: dict[str, list[_Share]] = {}
        self._conversations = conversations or Conversations(None)
        self._keep: dict[str, set[str]] = {}
        self._by_checksum: dict[int, str] = {}
        self._links: dict[tuple[str, str, str], EngineLink] = {}
        self._by_release: dict[str, list[EngineLink]] = {}

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
            if link.engine.state is not engine.state:
                link.breaker = Breaker()  # it was started anew
            link.engine = engine
            links[key] = link
            by_release.setdefault(engine.release, []).append(link)
        for key in self._links.keys() - links.keys():
            self._links[key].upstream.close()
        self.aliases = aliases
        self.releases = {release.id: release for release in releases}
        self._by_checksum = {checksum(release): release for release in self.releases}
        self._live = {
            alias: [
                _Share(Route(alias, t.release), t.weight, checksum(t.release))
                for t in targets
                if t.mode == "live" and t.weight > 0
            ]
            for alias, targets in aliases.items()
        }
        self.shadows = {
            alias: shadows
            for alias, targets in aliases.items()
            if (shadows := [t for t in targets if t.mode == "shadow" and t.weight > 0])
        }
        warm = {t.release for t in aliases.get(PREVIOUS, ()) if t.mode == "live"}
        self._keep = {
            alias: warm | {t.release for t in targets if t.mode == "live"}
            for alias, targets in aliases.items()
        }
        self._links, self._by_release = links, by_release
        for call in self.on_update:
            call()

    def resolve(self, model: str, conversation: bytes | None = None, later: bool = False) -> Route:
        """Choose the release for a request.

        Args:
            model: An alias or a release.
            conversation: The key of its conversation.
            later: Whether it is a later turn. It stays on the release of the first while that is
                served, and is a live one of the alias or the one before a promotion.

        Raises:
            NotFound: No alias and no release has this name.
            Unavailable: The name is known, but no engine of it is ready now.
        """
        shares = self._live.get(model)
        if shares is None:
            if model not in self.releases:
                raise self._unknown(model)
            if self.patient or self._is_served(model):
                return Route(model, model)
            raise self.unavailable(model)
        if conversation is not None and later:
            known = self._conversations.began_on(conversation) or 0
            began_on = self._by_checksum.get(known)
            # Not a release that was rolled back, nor one that another alias tries out.
            if began_on in self._keep[model] and self._is_served(began_on):
                self._conversations.note(conversation, known)  # it goes on: it is kept for longer
                return Route(model, began_on)
        left = shares
        while left:
            share = left[0]
            if len(left) > 1:
                share = random.choices(left, [s.weight for s in left])[0]  # noqa: S311 - a share
            if self._is_served(share.route.release):
                if conversation is not None:
                    self._conversations.note(conversation, share.checksum)
                return share.route
            left = [other for other in left if other is not share]  # another one answers instead
        if self.patient and shares:
            return shares[0].route
        raise self.unavailable(model)

    def pick(
        self, release: str, tried: Collection[EngineLink] = (), prefix: bytes | None = None
    ) -> EngineLink | None:
        """Return the engine for a request, or None: the least loaded one, ties at random.

        Args:
            release: What must be served.
            tried: Engines that have failed this request.
            prefix: The prompt, where the engine that had its beginning before is preferred
                (rendezvous hashing, Thaler and Ravishankar 1998).
        """
        links = self._by_release.get(release, ())
        now = time.monotonic()
        if len(links) == 1:
            return links[0] if links[0] not in tried and links[0].ready(now) else None
        links = [k for k in links if k.ready(now) and k not in tried]
        if not links:
            return None
        fewest = min(link.in_flight for link in links)
        if prefix is not None:
            start = prefix[:_PREFIX_BYTES]
            home = max(links, key=lambda k: zlib.crc32(start, zlib.crc32(k.engine.slot.encode())))
            if home.in_flight <= fewest + _AFFINITY_SLACK:
                return home
        return random.choice([k for k in links if k.in_flight == fewest])  # noqa: S311 - a tie

    def unavailable(self, model: str) -> Unavailable:
        """Return the error of a model without a ready engine, with the time until the next try."""
        now = time.monotonic()
        releases = {share.route.release for share in self._live.get(model, ())} or {model}
        links = [link for release in releases for link in self._by_release.get(release, ())]
        waits = [link.breaker.opens_in(now) for link in links]
        wait = math.ceil(min((w for w in waits if w), default=_RETRY_AFTER_S))
        return Unavailable(
            f"No engine of `{model}` is ready. Try again in {wait} s.",
            code="engine_unavailable",
            retry_after=wait,
        )

    def serves(self, alias: str) -> bool:
        """Return whether a request for `alias` would be answered: now, or after a swap."""
        releases = [share.route.release for share in self._live.get(alias, ())]
        return any(self._is_served(r) or EngineState.SWAPPING in self.states(r) for r in releases)

    def serves_release(self, release: str) -> bool:
        """Return whether an engine of a release takes requests now."""
        return self._is_served(release)

    def states(self, release: str) -> list[EngineState]:
        """Return the states of a release's engines."""
        return [link.engine.state for link in self._by_release.get(release, ())]

    def engines(self) -> list[Engine]:
        """Return the engines as last read from the store."""
        return [link.engine for link in self._links.values()]

    def links(self) -> list[EngineLink]:
        """Return the engines as this worker sees them."""
        return list(self._links.values())

    def close(self) -> None:
        """Close the idle connections to all engines."""
        for link in self._links.values():
            link.upstream.close()
        self._conversations.close()

    def _is_served(self, release: str) -> bool:
        now = time.monotonic()
        for link in self._by_release.get(release, ()):  # noqa: SIM110 - half the time of any()
            if link.ready(now):
                return True
        return False

    def _unknown(self, model: str) -> NotFound:
        names = ", ".join(f"`{name}`" for name in sorted({*self.aliases, *self.releases})[:20])
        return NotFound(
            f"The model `{model[:200]}` does not exist. Known: {names or 'none yet'}.",
            code="model_not_found",
            param="model",
        )
