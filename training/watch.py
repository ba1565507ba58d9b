"""Hears of every step of the trainer: writes the events, and ends the run where it must end."""

import math
import resource
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from training.curve import judge
from training.events import EventLog, read
from training.run_folder import RunError, RunFolder


class Watch(TrainerCallback):  # type: ignore[misc]
    """The trainer's callback; only the first process of several writes.

    `interrupt` asks for an end at the next step, with a checkpoint.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.interrupted = False
        self._folder = folder
        self._log = EventLog(folder.metrics)
        self._wanted = False
        self._step_began = 0.0
        self._busy_s = 0.0  # in steps since the last entry
        self._step_s = 0.0  # a step, smoothed
        self._validation_s = 0.0
        self._tokens = 0.0
        self._warned: set[str] = set()

    def interrupt(self) -> None:
        """Ask the trainer to save and end after the step that it is in."""
        self._wanted = True

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._log.rewind(state.global_step)
            self._warned = {e.message for e in read(self._folder.metrics) if e.kind == "warning"}
            goes_on = f"goes on after step {state.global_step}" if state.global_step else "begins"
            self._tell(state, "started", message=f"{goes_on}; {state.max_steps} steps planned")

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._step_began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        took = time.monotonic() - self._step_began
        self._busy_s += took
        self._step_s = took if not self._step_s else 0.9 * self._step_s + 0.1 * took
        if state.global_step >= state.max_steps:
            # The last state counts too, also where it is no multiple of `eval_every`.
            control.should_evaluate = args.eval_strategy != "no"
            control.should_save = True
        if self._wanted:
            self.interrupted = state.global_step < state.max_steps
            control.should_save = True
            control.should_training_stop = True
        return control

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        logs = logs or {}
        if "eval_loss" in logs:
            self._validation_s = float(logs.get("eval_runtime", 0.0))
            self._heard(state, "eval", eval_loss=float(logs["eval_loss"]))
        elif "loss" in logs:
            loss = float(logs["loss"])
            if not math.isfinite(loss):
                raise RunError(
                    f"the loss is {loss} at step {state.global_step}: no state after it is of use. "
                    "Lower `learning_rate`, or set `precision` to float32"
                )
            tokens = float(logs.get("num_tokens", 0.0))
            speed = (tokens - self._tokens) / self._busy_s if self._busy_s else None
            self._tokens, self._busy_s = tokens, 0.0
            self._heard(
                state,
                "step",
                loss=loss,
                learning_rate=logs.get("learning_rate"),
                grad_norm=logs.get("grad_norm"),
                tokens_per_s=round(speed, 1) if speed else None,
                eta_s=round(self._left_s(args, state), 1),
            )

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self._heard(state, "checkpoint", checkpoint=str(path))

    def _left_s(self, args: Any, state: Any) -> float:
        left = int(state.max_steps - state.global_step)
        validations = left / args.eval_steps if args.eval_strategy != "no" else 0.0
        return left * self._step_s + validations * self._validation_s

    def _heard(self, state: Any, kind: Any, **what: Any) -> None:
        if not state.is_world_process_zero:
            return
        what["memory"] = peak_memory()
        self._tell(state, kind, epoch=round(float(state.epoch or 0.0), 3), **what)
        for warning in judge(read(self._folder.metrics)) if kind == "eval" else []:
            if warning not in self._warned:
                self._warned.add(warning)
                self._tell(state, "warning", message=warning)

    def _tell(self, state: Any, kind: Any, **what: Any) -> None:
        self._log.add(kind, int(state.global_step), int(state.max_steps), **what)


def peak_memory() -> int:
    """Return the highest memory of this process so far, in bytes: a GPU's where it has one."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
