"""Tasks of EleutherAI's lm-evaluation-harness as suites, where it is installed.

`--suite lm:gsm8k` runs the harness's task of that name on each system and pairs the outcomes by
item. Its tasks come from a hub, and only tasks that generate text can be asked of an endpoint.
https://github.com/EleutherAI/lm-evaluation-harness
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

from training.evaluation.answerers.base import AnswererError, Sampling, System
from training.evaluation.cases import CaseError

PREFIX = "lm:"
# The measure of an item, the first that it has: all of them are 0 or 1.
_MEASURES = ("exact_match", "acc", "prompt_level_strict_acc", "pass@1", "em")


def check() -> None:
    """Raise CaseError where the harness is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        raise CaseError(
            "suites that begin with `lm:` need lm-evaluation-harness, which is not installed "
            "(pip install 'lm-eval[api,hf]')"
        )


def passed(
    system: System, key: str, suite: str, most: int | None, seed: int, kept: Path
) -> dict[str, bool]:
    """Return which items of a task a system passed, by id.

    Args:
        system: What is asked.
        key: Its API key, or empty.
        suite: `lm:` and the name of the task.
        most: How many items; None for all.
        seed: Of everything that the harness draws.
        kept: A file; where it is of the same settings its outcomes are returned.

    Raises:
        AnswererError: The harness does not know the task, or the system cannot do it.
    """
    settings = [_identity(system), suite, most, seed]
    try:
        known = json.loads(kept.read_text())
        if known["settings"] == settings:
            return dict(known["passed"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = _outcomes(suite, _samples(system, key, suite.removeprefix(PREFIX), most, seed))
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_name(f".{kept.name}.partial")
    partial.write_text(json.dumps({"settings": settings, "passed": found}))
    partial.replace(kept)
    return found


def _samples(
    system: System, key: str, task: str, most: int | None, seed: int
) -> dict[str, list[dict[str, Any]]]:
    import lm_eval  # type: ignore[import-not-found,import-untyped,unused-ignore]

    model, arguments = _model(system, key)
    try:
        results = lm_eval.simple_evaluate(
            model=model,
            model_args=arguments,
            tasks=[task],
            limit=most,
            log_samples=True,
            apply_chat_template=True,
            bootstrap_iters=0,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
    # It raises what it likes: KeyError for a task, errors of the hub, of requests, of torch.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise AnswererError(f"lm-evaluation-harness cannot run {task!r}: {reason}") from error
    samples: dict[str, list[dict[str, Any]]] = results["samples"]
    return samples


def _identity(system: System) -> str:
    """Return what the outcomes depend on: the address, or the files of a folder."""
    if system.spec.startswith(("http://", "https://")):
        return system.spec
    from training.evaluation.answerers.local import LocalModel

    return LocalModel(system, Sampling()).fingerprint


def _model(system: System, key: str) -> tuple[str, dict[str, Any]]:
    """Return the harness's kind of model and its arguments."""
    if system.spec.startswith(("http://", "https://")):
        from training.evaluation.answerers.openai_endpoint import split

        if system.extra_body:
            raise AnswererError("lm-evaluation-harness sends no extra body")
        url, model = split(system.spec)
        arguments: dict[str, Any] = {"model": model, "base_url": url, "tokenized_requests": False}
        return "local-chat-completions", arguments | ({"auth_token": key} if key else {})
    from training.evaluation.answerers.local import folders

    folder, adapter = folders(system.spec)
    arguments = {"pretrained": str(folder), "dtype": "float32"}
    return "hf", arguments | ({"peft": str(adapter)} if adapter else {})


def _outcomes(suite: str, samples: dict[str, list[dict[str, Any]]]) -> dict[str, bool]:
    """Return item by item whether it was passed; a group's tasks are taken together."""
    found: dict[str, bool] = {}
    for task, rows in samples.items():
        for row in rows:
            measure = next((name for name in _MEASURES if name in row), None)
            if measure is None or row[measure] not in (0, 1):
                raise AnswererError(f"the task {task} has no measure of right and wrong")
            # The first filter of several: the strict one, by the harness's habit.
            found.setdefault(f"{suite}:{task}:{row['doc_id']}", bool(row[measure]))
    return found
