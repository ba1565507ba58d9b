"""The run's folder and process, with a stand-in for the trainer: no model is loaded here."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from training import recipe as recipes
from training import run
from training.events import Event
from training.recipe import RecipeError
from training.run import Interrupted, TrainConfig, train
from training.run_folder import RunError

_RESULT = {
    "run": "",
    "adapter": "",
    "steps": 2,
    "total": 2,
    "best_step": 2,
    "loss": 1.0,
    "first_eval_loss": None,
    "eval_loss": None,
    "seconds": 1.0,
    "tokens_per_s": 10.0,
    "memory": 1,
    "warnings": [],
}
_WORKS = f"""
    log = EventLog(folder.metrics)
    log.add("step", 1, 2, loss=2.0)
    log.add("step", 2, 2, loss=1.0)
    write_json(folder.result, {_RESULT!r})
"""


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    (tmp_path / "base").mkdir()
    (tmp_path / "rows.jsonl").write_text("{}\n")
    return TrainConfig(
        base=tmp_path / "base",
        data=tmp_path / "rows.jsonl",
        out=tmp_path / "run",
        recipe="tiny-cpu-smoke",
    )


def _stand_in(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program = """
import os, signal, sys, time
from pathlib import Path
from training.events import EventLog
from training.lifeline import end_with_parent
from training.run_folder import RunFolder, write_json
folder = RunFolder(Path(sys.argv[1]))
""" + textwrap.dedent(body)
    monkeypatch.setattr(
        run, "command", lambda folder, recipe, gpus: [sys.executable, "-c", program, str(folder)]
    )


def test_a_run_hands_on_events_and_leaves_a_whole_folder(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(monkeypatch, _WORKS)
    heard: list[Event] = []
    result = train(config, heard.append)
    assert [event.loss for event in heard] == [2.0, 1.0]
    assert (result.steps, result.run) == (2, config.out)
    assert result.adapter == config.out / "adapter"
    assert recipes.load(config.out / "recipe.yaml") == recipes.load("tiny-cpu-smoke")
    assert json.loads((config.out / "versions.json").read_text())["torch"]


def test_a_complete_run_is_not_trained_again(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(monkeypatch, _WORKS)
    first = train(config)
    _stand_in(monkeypatch, "sys.exit(9)")
    assert train(_resumed(config)) == first
    with pytest.raises(RunError, match="holds a complete run: choose another folder, or --resume"):
        train(config)


def test_another_call_does_not_resume_a_run(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(monkeypatch, "sys.exit(9)")
    with pytest.raises(RunError, match="ended with status 9"):
        train(config)
    with pytest.raises(RunError, match="begun with another recipe"):
        train(_resumed(config, overrides={"seed": 1}))
    (config.out.parent / "other.jsonl").write_text("{}\n")
    with pytest.raises(RunError, match="begun with another data"):
        train(_resumed(config, data=config.out.parent / "other.jsonl"))
    with pytest.raises(RunError, match="holds an unfinished run"):
        train(config)


def test_what_is_missing_is_named(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"--base .*nowhere: there is no such folder"):
        train(_resumed(config, base=tmp_path / "nowhere"))
    with pytest.raises(RunError, match=r"--eval .*nowhere: there is no such file"):
        train(_resumed(config, eval=tmp_path / "nowhere"))
    with pytest.raises(RecipeError, match="no recipe 'big'"):
        train(_resumed(config, recipe="big"))
    assert not config.out.exists()
    config.out.mkdir()
    (config.out / "letter.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty and holds no run"):
        train(config)


def test_a_failure_is_told_as_the_trainer_told_it(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(
        monkeypatch,
        'write_json(folder.path / "failure.json", {"message": "line 3 is bad"}); sys.exit(1)',
    )
    with pytest.raises(RunError, match=r"^line 3 is bad$"):
        train(config)


def test_a_killed_trainer_leaves_the_end_of_its_log(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(monkeypatch, 'print("so far", flush=True); os.kill(os.getpid(), signal.SIGKILL)')
    with pytest.raises(RunError, match=r"was killed \(signal 9\); --resume goes on.*\nso far"):
        train(config)


def test_an_error_of_the_listener_ends_the_trainer(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(
        monkeypatch,
        """
        signal.signal(signal.SIGTERM, lambda *_: (folder.log.write_text("told"), sys.exit(3)))
        EventLog(folder.metrics).add("step", 1, 2, loss=2.0)
        time.sleep(60)
        """,
    )

    def cancel(event: Event) -> None:
        raise InterruptedError("cancelled")

    began = time.monotonic()
    with pytest.raises(InterruptedError, match="cancelled"):
        train(config, cancel)
    assert time.monotonic() - began < 20
    assert (config.out / "train.log").read_text() == "told"


def test_a_stopped_run_says_after_which_step_it_goes_on(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(
        monkeypatch,
        """
        for step in (5, 10, 15):
            (folder.checkpoints / f"checkpoint-{step}").mkdir(parents=True)
        for step in (5, 10):  # the last one was cut off
            write_json(folder.checkpoints / f"checkpoint-{step}" / "trainer_state.json", {})
        sys.exit(3)
        """,
    )
    with pytest.raises(Interrupted, match="--resume goes on after step 10"):
        train(config)


def test_the_trainer_ends_with_the_one_who_started_it(tmp_path: Path) -> None:
    child = (
        "import os, sys, time; from training.lifeline import end_with_parent; end_with_parent();"
        "print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time;"
            f"p = subprocess.Popen([sys.executable, '-c', {child!r}], stdin=subprocess.PIPE);"
            "time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}/cmdline").exists() and _runs(pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_two_trainers_do_not_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import run_folder

    monkeypatch.setattr(run_folder, "_LOCK_S", 0.3)
    folder = run_folder.RunFolder(tmp_path)
    with folder.locked(), pytest.raises(RunError, match="another process trains in"):
        with folder.locked():
            pass
    with folder.locked():
        pass


def test_several_gpus_go_through_accelerate(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    big = run.command(folder, recipes.load("qlora-70b"), 4)
    assert big[1:5] == ["-m", "accelerate.commands.launch", "--num_processes", "4"]
    assert "--use_fsdp" in big
    assert big[-3:] == ["-m", "training.run", str(folder)]
    copies = run.command(folder, recipes.load("qlora-7b"), 2)
    assert "--multi_gpu" in copies
    assert "--use_fsdp" not in copies
    for recipe, gpus in (("qlora-7b", 1), ("tiny-cpu", 4)):
        assert run.command(folder, recipes.load(recipe), gpus)[1:3] == ["-m", "training.run"]


def test_gpus_are_counted_as_cuda_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, count in (("0,1", 2), ("", 0), ("-1", 0), ("3", 1)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert run.gpu_count() == count


def _resumed(config: TrainConfig, **change: object) -> TrainConfig:
    from dataclasses import replace

    return replace(config, resume=True, **change)  # type: ignore[arg-type]


def test_only_a_gpu_has_torch_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHDYNAMO_DISABLE", raising=False)
    recipe = recipes.load("tiny-cpu-smoke", {"device": "auto"})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "TORCHDYNAMO_DISABLE" not in run.environment(recipe)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert run.environment(recipe)["TORCHDYNAMO_DISABLE"] == "1"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
