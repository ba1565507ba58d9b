"""Trains an adapter, or all weights, with TRL's SFTTrainer. The only file that imports TRL.

What TRL 1.16 (https://huggingface.co/docs/trl/sft_trainer) does not do, or does otherwise:

- Tokens and labels come from `training.rows`, so nothing is cut silently and the end of a turn is
  trained; a batch as the trainer makes it is checked for both.
- `prepare_model_for_kbit_training` is called here; the trainer does not.
- On a CPU the language head sees only positions that some row of the batch is trained on. TRL does
  so on GPUs, and a head of 49,152 words is a fifth of the arithmetic of a 135M model.
- On a CPU adapters stay float32; the trainer turns those of a 4-bit base into bfloat16.
- The order of rows depends on seed and epoch alone, so that a resumed run goes on as it would have.
"""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import EarlyStoppingCallback, set_seed
from trl import SFTConfig, SFTTrainer

from training import backbone
from training.recipe import Recipe
from training.rows import IGNORED, TokenRow, TokenRows
from training.run_folder import RunError, RunFolder, read_json, write_json
from training.watch import Watch

# Rows are sorted by length within windows of this many batches: batches of one length need no
# padding, and windows keep the order random.
_WINDOW = 50


class LengthGrouped(torch.utils.data.Sampler[int]):  # type: ignore[misc]
    """An order of rows, by epoch, in which the rows of a batch have about the same length."""

    def __init__(self, lengths: list[int], batch: int, seed: int) -> None:
        self._lengths = lengths
        self._batch = batch
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; accelerate calls this at the start of each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(self._seed * 100_003 + self._epoch)  # noqa: S311 - no secret
        order = list(range(len(self._lengths)))
        draw.shuffle(order)
        window = self._batch * _WINDOW
        full: list[list[int]] = []
        rest: list[int] = []
        for start in range(0, len(order), window):
            near = sorted(order[start : start + window], key=lambda n: -self._lengths[n])
            batches = [near[n : n + self._batch] for n in range(0, len(near), self._batch)]
            full += [batch for batch in batches if len(batch) == self._batch]
            rest += [n for batch in batches if len(batch) < self._batch for n in batch]
        draw.shuffle(full)
        # The incomplete batch comes last: anywhere else it would shift the borders of the others.
        return iter([n for batch in full for n in batch] + rest)


class Trainer(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer with an order of its own and a cheap language head on CPUs."""

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGrouped:
        rows = self.train_dataset if train_dataset is None else train_dataset
        return LengthGrouped(
            [len(ids) for ids in rows["input_ids"]],
            self.args.train_batch_size * max(1, self.args.world_size),
            self.args.seed,
        )

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the mean loss of the trained tokens (cross entropy, nats)."""
        if self.args.device.type != "cpu" or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"][:, 1:]
        trained = (labels != IGNORED).any(0).nonzero().squeeze(1)
        logits = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            use_cache=False,
            logits_to_keep=trained,
        ).logits
        labels = labels[:, trained]
        kept = labels != IGNORED
        total = torch.nn.functional.cross_entropy(
            logits[kept].float(), labels[kept], reduction="sum"
        )
        count = kept.sum() if num_items_in_batch is None else num_items_in_batch
        loss = total / torch.as_tensor(count).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        if self.model.training:
            self._total_train_tokens += int(inputs["attention_mask"].sum())
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return loss


def fit(
    folder: RunFolder,
    base: Path,
    recipe: Recipe,
    tokenizer: Any,
    rows: TokenRows,
    valid: TokenRows | None,
    watch: Watch,
    local_rank: int = 0,
) -> None:
    """Train, from the last checkpoint where there is one, and write the best adapter.

    Args:
        folder: Of the run; checkpoints and adapter go there.
        base: The model's folder.
        recipe: The choices.
        tokenizer: Of the base.
        rows: To train on.
        valid: To validate on; without them there is no early stopping, and the last state is kept.
        watch: Hears of every step.
        local_rank: Which GPU of this host.

    Raises:
        RunError: The model cannot be loaded, or a batch does not train the end of a turn.
    """
    device, precision = backbone.resolve(recipe)
    set_seed(recipe.seed)
    model = _model(base, recipe, device, precision, local_rank)
    start = folder.last_checkpoint()
    trainer = Trainer(
        model=model,
        args=_arguments(folder, recipe, device, precision, valid is not None, start is not None),
        train_dataset=_dataset(rows.rows),
        eval_dataset=_dataset(sorted(valid.rows, key=lambda r: len(r.ids))) if valid else None,
        processing_class=tokenizer,
        callbacks=[
            *([EarlyStoppingCallback(recipe.patience)] if valid and recipe.patience else []),
            watch,
        ],
    )
    if device == "cpu" and recipe.method == "qlora":
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    _check_batch(trainer, rows)
    trainer.train(resume_from_checkpoint=str(start) if start else None)
    if watch.interrupted:
        return
    partial = folder.path / ".adapter.partial"
    trainer.save_model(str(partial))
    if trainer.is_world_process_zero():
        # What TRL and PEFT put beside the weights: a model card of their own, pickled arguments.
        for name in ("README.md", "training_args.bin"):
            (partial / name).unlink(missing_ok=True)
        _sort_targets(partial / "adapter_config.json")
        shutil.rmtree(folder.adapter, ignore_errors=True)
        partial.replace(folder.adapter)


def _model(base: Path, recipe: Recipe, device: str, precision: str, local_rank: int) -> Any:
    if recipe.backend == "unsloth":
        from training import unsloth

        return unsloth.model(base, recipe, precision)
    four_bit = recipe.method == "qlora"
    # All weights are trained in float32, with arithmetic in `precision` (mixed precision).
    held = "float32" if recipe.method == "full" else precision
    model = backbone.load(
        base,
        four_bit=four_bit,
        recipe=recipe,
        device=device,
        precision=held,
        local_rank=local_rank,
    )
    model.config.use_cache = False
    if recipe.method == "full":
        return model
    if four_bit and recipe.distributed != "fsdp":
        # Norms and head in float32, inputs with gradients: PEFT, "Quantization". FSDP wants all
        # weights in one type, so there it is left out, as in PEFT's own guide to FSDP.
        model = prepare_model_for_kbit_training(
            model, use_gradient_checkpointing=recipe.checkpointing
        )
    return get_peft_model(model, lora_config(recipe))


def lora_config(recipe: Recipe) -> LoraConfig:
    """Return PEFT's description of the adapter."""
    targets = recipe.lora.targets
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
    )


def _arguments(
    folder: RunFolder, recipe: Recipe, device: str, precision: str, validated: bool, resumed: bool
) -> SFTConfig:
    cpu = device == "cpu"
    return SFTConfig(
        output_dir=str(folder.checkpoints),
        run_name=folder.path.name,
        use_cpu=cpu,
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        seed=recipe.seed,
        data_seed=recipe.seed,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.eval_batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.clip,
        optim="adamw_torch_fused",
        gradient_checkpointing=recipe.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if recipe.checkpointing else None,
        logging_steps=recipe.log_every,
        logging_nan_inf_filter=False,  # else a loss that is no number shows as a good one
        eval_strategy="steps" if validated else "no",
        eval_steps=recipe.eval_every,
        eval_on_start=validated and not resumed,
        save_strategy="steps",
        save_steps=recipe.eval_every,
        save_total_limit=2,
        load_best_model_at_end=validated,
        metric_for_best_model="eval_loss" if validated else None,
        greater_is_better=False if validated else None,
        prediction_loss_only=True,
        report_to=list(recipe.report_to) or "none",
        disable_tqdm=True,
        dataloader_pin_memory=not cpu,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def _dataset(rows: Any) -> Dataset:
    taken: list[TokenRow] = list(rows)
    return Dataset.from_dict(
        {"input_ids": [row.ids for row in taken], "labels": [row.labels for row in taken]}
    )


def _sort_targets(path: Path) -> None:
    """Sort the names of the adapted layers: PEFT writes a set, in another order in each process."""
    if path.exists():
        config = read_json(path)
        if isinstance(config.get("target_modules"), list):
            write_json(path, config | {"target_modules": sorted(config["target_modules"])})


def _check_batch(trainer: Trainer, rows: TokenRows) -> None:
    """Check on a batch, as the trainer makes it, that every row ends with a trained token."""
    count = min(8, len(rows.rows))
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(count)])
    for row, labels in zip(rows.rows, batch["labels"].tolist(), strict=False):
        if [token for token in labels if token != IGNORED][-1:] != row.ids[-1:]:
            raise RunError(f"line {row.line}: the trainer's batch leaves out the end of the turn")
