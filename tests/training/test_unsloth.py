import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from training import recipe, unsloth
from training.run_folder import RunError


def test_without_the_package_the_recipe_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"needs the package unsloth .* `--set backend=trl`"):
        unsloth.model(Path("base"), recipe.load("qlora-7b", {"backend": "unsloth"}), "bfloat16")


def test_the_recipe_reaches_unsloth(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, Any]] = []

    class Fast:
        @staticmethod
        def from_pretrained(**options: Any) -> tuple[str, str]:
            called.append(options)
            return "model", "tokenizer"

        @staticmethod
        def get_peft_model(model: str, **options: Any) -> str:
            called.append(options)
            return f"adapter on {model}"

    package: Any = types.ModuleType("unsloth")
    package.FastLanguageModel = Fast
    monkeypatch.setitem(sys.modules, "unsloth", package)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    chosen = recipe.load("qlora-7b", {"backend": "unsloth", "lora.rank": 8})
    assert unsloth.model(Path("base"), chosen, "bfloat16") == "adapter on model"
    loading, adapting = called
    assert (loading["load_in_4bit"], loading["max_seq_length"]) == (True, 2048)
    assert (adapting["r"], adapting["random_state"]) == (8, 42)
