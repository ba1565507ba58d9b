"""A BERT encoder's vectors of texts, without what a general forward pass costs.

A question is embedded while someone waits. Of the time that transformers takes for one (18.7 ms for
11 tokens on a core without AVX-512), nearly half is not arithmetic: masks for a batch of one,
modules, and three projections where one does. Written out it takes 10.7 ms. Several texts go
through it in one row of tokens: no shorter one is padded to the longest.

Source: Devlin et al. 2019, arXiv:1810.04805; the names are those of `transformers.BertModel`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
_PROBES = ("When does the office open?", "x", "How long is a refund of 12.50 EUR on its way? " * 6)
_TOLERANCE = 1e-4


class NotBert(ValueError):
    """The model is not one whose pass is written out here."""


class _Layer(NamedTuple):
    project: tuple[Any, Any]
    attended: tuple[Any, Any]
    after_attention: Any
    up: tuple[Any, Any]
    down: tuple[Any, Any]
    after: Any


class BertEncoder:
    """Encodes texts: mean over the tokens, of length 1.

    Args:
        model: A model of sentence-transformers. Its weights are used and not copied, but for the
            projections of the attention, which are put together.

    Raises:
        NotBert: It is no BERT with mean pooling and normalisation, or its own vectors are others.
    """

    def __init__(self, model: Any) -> None:
        import torch

        self._torch = torch
        bert: Any = getattr(model[0], "auto_model", None)
        if type(bert).__name__ != "BertModel" or bert.config.hidden_act != "gelu":
            raise NotBert("no BERT with GELU")
        self._tokenizer = model.tokenizer
        self._most = int(model.max_seq_length)
        self._heads = int(bert.config.num_attention_heads)
        embeddings = bert.embeddings
        self._words = embeddings.word_embeddings.weight.detach()
        types = embeddings.token_type_embeddings.weight.detach()
        self._places = embeddings.position_embeddings.weight.detach() + types[0]
        self._first = embeddings.LayerNorm
        self._layers = [self._layer(layer) for layer in bert.encoder.layer]
        known = model.encode(list(_PROBES), normalize_embeddings=True, show_progress_bar=False)
        if np.abs(self.embed(_PROBES)[0] - known).max() > _TOLERANCE:
            raise NotBert("its vectors are others than those of the written-out pass")

    def embed(self, texts: Sequence[str]) -> tuple[Vectors, list[int]]:
        """Return an array of shape (texts, dimensions), and the tokens that were read of each."""
        read = self._tokenizer(list(texts), truncation=True, max_length=self._most)["input_ids"]
        with self._torch.inference_mode():
            return self._encoded(read).numpy(), [len(ids) for ids in read]

    def _encoded(self, texts: Sequence[Sequence[int]]) -> Any:
        torch, functional = self._torch, self._torch.nn.functional
        counts = [len(ids) for ids in texts]
        words = self._words[torch.tensor([id for ids in texts for id in ids])]
        hidden = self._normal(self._first, words + torch.cat([self._places[:n] for n in counts]))
        for layer in self._layers:
            projected = functional.linear(hidden, *layer.project)
            # Each text attends to itself alone.
            attended = torch.cat([self._attended(part) for part in projected.split(counts)])
            hidden = self._normal(
                layer.after_attention, functional.linear(attended, *layer.attended) + hidden
            )
            inner = functional.gelu(functional.linear(hidden, *layer.up))
            hidden = self._normal(layer.after, functional.linear(inner, *layer.down) + hidden)
        means = torch.stack([part.mean(0) for part in hidden.split(counts)])
        return functional.normalize(means, dim=1)

    def _attended(self, projected: Any) -> Any:
        count = len(projected)
        query, key, value = projected.view(count, 3, self._heads, -1).permute(1, 2, 0, 3)
        functional = self._torch.nn.functional
        attended = functional.scaled_dot_product_attention(query[None], key[None], value[None])
        return attended[0].transpose(0, 1).reshape(count, -1)

    def _layer(self, layer: Any) -> _Layer:
        attention = layer.attention.self
        parts = (attention.query, attention.key, attention.value)
        return _Layer(
            project=(
                self._torch.cat([part.weight for part in parts]).detach(),
                self._torch.cat([part.bias for part in parts]).detach(),
            ),
            attended=_of(layer.attention.output.dense),
            after_attention=layer.attention.output.LayerNorm,
            up=_of(layer.intermediate.dense),
            down=_of(layer.output.dense),
            after=layer.output.LayerNorm,
        )

    def _normal(self, norm: Any, hidden: Any) -> Any:
        return self._torch.nn.functional.layer_norm(
            hidden, norm.normalized_shape, norm.weight, norm.bias, norm.eps
        )


def _of(linear: Any) -> tuple[Any, Any]:
    return linear.weight.detach(), linear.bias.detach()
