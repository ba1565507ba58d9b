"""Answers with a model folder in this process: transformers, PEFT for `folder+adapter`.

Greedy, in batches of prompts of like length with left padding; float32 on a CPU, the checkpoint's
type on a GPU.
"""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from training.evaluation.answerers.base import Answer, AnswererError, Question, Sampling, System


class LocalModel:
    """`Answerer` of a folder; the model is in memory only while it answers.

    Args:
        system: Its spec is a folder with config, weights and tokenizer, or `folder+adapter folder`.
        sampling: Its temperature must be 0.
        batch: How many prompts are answered at once.

    Raises:
        AnswererError: A folder is missing or incomplete.
    """

    def __init__(self, system: System, sampling: Sampling, *, batch: int = 16) -> None:
        if sampling.temperature:
            raise AnswererError(f"{system.name}: a local model answers greedily, temperature 0")
        self._folder, self._adapter = folders(system.spec)
        self._sampling = sampling
        self._batch = batch
        self._model: Any = None
        self._tokenizer: Any = None

    @property
    def served(self) -> bool:
        """Return False: a batch in this process says nothing about a server's latency."""
        return False

    @property
    def fingerprint(self) -> str:
        """Return the folders and the sizes and times of their files."""
        found = [self._folder] if self._adapter is None else [self._folder, self._adapter]
        files = [
            (str(file), file.stat().st_size, file.stat().st_mtime_ns)
            for folder in found
            for file in sorted(folder.iterdir())
            if file.suffix in (".json", ".safetensors", ".jinja")
        ]
        return json.dumps(files)

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Yield the answers of one batch after the other, the shortest prompts first.

        Raises:
            AnswererError: The model cannot be loaded.
        """
        if not questions:
            return
        self._load()
        try:
            yield from self._answers(questions)
        finally:
            # Another model may come after this one, and both may not fit.
            self._model = None

    def _answers(self, questions: Sequence[Question]) -> Iterator[Answer]:
        from jinja2 import TemplateError

        encoded = []
        for question in questions:
            try:
                ids = self._encode(question)
            except TemplateError as error:
                yield Answer(question.id, error=f"the chat template refuses it: {error}")
                continue
            room = self._room() - len(ids)
            if room < question.max_tokens:
                needed = len(ids) + question.max_tokens
                yield Answer(
                    question.id, error=f"needs {needed} tokens, the model has {self._room()}"
                )
            else:
                encoded.append((ids, question))
        encoded.sort(key=lambda pair: (pair[1].max_tokens, len(pair[0])))
        for start in range(0, len(encoded), self._batch):
            yield from self._answer(encoded[start : start + self._batch])

    def _load(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        cuda = torch.cuda.is_available()
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(
                self._folder, padding_side="left", local_files_only=True
            )
            model = AutoModelForCausalLM.from_pretrained(
                self._folder,
                dtype="auto" if cuda else torch.float32,
                device_map="cuda" if cuda else "cpu",
                local_files_only=True,
            )
            if self._adapter is not None:
                from peft import PeftModel

                model = PeftModel.from_pretrained(model, self._adapter)
        except (OSError, ValueError, RuntimeError) as error:
            raise AnswererError(f"{self._folder} cannot be loaded: {error}") from error
        if not self._tokenizer.chat_template:
            raise AnswererError(f"{self._folder} has no chat template, so it cannot be asked")
        self._model = model.eval()
        torch.manual_seed(self._sampling.seed)

    def _encode(self, question: Question) -> list[int]:
        text = self._tokenizer.apply_chat_template(
            [dict(message) for message in question.messages],
            add_generation_prompt=True,
            tokenize=False,
        )
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _room(self) -> int:
        return int(getattr(self._model.config, "max_position_embeddings", 0) or 2**31)

    def _answer(self, batch: list[tuple[list[int], Question]]) -> Iterator[Answer]:
        import torch
        from transformers import GenerationConfig

        pad = self._tokenizer.pad_token_id
        if pad is None:
            pad = self._tokenizer.eos_token_id
        width = max(len(ids) for ids, _ in batch)
        padded = [[pad] * (width - len(ids)) + ids for ids, _ in batch]
        mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids, _ in batch]
        device = self._model.device
        ends = self._ends()
        started = time.perf_counter()
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=torch.tensor(padded, device=device),
                attention_mask=torch.tensor(mask, device=device),
                # A whole one: the folder's own may ask for sampling or a repetition penalty.
                generation_config=GenerationConfig(
                    max_new_tokens=max(question.max_tokens for _, question in batch),
                    do_sample=False,
                    eos_token_id=sorted(ends),
                    pad_token_id=pad,
                ),
            )
        seconds = time.perf_counter() - started
        for (ids, question), row in zip(batch, output[:, width:].tolist(), strict=True):
            tokens = row[: question.max_tokens]
            end = next((i for i, token in enumerate(tokens) if token in ends), None)
            said = tokens if end is None else tokens[:end]
            yield Answer(
                question.id,
                self._tokenizer.decode(said, skip_special_tokens=True),
                "length" if end is None else "stop",
                seconds,
                None,
                len(ids),
                len(said),
            )

    def _ends(self) -> set[int]:
        ends = getattr(self._model.generation_config, "eos_token_id", None)
        listed = ends if isinstance(ends, list) else [ends]
        return {id for id in [*listed, self._tokenizer.eos_token_id] if id is not None}


def folders(spec: str) -> tuple[Path, Path | None]:
    """Return the model's folder and the adapter's, if any.

    Raises:
        AnswererError: One is missing, or lacks the file that makes it what it is.
    """
    base, adapter = spec, ""
    if not Path(spec).is_dir() and "+" in spec:
        base, adapter = spec.rsplit("+", 1)
    for folder, mark in ((base, "config.json"), (adapter, "adapter_config.json")):
        if folder and not Path(folder).is_dir():
            raise AnswererError(
                f"{folder!r} is neither a folder nor an endpoint (http://host:port/v1#model)"
            )
        if folder and not (Path(folder) / mark).is_file():
            raise AnswererError(f"the folder {folder} has no {mark}")
    return Path(base), Path(adapter) if adapter else None
