import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.commands import train
from training.events import Event
from training.run import Interrupted, TrainConfig, TrainResult


def _call(tmp_path: Path, *more: str) -> list[str]:
    (tmp_path / "base").mkdir(exist_ok=True)
    (tmp_path / "rows.jsonl").write_text("{}\n")
    return [
        *("--data", str(tmp_path / "rows.jsonl"), "--base", str(tmp_path / "base")),
        *("--out", str(tmp_path / "run"), *more),
    ]


def _result(config: TrainConfig) -> TrainResult:
    return TrainResult(
        run=config.out,
        adapter=config.out / "adapter",
        steps=8,
        total=10,
        best_step=6,
        loss=0.5,
        first_eval_loss=2.0,
        eval_loss=0.4,
        seconds=75.0,
        tokens_per_s=300.0,
        memory=2**31,
        warnings=("the validation loss rises",),
    )


def test_the_options_reach_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[TrainConfig] = []

    def run(config: TrainConfig, on_event: object) -> TrainResult:
        called.append(config)
        return _result(config)

    monkeypatch.setattr(train, "run_training", run)
    options = ["--recipe", "lora", "--set", "lora.rank=4", "--set", "epochs=2", "--resume"]
    done = CliRunner().invoke(train.app, _call(tmp_path, *options))
    assert done.exit_code == 0, done.output
    (config,) = called
    assert (config.recipe, config.resume) == ("lora", True)
    assert config.overrides == {"lora.rank": 4, "epochs": 2}
    for shown in ("8 of 10", "2.000 → 0.400", "1 min 15 s", "2.0 GiB", "! the validation loss"):
        assert shown in done.output


def test_json_is_the_result_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "run_training", lambda config, on_event: _result(config))
    done = CliRunner().invoke(train.app, _call(tmp_path, "--json"))
    assert json.loads(done.stdout)["eval_loss"] == 0.4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--recipe", "big"], "no recipe 'big'"),
        (["--set", "lora.rnk=3"], "`lora.rnk` (given with --set) is no field"),
        (["--eval", "/nowhere"], "--eval /nowhere: there is no such file"),
    ],
)
def test_bad_input_is_named_and_the_status_is_2(
    more: list[str], message: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(train.app, _call(tmp_path, *more))
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(config: TrainConfig, on_event: object) -> TrainResult:
        raise Interrupted("--resume goes on after step 50")

    monkeypatch.setattr(train, "run_training", run)
    done = CliRunner().invoke(train.app, _call(tmp_path))
    assert done.exit_code == 130
    assert "--resume goes on after step 50" in done.stderr


def test_the_display_shows_what_counts() -> None:
    import io

    from rich.console import Console

    from training.display import Display

    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100)
    with Display(console) as display:
        display.hear(Event("started", 0, 100, 0.0))
        display.hear(Event("eval", 0, 100, 0.0, eval_loss=4.0))
        display.hear(
            Event("step", 10, 100, 0.0, loss=1.5, tokens_per_s=321.4, memory=3 * 2**30, eta_s=95.0)
        )
        display.hear(Event("eval", 10, 100, 0.0, eval_loss=1.25))
        display.hear(Event("checkpoint", 10, 100, 0.0, checkpoint="/run/checkpoints/checkpoint-10"))
        display.hear(Event("warning", 10, 100, 0.0, message="the loss does not fall"))
        console.print(display._drawn())
    shown = written.getvalue()
    for text in ("10/100", "1.5000", "321", "3.0 GiB", "1 min 35 s", "best 1.2500"):
        assert text in shown
    assert "checkpoint-10" in shown
    assert "! the loss does not fall" in shown


def test_the_command_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    program = (
        "import sys, training.commands.train, training.commands.merge;"
        "print([m for m in ('torch','transformers','trl','peft','matplotlib','datasets')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
