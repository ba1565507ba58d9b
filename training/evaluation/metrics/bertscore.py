"""BERTScore with a local encoder: how well the tokens of two texts find each other.

Every token is matched with the most similar one of the other text, by the cosine of their
embeddings in context; precision and recall are the means, F1 is what is returned. Without the
rescaling to a baseline, without idf weights, special tokens left out. Figures of different encoders
cannot be compared.

Source: Zhang et al., "BERTScore: evaluating text generation with BERT" (2020).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.evaluation.answerers.base import AnswererError

_BATCH = 32


class BertScore:
    """An encoder, loaded once.

    Args:
        folder: A transformer encoder with its tokenizer, such as all-MiniLM-L6-v2.

    Raises:
        AnswererError: The folder holds none.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        if not (folder / "config.json").is_file():
            raise AnswererError(f"the encoder folder {folder} has no config.json")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        except (OSError, ValueError) as error:
            raise AnswererError(f"the encoder {folder} cannot be loaded: {error}") from error

    def f1(self, answers: Sequence[str], references: Sequence[str]) -> list[float]:
        """Return F1 of each answer; an empty answer has 0, two empty ones 1."""
        texts = sorted({*answers, *references}, key=len)
        vectors: dict[str, Any] = {}
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            vectors |= dict(zip(batch, self._embed(batch), strict=True))
        pairs = zip(answers, references, strict=True)
        return [_f1(vectors[said], vectors[expected]) for said, expected in pairs]

    def _embed(self, texts: Sequence[str]) -> list[Any]:
        """Return for each text its token embeddings of length 1, shape (tokens, width)."""
        import torch

        encoded = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=min(self._model.config.max_position_embeddings, 512),
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        spoken = encoded.pop("special_tokens_mask") == 0
        with torch.inference_mode():
            hidden = self._model(**encoded).last_hidden_state
        unit = torch.nn.functional.normalize(hidden, dim=-1)
        return [unit[row][spoken[row]] for row in range(len(texts))]


def _f1(said: Any, expected: Any) -> float:
    if not len(said) or not len(expected):
        return float(len(said) == len(expected))
    similar = said @ expected.T
    precision = float(similar.max(dim=1).values.mean())
    recall = float(similar.max(dim=0).values.mean())
    total = precision + recall
    return 2 * precision * recall / total if total > 0 else 0.0
