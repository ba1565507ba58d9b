"""Where a merged model comes from: release.json for programs, a model card for people.

The card follows https://huggingface.co/docs/hub/model-cards.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from training.recipe import Recipe
from training.run import TrainResult
from training.run_folder import digests, write_json

RELEASE = "release.json"
# As `driftgate models` reads it.
_INSTALLED = "driftgate.json"
_CARD = "README.md"


def describe(
    *,
    name: str,
    run: TrainResult,
    recipe: Recipe,
    manifest: Mapping[str, Any],
    versions: Mapping[str, Any],
    adapter: Mapping[str, str],
    kept: Mapping[str, Any],
    candidates: Sequence[Mapping[str, Any]],
    kl_limit: float,
    judged_by: str,
    files: Mapping[str, str],
) -> dict[str, Any]:
    """Return the release as it is written."""
    return {
        "name": name,
        "created_at": round(time.time(), 3),
        "base": dict(manifest["base"]),
        "data": {key: manifest.get(key) for key in ("train", "eval", "data_manifest")},
        "recipe": recipe.model_dump(mode="json"),
        "run": run.as_dict(),
        "versions": dict(versions),
        "adapter": dict(adapter),
        "merge": {
            "kept": dict(kept),
            "candidates": [dict(candidate) for candidate in candidates],
            "kl_limit": kl_limit,
            "judged_by": judged_by,
        },
        "files": dict(files),
    }


def write(folder: Path, release: Mapping[str, Any]) -> None:
    """Write the release's files beside the weights; release.json comes last."""
    (folder / _CARD).write_text(card(release), "utf-8")
    installed = {
        "name": release["name"],
        "path": None,
        "source": f"run:{release['run']['run']}",
        "revision": release["adapter"].get("adapter_model.safetensors", ""),
        "digests": release["files"],
    }
    write_json(folder / _INSTALLED, installed)
    write_json(folder / RELEASE, release)


def changed(folder: Path, release: Mapping[str, Any]) -> list[str]:
    """Return the files of a merged model that are not what was written."""
    beside = (_CARD, _INSTALLED, RELEASE)
    now = {name: digest for name, digest in digests(folder).items() if name not in beside}
    before: Mapping[str, str] = release["files"]
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def card(release: Mapping[str, Any]) -> str:
    """Return the model card: what it is, of what it was made, and how close the merge is."""
    run, kept, recipe = release["run"], release["merge"]["kept"], release["recipe"]
    base = Path(release["base"]["path"]).name
    head = yaml.safe_dump(
        {
            "base_model": base,
            "library_name": "transformers",
            "pipeline_tag": "text-generation",
            "tags": ["driftgate", recipe["method"]],
        },
        sort_keys=False,
    )
    rows = "\n".join(
        f"| {c['kind']} base, {c['precision']} | {c['kl']:.2e} | {c['worst_kl']:.2e} | "
        f"{c['agreement']:.0%} of {c['prompts']} |"
        for c in release["merge"]["candidates"]
    )
    data = "\n".join(_data_line(name, part) for name, part in release["data"].items() if part)
    weights = "\n".join(
        f"- `{name}` {digest}"
        for name, digest in release["files"].items()
        if name.endswith(".safetensors")
    )
    steps = f"{run['steps']:,} of {run['total']:,} steps, the best at {run['best_step']:,}"
    batch = recipe["batch_size"] * recipe["accumulation"]
    loss = f"{run['loss']:.3f}" if run["loss"] is not None else "unknown"
    checked = (
        f", validation loss {run['first_eval_loss']:.3f} → {run['eval_loss']:.3f}"
        if run["eval_loss"] is not None
        else ""
    )
    return f"""---
{head}---

# {release["name"]}

{base}, fine-tuned with Driftgate by the recipe `{recipe["name"]}` ({recipe["method"]}), and merged.

## Training

{steps}; training loss {loss}{checked}.
Learning rate {recipe["learning_rate"]:g}, {batch} rows a step and device, seed {recipe["seed"]}.

{data}

## Merge

Kept: into the {kept["kind"]} base, {kept["precision"]}. KL divergence from the adapter as it was
trained, nats a token over {kept["positions"]} tokens of held-out answers, and greedy answers that
are the same:

| merge | mean KL | highest | same answers |
| --- | --- | --- | --- |
{rows}

## Lineage

Base: `{base}`, whose files `release.json` names by SHA-256, as it does the adapter's; it also has
the whole recipe and the versions of all packages.

{weights}
"""


def _data_line(name: str, part: Mapping[str, Any]) -> str:
    rows = f"{part['rows']:,} rows, {part['tokens']:,} tokens, " if "rows" in part else ""
    return f"- {name.replace('_', ' ')}: {rows}SHA-256 {part['sha256']}"
