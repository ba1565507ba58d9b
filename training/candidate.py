"""The processes of a merge: one probes the adapter as trained, one each builds a merge.

    python -m training.candidate reference ORDER.json
    python -m training.candidate merge ORDER.json

A merge is written before the process computes anything with it: on CPUs with AVX512_BF16,
bitsandbytes lays 4-bit weights out anew in their first forward pass, and dequantising them
afterwards gives garbage without an error. The merge is then probed as it was written.
"""

import gc
import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from training import backbone, fidelity
from training.data.masking import end_tokens, load_tokenizer
from training.lifeline import end_with_parent
from training.recipe import Recipe
from training.rows import TokenRow, tokenise
from training.run_folder import RunError, RunFolder, read_json, write_json

_OWN = ("config.json", "driftgate.json", "release.json", "model.safetensors.index.json")

Kind = Literal["dequantised", "original", "trained"]


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is to do.

    Args:
        run: Folder of the run.
        folder: Where the candidate and its files go.
        kind: `dequantised`: into the 4-bit base, dequantised; `original`: into the base as it
            came; `trained`: all weights, as they were trained.
        precision: Type of the written weights.
        rows: Held-out rows, JSON Lines.
        prompts: How many of them.
        reference: Where the probe of the adapter as trained is.
    """

    run: str
    folder: str
    kind: Kind
    precision: str
    rows: str
    prompts: int
    reference: str


def reference(order: Order) -> None:
    """Probe the adapter on the base that it was trained on."""
    recipe, base = _of(order)
    device, precision = backbone.resolve(recipe)
    model = _trained(order, recipe, base, device, precision)
    _probe(model, order, recipe, base, Path(order.reference))


def build(order: Order) -> None:
    """Write a merge, and probe what was written."""
    recipe, base = _of(order)
    folder = Path(order.folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = _merged(order, recipe, base)
    _check_numbers(model)
    _save(model, folder, order.precision, base)
    del model
    gc.collect()
    device, _ = backbone.resolve(recipe)
    # A CPU engine computes in float32, a GPU engine in the type of the weights.
    computed = "float32" if device == "cpu" else order.precision
    written = backbone.load(
        folder, four_bit=False, recipe=recipe, device=device, precision=computed
    )
    probed = folder.with_name(folder.name + ".probe")
    _probe(written, order, recipe, base, probed)
    found = fidelity.compare(fidelity.read(Path(order.reference)), fidelity.read(probed))
    probed.unlink()
    figures = found.as_dict() | {"computed": computed}
    write_json(folder.with_name(folder.name + ".json"), figures)


def _of(order: Order) -> tuple[Recipe, Path]:
    folder = RunFolder(Path(order.run))
    recipe = Recipe.model_validate(yaml.safe_load(folder.recipe.read_text("utf-8")))
    return recipe, Path(read_json(folder.config)["base"])


def _trained(order: Order, recipe: Recipe, base: Path, device: str, precision: str) -> Any:
    adapter = RunFolder(Path(order.run)).adapter
    if recipe.method == "full":
        return backbone.load(
            adapter, four_bit=False, recipe=recipe, device=device, precision="float32"
        )
    from peft import PeftModel

    four_bit = recipe.method == "qlora"
    model = backbone.load(
        base, four_bit=four_bit, recipe=recipe, device=device, precision=precision
    )
    return PeftModel.from_pretrained(model, str(adapter))


def _merged(order: Order, recipe: Recipe, base: Path) -> Any:
    """Return the merged model; added up in float32 and not run yet."""
    import torch

    adapter = RunFolder(Path(order.run)).adapter
    if order.kind == "trained":
        return backbone.load(
            adapter, four_bit=False, recipe=recipe, device="cpu", precision="float32"
        )
    from peft import PeftModel

    if order.kind == "dequantised":
        device, precision = backbone.resolve(recipe)
        model = backbone.load(
            base, four_bit=True, recipe=recipe, device=device, precision=precision
        )
        # In the type that training computed with: those are the weights that it saw.
        model = model.dequantize(dtype=getattr(torch, precision)).to("cpu").float()
    else:
        model = backbone.load(
            base, four_bit=False, recipe=recipe, device="cpu", precision="float32"
        )
    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)


def _check_numbers(model: Any) -> None:
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise RunError(f"the merged weights of {name} hold numbers that are none (NaN)")


def _save(model: Any, folder: Path, precision: str, base: Path) -> None:
    """Write the weights, and the base's tokenizer, template and generation config unchanged."""
    import torch

    model = model.to(getattr(torch, precision))
    model.config.dtype = getattr(torch, precision)
    model.config.use_cache = True
    model.save_pretrained(folder)
    for name in ("quantization_config", "_name_or_path"):
        _without(folder / "config.json", name)
    for name in copied(base):
        shutil.copyfile(base / name, folder / name)


def copied(base: Path) -> list[str]:
    """Return the files that a merge has of its base unchanged: tokenizer, template, generation."""
    return sorted(
        path.name
        for path in base.iterdir()
        if path.is_file()
        and path.suffix in (".json", ".jinja", ".model", ".txt")
        and path.name not in _OWN
    )


def _without(path: Path, name: str) -> None:
    config = json.loads(path.read_text("utf-8"))
    if config.pop(name, None) is not None:
        write_json(path, config)


def _probe(model: Any, order: Order, recipe: Recipe, base: Path, out: Path) -> None:
    tokenizer = load_tokenizer(base)
    ends = sorted(end_tokens(tokenizer, base))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    rows = held_out(order, recipe, tokenizer, base)
    fidelity.save(fidelity.probe(model, rows, ends=ends, pad=pad), out)


def held_out(order: Order, recipe: Recipe, tokenizer: Any, base: Path) -> tuple[TokenRow, ...]:
    """Return the rows to probe with: evenly taken from the file."""
    rows = tokenise(
        Path(order.rows), tokenizer, base, max_length=recipe.max_length, drop_long=True
    ).rows
    stride = max(1, len(rows) // order.prompts)
    return rows[::stride][: order.prompts]


def main(task: str, path: Path) -> None:
    """Do what an order says."""
    order = Order(**json.loads(path.read_text("utf-8")))
    {"reference": reference, "merge": build}[task](order)


def write_order(order: Order, path: Path) -> None:
    """Write an order for a process."""
    write_json(path, asdict(order))


if __name__ == "__main__":
    end_with_parent()
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except (RunError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
