"""Unsloth as a backend: faster kernels for adapters on one GPU. The only file that imports it.

https://docs.unsloth.ai. It is not among the requirements; `pip install unsloth` brings it.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from training.recipe import Recipe
from training.run_folder import RunError


def model(base: Path, recipe: Recipe, precision: str) -> Any:
    """Return the base with an adapter, with Unsloth's kernels.

    Raises:
        RunError: Unsloth is not installed, or cannot be loaded on this machine.
    """
    if importlib.util.find_spec("unsloth") is None:
        raise RunError(
            "`backend: unsloth` needs the package unsloth (pip install unsloth) and a GPU; "
            "`--set backend=trl` trains without it"
        )
    try:
        fast = importlib.import_module("unsloth").FastLanguageModel
    except (ImportError, NotImplementedError, RuntimeError) as error:
        raise RunError(f"unsloth cannot be loaded here: {error}") from error
    loaded, _ = fast.from_pretrained(
        model_name=str(base),
        max_seq_length=recipe.max_length,
        load_in_4bit=recipe.method == "qlora",
        dtype=None if recipe.precision == "auto" else precision,
        local_files_only=True,
    )
    targets = recipe.lora.targets
    return fast.get_peft_model(
        loaded,
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_gradient_checkpointing="unsloth" if recipe.checkpointing else False,
        random_state=recipe.seed,
    )
