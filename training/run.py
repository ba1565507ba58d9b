"""A training run: a folder and a process of its own, that can be stopped, killed and gone on with.

    python -m training.run RUN                              # what `train` starts
    accelerate launch --num_processes 4 -m training.run RUN # with several GPUs

`train` prepares the folder, starts the trainer and hands on its events. The trainer ends when who
started it does: two of them in one folder would overwrite each other's checkpoints.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training import recipe as recipes
from training.events import Event, Follower
from training.recipe import Recipe
from training.run_folder import RunError, RunFolder, read_json, versions, write_json

OnEvent = Callable[[Event], None]

# The trainer's exit status when it was asked to end and has saved a checkpoint.
INTERRUPTED = 3
_POLL_S = 0.2
# From being asked to end to its checkpoint: a step of the largest model.
_GRACE_S = 120.0
_LOG_TAIL = 1500


class Interrupted(RunError):
    """The run was asked to end; its last checkpoint is there to go on from."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What to train.

    Args:
        base: Folder of the model (safetensors, tokenizer with chat template).
        data: Rows to train on, JSON Lines as `gateway.store.examples` reads them.
        out: Folder of the run.
        eval: Rows to validate on; without them there is no early stopping.
        recipe: Name or path of the recipe.
        overrides: Fields of the recipe to change, as `--set` does.
        resume: Whether to go on where an earlier process of this run ended; begins where there
            was none, and returns at once where the run is complete.
        manifest: The frozen manifest of the data, kept with the run; optional.
    """

    base: Path
    data: Path
    out: Path
    eval: Path | None = None
    recipe: str = "tiny-cpu"
    overrides: Mapping[str, object] = field(default_factory=dict)
    resume: bool = False
    manifest: Path | None = None


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a complete run has.

    Args:
        run: Its folder.
        adapter: The adapter of the best validation; all weights where the method is full.
        steps: Steps made.
        total: Steps planned; more than `steps` where it was stopped early.
        best_step: The step that `adapter` is of.
        loss: Training loss at the end.
        first_eval_loss: Validation loss before the first step.
        eval_loss: The best validation loss.
        seconds: Time of training and validation, over all processes of the run.
        tokens_per_s: Tokens read a second of training.
        memory: Highest memory in bytes.
        warnings: What to look at.
    """

    run: Path
    adapter: Path
    steps: int
    total: int
    best_step: int
    loss: float | None
    first_eval_loss: float | None
    eval_loss: float | None
    seconds: float
    tokens_per_s: float | None
    memory: int
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the result as it is written."""
        return asdict(self) | {"run": str(self.run), "adapter": str(self.adapter)}


def train(config: TrainConfig, on_event: OnEvent | None = None) -> TrainResult:
    """Train in a process of its own, and return once it is complete.

    Args:
        config: What to train.
        on_event: Called with each event; whatever it raises ends the training, with a checkpoint.

    Raises:
        RecipeError: The recipe is unknown or wrong.
        RunError: The folder is in use or holds another run, or the training failed.
        Interrupted: The trainer was asked to end; its checkpoint is there to resume from.
    """
    recipe = recipes.load(config.recipe, config.overrides)
    folder = RunFolder(config.out.absolute())
    done = _prepare(config, recipe, folder)
    if done is not None:
        return done
    _run(folder, recipe, on_event or (lambda event: None))
    return result(folder.path)


def result(run: Path) -> TrainResult:
    """Return the result of a complete run; RunError where it is not complete."""
    folder = RunFolder(run.absolute())
    if not folder.result.is_file():
        raise RunError(f"{run} holds no complete run (no {folder.result.name})")
    raw = read_json(folder.result)
    try:
        return TrainResult(
            **raw
            | {"run": folder.path, "adapter": folder.adapter, "warnings": tuple(raw["warnings"])}
        )
    except (TypeError, KeyError) as error:
        raise RunError(f"{folder.result} is no result of a run ({error})") from error


def _prepare(config: TrainConfig, recipe: Recipe, folder: RunFolder) -> TrainResult | None:
    """Write the folder, or check that it is of the same call; a complete run is returned."""
    for name, path in (("base", config.base), ("data", config.data), ("eval", config.eval)):
        if path is not None and not path.exists():
            raise RunError(f"--{name} {path}: there is no such {_kind(name)}")
    call = {
        "base": str(config.base.absolute()),
        "data": str(config.data.absolute()),
        "eval": str(config.eval.absolute()) if config.eval else None,
        "data_manifest": str(config.manifest.absolute()) if config.manifest else None,
    }
    if folder.config.exists():
        if not config.resume:
            state = "a complete run" if folder.result.exists() else "an unfinished run"
            raise RunError(f"{folder.path} holds {state}: choose another folder, or --resume it")
        before = read_json(folder.config)
        changed = [name for name, value in call.items() if before.get(name) != value]
        if folder.recipe.read_text("utf-8") != recipe.as_yaml():
            changed.append("recipe")
        if changed:
            raise RunError(f"{folder.path} was begun with another {', '.join(changed)}")
        return result(folder.path) if folder.result.exists() else None
    if folder.path.exists() and any(folder.path.iterdir()):
        raise RunError(f"{folder.path} is not empty and holds no run")
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.recipe.write_text(recipe.as_yaml(), "utf-8")
    write_json(folder.versions, versions())
    write_json(folder.config, call)
    return None


def _kind(name: str) -> str:
    return "folder" if name == "base" else "file"


def command(folder: Path, recipe: Recipe, gpus: int) -> list[str]:
    """Return the command line of the trainer: through accelerate where there are several GPUs."""
    module = ["-m", "training.run", str(folder)]
    if gpus < 2 or recipe.device == "cpu" or recipe.backend == "unsloth":
        return [sys.executable, *module]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(gpus)]
    if recipe.distributed == "fsdp":
        # PEFT's guide to QLoRA with FSDP: https://huggingface.co/docs/peft/accelerate/fsdp
        launch += [
            "--use_fsdp", "--fsdp_version", "1", "--fsdp_sharding_strategy", "FULL_SHARD",
            "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP",
            "--fsdp_use_orig_params", "false", "--fsdp_cpu_ram_efficient_loading", "true",
            "--fsdp_sync_module_states", "true", "--fsdp_state_dict_type", "FULL_STATE_DICT",
            "--mixed_precision", "bf16",
        ]  # fmt: skip
    else:
        launch.append("--multi_gpu")
    return [*launch, *module]


def gpu_count() -> int:
    """Return how many NVIDIA GPUs the trainer may use, without loading torch here."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def environment(recipe: Recipe) -> dict[str, str]:
    """Return the environment of a process that computes for a run.

    Its threads spin a little between two operations (20,000 rounds, below a millisecond): that
    keeps the speed of the default, which spins on, and leaves the cores to an engine that shares
    them. Not spinning at all costs a quarter of the speed (measured: 246 tokens/s against 347).

    Nothing is compiled by torch on a CPU, where bitsandbytes would have every process load the
    compiler: without, each begins a sixth sooner (measured: 18.3 s of CPU against 22.1).
    """
    threads = str(recipe.threads or os.cpu_count() or 1)
    chosen = {"OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}
    if recipe.device == "cpu" or not gpu_count():
        chosen["TORCHDYNAMO_DISABLE"] = "1"
    if "OMP_WAIT_POLICY" not in os.environ:
        chosen["GOMP_SPINCOUNT"] = "20000"
    return {**os.environ, **chosen}


def _run(folder: RunFolder, recipe: Recipe, on_event: OnEvent) -> None:
    failure = folder.path / "failure.json"
    failure.unlink(missing_ok=True)
    events = Follower(folder.metrics, skip=True)
    with folder.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - a fixed program, no shell
            command(folder.path, recipe, gpu_count()),
            stdin=subprocess.PIPE,  # it closes when this process ends, and then the trainer ends
            stdout=log,
            stderr=log,
            env=environment(recipe),
        )
        try:
            while (status := process.poll()) is None:
                for event in events.new():
                    on_event(event)
                time.sleep(_POLL_S)
            for event in events.new():
                on_event(event)
        except BaseException as error:
            _stop(process)
            if isinstance(error, KeyboardInterrupt):
                raise _interrupted(folder) from None
            raise
        finally:
            if process.stdin is not None:
                process.stdin.close()
    if status == INTERRUPTED:
        raise _interrupted(folder)
    if status:
        raise RunError(_reason(folder, status))


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C does not wait
        process.kill()
        process.wait()


def _interrupted(folder: RunFolder) -> Interrupted:
    last = folder.last_checkpoint()
    step = last.name.rpartition("-")[2] if last else "0"
    return Interrupted(f"the training was stopped; --resume goes on after step {step}")


def _reason(folder: RunFolder, status: int) -> str:
    failure = folder.path / "failure.json"
    if failure.exists():
        return str(json.loads(failure.read_text("utf-8"))["message"])
    tail = folder.log.read_bytes()[-_LOG_TAIL:].decode(errors="replace").strip()
    killed = f"was killed (signal {-status})" if status < 0 else f"ended with status {status}"
    return f"the trainer {killed}; --resume goes on. The end of {folder.log}:\n{tail}"


if __name__ == "__main__":
    from training.trainer import main

    sys.exit(main(Path(sys.argv[1])))
