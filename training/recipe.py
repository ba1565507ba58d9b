"""Recipes: every choice of a training run, as YAML that is read strictly.

A recipe is found by its name (`tiny-cpu`, in training/recipes) or by its path. `--set` overrides
single fields: `learning_rate=1e-4`, `lora.rank=8`. The defaults are those of QLoRA (Dettmers et
al. 2023, https://arxiv.org/abs/2305.14314) as PEFT and TRL recommend them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

RECIPES = Path(__file__).parent / "recipes"

_Positive = Annotated[int, Field(gt=0)]
_Share = Annotated[float, Field(ge=0, lt=1)]


class RecipeError(ValueError):
    """A recipe that cannot be found, read or used; the message names its file and field."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(_Strict):
    """The adapter: rank, scale (`alpha / rank`), dropout and the layers that get one."""

    rank: _Positive = 16
    alpha: _Positive = 32
    dropout: _Share = 0.0
    targets: str | tuple[str, ...] = "all-linear"


class Quantisation(_Strict):
    """How the frozen base is held in 4 bits while an adapter is trained on it."""

    kind: Literal["nf4", "fp4"] = "nf4"
    double: bool = True


class Recipe(_Strict):
    """The choices of a run.

    Args:
        name: Its name; the file's where it gives none.
        description: What it is for, for people.
        method: Adapter on a 4-bit base, adapter, or all weights.
        backend: What trains; Unsloth is optional and needs a GPU.
        device: `auto` takes a GPU where there is one.
        precision: `auto` is float32 on a CPU, bfloat16 on a GPU.
        distributed: With several GPUs: a copy on each (ddp), or the weights spread (fsdp).
        seed: Of the adapter's first weights, the order of rows and dropout.
        threads: Of a CPU run; 0 takes every core.
        max_length: Most tokens of a row.
        too_long: What happens to a longer row: the run is refused, or the row left out and counted.
        epochs: Most passes over the rows.
        max_steps: Most steps; 0 leaves it to `epochs`.
        batch_size: Rows of a step and device.
        accumulation: Batches that are summed into one step.
        eval_batch_size: Rows of a batch of the validation.
        learning_rate: Its highest value.
        schedule: How it falls.
        warmup: Share of the steps in which it rises.
        weight_decay: AdamW's.
        clip: Most the norm of the gradient may be.
        eval_every: Steps between validations, which are also the checkpoints.
        patience: Validations without improvement after which the run ends; 0 never.
        log_every: Steps between two entries of metrics.jsonl.
        checkpointing: Whether activations are computed twice instead of being kept.
        attention: The kernel, as transformers names it.
        lora: The adapter.
        quantisation: The 4-bit base of `qlora`.
        report_to: Trackers that get the metrics as well.
    """

    name: str = ""
    description: str = ""
    method: Literal["qlora", "lora", "full"] = "qlora"
    backend: Literal["trl", "unsloth"] = "trl"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    distributed: Literal["ddp", "fsdp"] = "ddp"
    seed: int = 42
    threads: Annotated[int, Field(ge=0)] = 0
    max_length: _Positive = 2048
    too_long: Literal["refuse", "drop"] = "refuse"
    epochs: Annotated[float, Field(gt=0)] = 3.0
    max_steps: Annotated[int, Field(ge=0)] = 0
    batch_size: _Positive = 4
    accumulation: _Positive = 1
    eval_batch_size: _Positive = 8
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-4
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: _Share = 0.03
    weight_decay: _Share = 0.0
    clip: Annotated[float, Field(gt=0)] = 1.0
    eval_every: _Positive = 50
    patience: Annotated[int, Field(ge=0)] = 3
    log_every: _Positive = 5
    checkpointing: bool = True
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    lora: Lora = Lora()
    quantisation: Quantisation = Quantisation()
    report_to: tuple[Literal["tensorboard", "mlflow"], ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        if self.backend == "unsloth" and self.device == "cpu":
            raise ValueError("`backend: unsloth` needs a GPU, and `device` is cpu")
        if self.backend == "unsloth" and self.method == "full":
            raise ValueError("`backend: unsloth` trains adapters here, and `method` is full")
        if self.distributed == "fsdp" and self.device == "cpu":
            raise ValueError("`distributed: fsdp` needs GPUs, and `device` is cpu")
        return self

    def as_yaml(self) -> str:
        """Return the recipe with every field, as a file that reads back the same."""
        text: str = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        return text


def names() -> list[str]:
    """Return the names of the recipes that come with Driftgate."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load(recipe: str | Path, overrides: Mapping[str, object] | None = None) -> Recipe:
    """Read a recipe by name or path, and override fields of it.

    Args:
        recipe: A name of `names()`, or the path of a YAML file.
        overrides: Values by field; a dot leads into a group (`lora.rank`).

    Raises:
        RecipeError: There is no such recipe, or a field is unknown or wrong.
    """
    path = _find(recipe)
    fields = _read(path)
    fields.setdefault("name", path.stem)
    for key, value in (overrides or {}).items():
        _override(fields, key, value, path)
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        problems = "; ".join(_problem(p, overrides or {}) for p in error.errors())
        raise RecipeError(f"{path}: {problems}") from None


def parse_overrides(given: Sequence[str]) -> dict[str, object]:
    """Read `key=value` pairs; values are YAML scalars or lists.

    Raises:
        RecipeError: A pair has no `=`, or its value is no YAML.
    """
    overrides: dict[str, object] = {}
    for pair in given:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"--set {pair!r}: write it as key=value, as in lora.rank=8")
        try:
            overrides[key.strip()] = _number(yaml.safe_load(text))
        except yaml.YAMLError:
            raise RecipeError(f"--set {pair!r}: the value cannot be read") from None
    return overrides


def _number(value: object) -> object:
    """Read `2e-4` as a number: YAML 1.1 takes it for text, since it has no point."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _find(recipe: str | Path) -> Path:
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise RecipeError(f"{path}: there is no such recipe file")
    if str(recipe) in names():
        return RECIPES / f"{recipe}.yaml"
    raise RecipeError(
        f"no recipe {str(recipe)!r}; there are {', '.join(names())}, or give the path of a .yaml"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        fields = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: this is no readable YAML ({error})") from error
    if not isinstance(fields, dict):
        raise RecipeError(f"{path}: a recipe is a list of `field: value`")
    return {
        str(key): {k: _number(v) for k, v in value.items()}
        if isinstance(value, dict)
        else _number(value)
        for key, value in fields.items()
    }


def _override(fields: dict[str, Any], key: str, value: object, path: Path) -> None:
    *groups, last = key.split(".")
    for group in groups:
        inner = fields.setdefault(group, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"{path}: --set {key}: `{group}` has no fields of its own")
        fields = inner
    fields[last] = value


def _problem(problem: Any, overrides: Mapping[str, object]) -> str:
    field = ".".join(str(part) for part in problem["loc"])
    origin = " (given with --set)" if field in overrides else ""
    if problem["type"] == "extra_forbidden":
        groups: dict[str, type[BaseModel]] = {"lora": Lora, "quantisation": Quantisation}
        known = groups.get(str(problem["loc"][0]), Recipe).model_fields
        return f"`{field}`{origin} is no field; there are {', '.join(known)}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"`{field}`{origin}: {message}" if field else message
