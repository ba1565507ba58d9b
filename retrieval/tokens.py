"""Counts tokens as the embedder does; the only file that imports tokenizers."""

import json
import re
from pathlib import Path
from typing import Protocol

_WORDS = re.compile(r"\w+|[^\w\s]")


class TokenCounter(Protocol):
    """Counts the tokens of texts.

    Attributes:
        limit: Most tokens of a text that the embedder reads; None: no limit is known.
    """

    limit: int | None

    def count(self, texts: list[str]) -> list[int]:
        """Return the tokens of each text, without those that mark begin and end."""
        ...


class WordCounter:
    """The documented stub: a word is a token. For embedders without a tokenizer."""

    limit: int | None = None

    def count(self, texts: list[str]) -> list[int]:
        return [sum(1 for _ in _WORDS.finditer(text)) for text in texts]


class EmbedderTokens:
    """The tokenizer of an embedder.

    Args:
        path: A tokenizer.json, or the folder of a sentence-transformers model with one.

    Raises:
        ValueError: There is none, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        file = path / "tokenizer.json" if path.is_dir() else path
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"no tokenizer in {file}: {error}") from None
        truncation = self._tokenizer.truncation
        limit = int(truncation["max_length"]) if truncation else None
        config = file.parent / "sentence_bert_config.json"
        if config.is_file():  # what sentence-transformers cuts at, whatever the tokenizer says
            limit = json.loads(config.read_text()).get("max_seq_length") or limit
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        marks = self._tokenizer.num_special_tokens_to_add(False)
        self.limit = None if limit is None else limit - marks

    def count(self, texts: list[str]) -> list[int]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [len(encoding.ids) for encoding in encodings]
