"""A small tokenizer with a chat template, made here; the real model and rows where they are."""

import csv
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def save_tokenizer(folder: Path, template: str = CHATML, eos: str = "<|im_end|>") -> Path:
    """Save a byte-level tokenizer with ChatML's tokens into a folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = models.BPE({letter: n for n, letter in enumerate(alphabet)}, [])
    bare = Tokenizer(model)
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare,
        eos_token=eos,
        pad_token="<|pad|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small tokenizer."""
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def banking(public_data: Path, tmp_path: Path) -> Path:
    """2,000 rows of BANKING77 as training rows: every fifth row, so that all intents are there."""
    with (public_data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[::5][:2000]
    path = tmp_path / "banking.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            turns = [
                {"role": "system", "content": "Name the customer's intent."},
                {"role": "user", "content": row["text"]},
                {"role": "assistant", "content": row["category"]},
            ]
            file.write(json.dumps({"messages": turns}) + "\n")
    return path
