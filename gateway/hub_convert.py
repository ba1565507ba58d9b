"""Converts a GGUF file to bf16 safetensors with its tokenizer and chat template.

    python -m gateway.hub_convert MODEL.gguf FOLDER

Runs as a process of its own, since it loads torch. Quantised weights are dequantised:
https://huggingface.co/docs/transformers/gguf
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig


def convert(gguf: Path, folder: Path) -> None:
    """Write the model in `gguf` to `folder`."""
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    if not tokenizer.chat_template:
        raise SystemExit(f"{gguf.name} has no chat template")
    model = AutoModelForCausalLM.from_pretrained(
        **where, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    # Greedy and without penalties unless the request asks otherwise; stops at the end of a turn.
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
