"""Two releases with files on disk, one trained from the other, for tests of certificates."""

import hashlib
import json
import os
from pathlib import Path

from gateway.store.database import Database
from gateway.store.releases import Release, Releases

BASE, TUNED = "base-00000001", "base-tuned-00000002"


def registered(database: Database, folder: Path) -> Release:
    """Write and register both; returns the one that was trained."""
    _model(folder / BASE)
    _model(folder / TUNED)
    adapter = folder / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(os.urandom(500))
    made = {
        "adapter": digests(adapter),
        "merge": {"kept": {"kl": 1e-4}, "kl_limit": 1e-3, "judged_by": "kl"},
        "versions": {"torch": "2.13.0"},
    }
    tuned = digests(folder / TUNED)
    (folder / TUNED / "release.json").write_text(json.dumps(made))
    releases = Releases(database)
    releases.register(
        Release(BASE, "base", "r1", str(folder / BASE), digests(folder / BASE), 1.5, "hub:base")
    )
    return releases.register(
        Release(
            TUNED, "base", "r1", str(folder / TUNED), tuned, 2.5, "job:ftjob-1",
            base_release=BASE, dataset="ab" * 32, adapter_path=str(adapter),
            recipe={"name": "lora", "learning_rate": 3e-4, "lora": {"rank": 16}},
            evaluation={"verdict": "PASS", "gates": {"integrity": "PASS"}},
            trigger="fine_tuning_api", job="ftjob-1",
        )
    )  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _model(folder: Path) -> None:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(os.urandom(5000))
    (folder / "config.json").write_text("{}")
