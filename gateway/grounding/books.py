"""What a worker knows for grounding, as last read from the store, and the plan for a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.auth import Principal
from gateway.bodies import Retrieval
from retrieval.gate import Calibration, Policy
from retrieval.records import Area

_UNCALIBRATED = Calibration()
_NOTHING = Retrieval()


class Standing(NamedTuple):
    """How an alias stands: the state, the topics that drifted, and the release they are about.

    Evidence is about one release. Another that answers for the alias, a candidate in canary, say,
    is not known to be any worse than healthy. None: about whatever answers.
    """

    state: str
    release: str | None = None
    drifted: tuple[Area, ...] = ()


class Plan(NamedTuple):
    """What applies to one request.

    Attributes:
        policy: What the request, its key and its alias want, in this order.
        named: Vector stores that the request itself names: each must be the caller's.
        granted: Those that a policy names: the operator granted them, but another key's are left
            out.
        least_score: Hits below it are left out.
        calibration: Of the release.
        health: Of the alias, as far as this release has part in it.
        drifted: Topics of the alias that drifted, where it is WARN and they are known.
    """

    policy: Policy
    named: tuple[str, ...]
    granted: tuple[str, ...]
    least_score: float
    calibration: Calibration
    health: str
    drifted: tuple[Area, ...] = ()


_HEALTHY = Standing("HEALTHY")


@dataclass(frozen=True, slots=True)
class Books:
    """What the store says.

    Attributes:
        policies: By kind (`key` or `alias`) and name.
        calibrations: By release.
        health: By alias; those not named are HEALTHY.
        switched_off: Topics on which retrieval harms.
        owners: The key prefix that each vector store belongs to; None: the operator.
    """

    policies: Mapping[tuple[str, str], Retrieval] = field(default_factory=dict)
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    health: Mapping[str, Standing] = field(default_factory=dict)
    switched_off: frozenset[str] = frozenset()
    owners: Mapping[str, str | None] = field(default_factory=dict)

    def plan(self, asked: Retrieval | None, key: str | None, alias: str, release: str) -> Plan:
        """Return what applies: each field is the request's, else the key's, else the alias's."""
        layers = [asked or _NOTHING]
        if key is not None:
            layers.append(self.policies.get(("key", key), _NOTHING))
        layers.append(self.policies.get(("alias", alias), _NOTHING))
        given: dict[str, object] = {}
        for layer in reversed(layers):
            for name in layer.__struct_fields__:
                value = getattr(layer, name)
                if value is not None:
                    given[name] = value
        least_score = given.pop("score_threshold", None)
        named = asked is not None and asked.vector_store_ids is not None
        policy = Policy(**given)  # type: ignore[arg-type]
        standing = self.health.get(alias, _HEALTHY)
        if standing.release not in (None, release):
            standing = _HEALTHY
        stores = tuple(dict.fromkeys(policy.vector_store_ids))
        return Plan(
            policy=policy,
            named=stores if named else (),
            granted=() if named else stores,
            least_score=least_score if isinstance(least_score, float) else 0.0,
            calibration=self.calibrations.get(release, _UNCALIBRATED),
            health=standing.state,
            drifted=standing.drifted,
        )


def may_name(principal: Principal, owner: str | None) -> bool:
    """Return whether a caller may name a vector store of `owner`: as it may search it (`api/`)."""
    return owner in (None, principal.key_prefix) or "admin" in principal.scopes


def is_granted(principal: Principal, owner: str | None) -> bool:
    """Return whether a policy may search a store of `owner` for a caller: never another key's."""
    return owner is None or owner == principal.key_prefix
