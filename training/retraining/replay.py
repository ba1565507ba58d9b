"""The attribution replay of an alias: what is known, asked through the gateway.

driftgate retrain ALIAS --dry-run          # this, and nothing else
"""

from dataclasses import dataclass
from pathlib import Path

from gateway.store.database import Database
from gateway.store.engines import Engines, EngineState
from gateway.store.health import Healths
from gateway.store.policies import Policies
from gateway.store.releases import Release
from monitoring.settings import MonitorSettings
from training.asking import GatewayAsker
from training.attribution import Attribution, attribute, cases
from training.data.collecting import Collected, Parent, collect, trusted
from training.loop import LoopSettings
from training.rules import rules_of


@dataclass(frozen=True, slots=True)
class Places:
    """Where a replay finds things: the folder of jobs and files, and the gateway without `/v1`."""

    home: Path
    gateway_url: str


def gather(
    database: Database, places: Places, alias: str, serving: Release, settings: LoopSettings
) -> Collected:
    """Return what is known about an alias.

    Raises:
        StoreError: The store is away.
        ProbesInvalid: The file of golden probes cannot be used.
    """
    golden = MonitorSettings(home=places.home).probes() / f"{alias}.jsonl"
    rules = rules_of(settings, trusted(database))
    return collect(database, alias, Parent.of(serving, places.home), rules, golden)


def replay(
    database: Database,
    places: Places,
    alias: str,
    serving: Release,
    settings: LoopSettings,
    collected: Collected,
    *,
    purpose: str,
    seed: int,
    harmed: bool = False,
    forced: bool = False,
) -> Attribution:
    """Ask what is known, and tell which part is at fault.

    Args:
        database: The store.
        places: Where things are.
        alias: The alias.
        serving: The release behind it.
        settings: Of its loop.
        collected: What is known.
        purpose: Whose questions they are.
        seed: Of the choice of questions.
        harmed: Whether harm was shown before; the alias's health may say so as well.
        forced: Whether somebody wants a new release whatever is at fault.

    Raises:
        StoreError: The store is away.
    """
    left_out = []
    base = serving.base_release
    ready = {e.release for e in Engines(database).all() if e.state is EngineState.READY}
    if base is None:
        left_out.append(f"{serving.id} was made from no other release")
    elif base not in ready:
        left_out.append(f"{base}, which it was made from, is not served")
    documents = any(
        policy.kind == "alias" and policy.name == alias and policy.fields.get("vector_store_ids")
        for policy in Policies(database).all()
    )
    if not documents:
        left_out.append(f"`{alias}` has no documents: there is no retrieval to switch on")
    asked = cases(collected, settings.attribution.cases, seed)
    chosen = sum(case.row.source in collected.grounded for case in asked if case.slice == "new")
    if chosen:
        left_out.append(
            f"what documents were not known to fail at, for want of it: {chosen} questions about "
            "what drifted are corrections of grounded answers, so documents may be underrated"
        )
    with GatewayAsker(database, places.gateway_url, purpose, like=alias) as asker:
        return attribute(
            asker,
            asked,
            settings.attribution,
            serving=serving.id,
            base=base if base in ready else None,
            documents=documents,
            rows=len(collected.new),
            least_rows=settings.least_rows,
            harmed=harmed or Healths(database).settled(alias).state == "DEGRADED",
            forced=forced,
            left_out=left_out,
        )
