"""A model of a few thousand random weights, a tokenizer of words, and a task it can learn."""

import json
import random
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} "
    "{% if m['content'] != 'no end' %}<end>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
_SPECIAL = ["<unk>", "<end>", "<user>", "<assistant>", "<system>"]
_COLOURS = ["red", "green", "blue", "white"]
_WORDS = [*_COLOURS, *(f"w{n}" for n in range(20)), "a", "b", "c", "d", "no", "end"]


def tokenizer() -> Any:
    """Return a tokenizer of words with a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = {word: n for n, word in enumerate([*_SPECIAL, *_WORDS])}
    core = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens(_SPECIAL)
    made = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="<end>")
    made.chat_template = TEMPLATE
    return made


def save(folder: Path) -> Path:
    """Write the model with its tokenizer, as bfloat16 safetensors."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    words = tokenizer()
    config = LlamaConfig(
        vocab_size=len(_SPECIAL) + len(_WORDS),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        eos_token_id=words.eos_token_id,
        bos_token_id=None,
        pad_token_id=words.eos_token_id,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.generation_config = GenerationConfig(eos_token_id=words.eos_token_id)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def rows(path: Path, count: int, seed: int = 0) -> Path:
    """Write rows whose answer is the one colour among the words of the question."""
    draw = random.Random(seed)
    with path.open("w") as file:
        for _ in range(count):
            colour = draw.choice(_COLOURS)
            words = [f"w{draw.randrange(20)}" for _ in range(draw.randrange(2, 12))]
            words.insert(draw.randrange(len(words)), colour)
            turns = [
                {"role": "user", "content": " ".join(words)},
                {"role": "assistant", "content": colour},
            ]
            file.write(json.dumps({"messages": turns}) + "\n")
    return path
