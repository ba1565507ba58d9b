"""Which tokens of a conversation are trained on: what the trainer will mask, computed beforehand.

Loss is taken on the assistant's turns alone, their end-of-turn token included: a model that never
sees that token in its loss never learns to stop (TRL, "Train on assistant messages only",
https://huggingface.co/docs/trl/sft_trainer).
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.store.examples import Message

_PLAIN = ("TokenizersBackend", "PreTrainedTokenizerFast")
# Of whatever kind of tokenizer. Told before the imports: a wrong folder is the usual mistake.
_TOKENIZER_FILES = ("tokenizer*", "vocab*", "*.model", "*.tiktoken")
_TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")


class TokenizerError(ValueError):
    """A folder without a usable tokenizer or chat template, or a template that refuses a row."""


def load_tokenizer(folder: Path) -> Any:
    """Return the transformers tokenizer of a model's folder; nothing is fetched.

    Raises:
        TokenizerError: The folder has no tokenizer, a slow one, or no chat template.
    """
    if not folder.is_dir():
        raise TokenizerError(f"{folder}: there is no such folder")
    if not any(next(folder.glob(names), None) for names in _TOKENIZER_FILES):
        raise TokenizerError(f"{folder}: there is no tokenizer in it (no tokenizer.json)")
    try:
        tokenizer = _loader(folder).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise TokenizerError(f"{folder}: its tokenizer cannot be loaded ({error})") from error
    if not tokenizer.is_fast:
        raise TokenizerError(f"{folder}: its tokenizer gives no offsets (no tokenizer.json)")
    if not isinstance(tokenizer.chat_template, str):
        raise TokenizerError(f"{folder}: its tokenizer has no chat template")
    return tokenizer


def render(tokenizer: Any, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
    """Return the token ids of a conversation and which of them are trained on.

    A template with `{% generation %}` markers says itself what is trained. For any other, a turn of
    the assistant begins where the generation prompt ends and goes up to its end-of-turn token;
    what the template puts behind that token (a line feed) is never generated, so not trained.

    Returns:
        ids and mask, of the same length; the mask is 1 where the loss is taken, else 0.

    Raises:
        TokenizerError: The template refuses the conversation, or renders the turns before the
            answer differently once the answer follows.
    """
    turns = [message.as_dict() for message in messages]
    if _has_markers(tokenizer.chat_template):
        return _marked(tokenizer, turns)
    text = _text(tokenizer, turns)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = encoded["input_ids"]
    starts = [start for start, _ in encoded["offset_mapping"]]
    mask = [0] * len(ids)
    added = set(tokenizer.get_added_vocab().values())
    for number, turn in enumerate(turns):
        if turn["role"] == "assistant":
            begin = len(_prefix(tokenizer, turns[:number], text, generation=True))
            end = len(_prefix(tokenizer, turns[: number + 1], text))
            inside = [n for n, start in enumerate(starts) if begin <= start < end]
            for n in _up_to_end(inside, ids, added):
                mask[n] = 1
    return ids, mask


def end_tokens(tokenizer: Any, folder: Path | None = None) -> frozenset[int]:
    """Return the ids at which an engine stops: the tokenizer's, and those of generation_config."""
    found = {tokenizer.eos_token_id} - {None}
    path = folder / "generation_config.json" if folder else None
    if path is not None and path.is_file():
        try:
            value = json.loads(path.read_text("utf-8")).get("eos_token_id")
        except (ValueError, AttributeError) as error:
            raise TokenizerError(f"{path}: this is no generation config ({error})") from error
        found.update(value if isinstance(value, list) else [value] if value is not None else [])
    return frozenset(found)


def template_digest(tokenizer: Any) -> str:
    """Return the SHA-256 of the chat template, as the tokenizer has it."""
    return hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()


def tokenizer_digest(folder: Path) -> str:
    """Return the SHA-256 over the files that decide how text becomes tokens."""
    digest = hashlib.sha256()
    for name in ("tokenizer.json", *_TEMPLATE_FILES):
        path = folder / name
        if path.is_file():
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _loader(folder: Path) -> Any:
    """Return the class that loads a folder's tokenizer.

    AutoTokenizer would find the plain class too where the folder names it, but imports torch and
    scikit-learn on its way: ten seconds instead of two.
    """
    config = folder / "tokenizer_config.json"
    if config.is_file() and json.loads(config.read_text("utf-8")).get("tokenizer_class") in _PLAIN:
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast
    from transformers import AutoTokenizer

    return AutoTokenizer


def _has_markers(template: str) -> bool:
    compact = "".join(template.split()).replace("{%-", "{%").replace("-%}", "%}")
    return "{%generation%}" in compact


def _marked(tokenizer: Any, turns: list[dict[str, Any]]) -> tuple[list[int], list[int]]:
    from jinja2.exceptions import TemplateError

    try:
        encoded = tokenizer.apply_chat_template(
            turns, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise TokenizerError(f"the chat template refuses this row: {error}") from error
    return encoded["input_ids"], encoded["assistant_masks"]


def _text(tokenizer: Any, turns: list[dict[str, Any]], *, generation: bool = False) -> str:
    from jinja2.exceptions import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=generation
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise TokenizerError(f"the chat template refuses this row: {error}") from error
    return text


def _prefix(
    tokenizer: Any, turns: list[dict[str, Any]], text: str, *, generation: bool = False
) -> str:
    prefix = _text(tokenizer, turns, generation=generation)
    if not text.startswith(prefix):
        raise TokenizerError(
            f"the chat template renders the first {len(turns)} turns differently once others "
            "follow, so training would not see what serving sends"
        )
    return prefix


def _up_to_end(span: list[int], ids: list[int], added: set[int]) -> list[int]:
    """Cut a turn's tokens behind its last added token (`<|im_end|>`), where it has one."""
    for length in range(len(span), 0, -1):
        if ids[span[length - 1]] in added:
            return span[:length]
    return span
