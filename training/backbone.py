"""Loads the base of a run: in its own precision or in 4 bits, on a CPU or a GPU, never from a hub.

4-bit: bitsandbytes' NF4 with double quantisation (QLoRA, https://arxiv.org/abs/2305.14314).
"""

from pathlib import Path
from typing import Any

from training.recipe import Recipe
from training.run_folder import RunError


def resolve(recipe: Recipe) -> tuple[str, str]:
    """Return the device (`cpu`, `cuda`) and the precision (a torch type's name) of a recipe.

    Raises:
        RunError: The recipe wants a GPU, and there is none.
    """
    import torch

    there = bool(torch.cuda.is_available())
    if recipe.device == "cuda" and not there:
        raise RunError(
            f"the recipe {recipe.name} wants a GPU, and torch finds none; "
            "`--set device=cpu` trains on the CPU, `tiny-cpu` is made for it"
        )
    device = "cuda" if there and recipe.device != "cpu" else "cpu"
    if recipe.precision != "auto":
        return device, recipe.precision
    if device == "cpu":
        return device, "float32"
    return device, "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def load(
    base: Path,
    *,
    four_bit: bool,
    recipe: Recipe,
    device: str,
    precision: str,
    local_rank: int = 0,
) -> Any:
    """Return the causal language model in a folder.

    Args:
        base: The folder; safetensors only.
        four_bit: Whether its linear layers are held in 4 bits.
        recipe: Its `quantisation`, `attention` and `distributed` count.
        device: `cpu` or `cuda`.
        precision: Of the weights, and of the arithmetic on 4-bit ones. On a CPU, bfloat16
            arithmetic on 4-bit weights takes ten times as long as float32.
        local_rank: Which GPU of this host.

    Raises:
        RunError: The folder holds no model that can be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = getattr(torch, precision)
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": recipe.attention}
    spread = recipe.distributed == "fsdp" and device == "cuda"
    if four_bit:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=recipe.quantisation.kind,
            bnb_4bit_use_double_quant=recipe.quantisation.double,
            bnb_4bit_compute_dtype=dtype,
            # FSDP shards tensors of one type alone, so 4-bit weights travel in that type.
            bnb_4bit_quant_storage=dtype if spread else torch.uint8,
        )
    if not spread:
        options["device_map"] = {"": f"cuda:{local_rank}" if device == "cuda" else "cpu"}
    try:
        return AutoModelForCausalLM.from_pretrained(
            base, local_files_only=True, use_safetensors=True, **options
        )
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise RunError(f"{base}: the model cannot be loaded ({error})") from error
