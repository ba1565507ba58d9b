"""The certificate of a release: where it came from and what was shown of it, signed.

What a statement holds, version 1 (a part that a release does not have is null):

    type, subject            "driftgate/release-certificate/1" and the release's id
    release                  model, revision, source, made at, base release, data set, trigger, job
    files                    SHA-256 by file, what an engine loads
    adapter                  SHA-256 by file of the adapter, and how close the merge came to it
    parents                  the chain to the model that was pulled: id, model, revision, source,
                             the SHA-256 of each one's digests (canonical JSON)
    recipe, evaluation       as the release has them: training fields; scores, gates, verdicts
    job                      the training job: base, files, seed, hyperparameters, times
    trigger                  the request to retrain: who asked, evidence, attribution, rows
    rollout                  plan, evidence by stage, decision, who approved, times
    versions                 of Driftgate and of the packages that trained
    certified_at             Unix seconds

It is signed again, with more in it, when more is known: at registration, and at promotion.
"""

import importlib.metadata
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway import signing
from gateway.store.certificates import Certificate, Certificates
from gateway.store.database import Database, storable
from gateway.store.jobs import Job, Jobs
from gateway.store.releases import Release, Releases
from gateway.store.retraining import Retraining, RetrainingRequest
from gateway.store.rollouts import Rollout, Rollouts
from retrieval.secret_files import FileSettings

TYPE = "driftgate/release-certificate/1"
_MOST = 1000


class _Signing(FileSettings):
    """The gateway's setting, which processes of a worker share through their environment."""

    signing_key: Path | None = None


def certify(
    database: Database,
    home: Path,
    release_id: str,
    *,
    rollout: Rollout | None = None,
    key: Path | None = None,
) -> Certificate:
    """Put a release's statement together, sign it and keep it in place of an earlier one.

    Args:
        database: The store.
        home: Driftgate's home, where the key is made on first use.
        release_id: The release.
        rollout: The rollout to tell of; None: its newest.
        key: The private key; None: that of the setting, or `signing.key` in `home`.

    Raises:
        KeyError: There is no such release.
        SigningError: The key cannot be used.
        StoreError: The store is away.
    """
    statement = describe(database, release_id, rollout)
    path = signing.key_path(home, key or _Signing().signing_key)
    signer = signing.SigningKey.load_or_make(path)
    signature = signer.sign(statement)
    certificate = Certificate(release_id, statement, signer.public.id, signature)
    return Certificates(database).put(certificate)


def attempt(
    database: Database, home: Path, release_id: str, rollout: Rollout | None = None
) -> str | None:
    """Certify a release as part of other work, which a key that is wrong must not end.

    Returns:
        What was wrong, for people; None where it is certified.

    Raises:
        StoreError: The store is away: this is tried again.
    """
    try:
        certify(database, home, release_id, rollout=rollout)
    except (signing.SigningError, OSError) as error:
        return f"{release_id} has no certificate: {error}"
    return None


def describe(database: Database, release_id: str, rollout: Rollout | None = None) -> dict[str, Any]:
    """Return the statement about a release; see `certify`."""
    releases = Releases(database)
    release = releases.get(release_id)
    if release is None:
        raise KeyError(release_id)
    rollout = rollout or _newest_rollout(database, release_id)
    job = Jobs(database).get(release.job) if release.job else None
    made = _made(release)
    statement = {
        "type": TYPE,
        "subject": release.id,
        "release": {
            name: getattr(release, name)
            for name in (
                "model", "revision", "source", "created_at", "base_release", "dataset",
                "trigger", "job",
            )
        },
        "files": release.digests,
        "adapter": _adapter(made),
        "parents": [_parent(parent) for parent in lineage(releases, release)],
        "recipe": release.recipe,
        "evaluation": release.evaluation,
        "job": None if job is None else _job(job),
        "trigger": _trigger(database, release, rollout),
        "rollout": None if rollout is None else _rollout(rollout),
        "versions": {
            "driftgate": importlib.metadata.version("driftgate"),
            "training": made.get("versions"),
        },
        "certified_at": time.time(),
    }  # fmt: skip
    # As the store gives it back: the signature is over that.
    return dict(storable(signing.signable(statement)))


def lineage(releases: Releases, release: Release) -> list[Release]:
    """Return the releases that one was trained from, the nearest first."""
    chain: list[Release] = []
    while release.base_release is not None:
        parent = releases.get(release.base_release)
        if parent is None or parent in chain:
            break
        chain.append(parent)
        release = parent
    return chain


def _parent(release: Release) -> dict[str, Any]:
    return {
        "id": release.id,
        "model": release.model,
        "revision": release.revision,
        "source": release.source,
        "digests_sha256": signing.digest(release.digests),
    }


def _made(release: Release) -> dict[str, Any]:
    """Return what the merge wrote beside the weights, see `training.lineage`; empty: nothing."""
    try:
        found = json.loads((Path(release.path) / "release.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _adapter(made: dict[str, Any]) -> dict[str, Any] | None:
    if "adapter" not in made:
        return None
    merge = made.get("merge") or {}
    return {
        "files": made["adapter"],
        "merge": merge.get("kept"),
        "kl_limit": merge.get("kl_limit"),
        "judged_by": merge.get("judged_by"),
    }


def _job(job: Job) -> dict[str, Any]:
    names = (
        "id", "created_at", "finished_at", "model", "base_release", "training_file",
        "validation_file", "hyperparameters", "seed", "trained_tokens",
    )  # fmt: skip
    return {name: getattr(job, name) for name in names}


def _trigger(
    database: Database, release: Release, rollout: Rollout | None
) -> dict[str, Any] | None:
    """Return the request to retrain that led to a release, where there was one."""
    retraining = Retraining(database)
    found: RetrainingRequest | None = None
    if rollout is not None and rollout.request is not None:
        found = retraining.get(rollout.request)
    elif release.job is not None:
        requests = retraining.all(limit=_MOST)
        found = next((request for request in requests if request.job == release.job), None)
    if found is None:
        return None
    names = (
        "id", "alias", "release", "source", "reason", "evidence", "created_at", "attribution",
        "rows",
    )  # fmt: skip
    return {name: getattr(found, name) for name in names}


def _rollout(rollout: Rollout) -> dict[str, Any]:
    told = asdict(rollout)
    return {name: value for name, value in told.items() if name not in ("wish", "wished_by")}


def _newest_rollout(database: Database, release: str) -> Rollout | None:
    rollouts = Rollouts(database).all(limit=_MOST)
    return next((rollout for rollout in rollouts if rollout.candidate == release), None)
