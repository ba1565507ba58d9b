"""`driftgate evaluate` as a stranger uses it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.training.evaluation.serving import question, serve
from training.commands.evaluate import app

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def data(path: Path, count: int = 4) -> Path:
    lines = [json.dumps({"prompt": f"q{n}", "completion": f"a{n}"}) for n in range(count)]
    path.write_text("\n".join(lines) + "\n")
    return path


def right(body: dict[str, Any]) -> str:
    return "a" + question(body)[1:]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_pass_is_0_and_everything_else_is_1(tmp_path: Path) -> None:
    rows = data(tmp_path / "t.jsonl", 130)
    with serve(right) as one, serve(lambda _: "no") as other:
        common = ["--data", rows, "--suite", "none", "--report", tmp_path / "r.html"]
        common += ["--superior-on", "all"]
        better = run(
            *common, "--candidate", one.spec, "--baseline", other.spec, "--out", tmp_path / "1"
        )
        worse = run(
            *common, "--candidate", other.spec, "--baseline", one.spec, "--out", tmp_path / "2"
        )
    assert better.exit_code == 0, better.output
    assert "verdict: PASS" in better.output
    assert worse.exit_code == 1
    assert "verdict: FAIL" in worse.output
    assert "Lost: only the baseline is right (130)" in (tmp_path / "r.html").read_text()


def test_systems_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    with serve(right) as server:
        found = run(
            "--data", data(tmp_path / "t.jsonl"), "--suite", "none", "--out", tmp_path / "out",
            "--system", f"base={server.spec}", "--key-env", "base=MY_KEY",
            "--extra-body", 'base={"retrieval": "on"}', "--json", "-",
        )  # fmt: skip
        assert server.headers[0]["authorization"] == "Bearer s3cret"
        assert server.bodies[0]["retrieval"] == "on"
    assert found.exit_code == 0
    printed = json.loads(found.stdout)
    assert printed["verdict"] is None
    assert printed["scores"][0]["interval"]["value"] == 1
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert len(files) == 4
    assert not any(b"s3cret" in file.read_bytes() for file in files)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--candidate", "x"], "a candidate needs a baseline"),
        ([], "either a candidate and a baseline, or systems"),
        (["--system", "x"], "--system is written NAME=VALUE, not 'x'"),
        (["--system", "a=/none"], "'/none' is neither a folder nor an endpoint"),
        (["--system", "../a=/none"], "'../a' is no name"),
        (["--system", "a=http://h/v1"], "names no endpoint"),
        (["--system", "a=http://h:p/v1#m"], "names no endpoint"),
        (["--system", "a=/b", "--key-env", "c=V"], "there is no system 'c'"),
        (["--system", "a=http://h/v1#m", "--key-env", "a=NO_SUCH"], "NO_SUCH is not set"),
        (["--system", "a=/b", "--extra-body", "a={"], "--extra-body: '{' is not JSON"),
        (["--system", "a=/b", "--extra-body", "a=1"], "is no JSON object"),
        (["--system", "a=/b", "--suite", "nope"], "there is no suite 'nope'"),
        (["--system", "a=/b", "--truth", "/none.jsonl"], "/none.jsonl cannot be read"),
        (["--system", "a=/b", "--schema", "/none.json"], "/none.json cannot be read"),
        (["--system", "a=/b", "--right-by", "luck"], "--right-by"),
        (["--system", "a=/b", "--margin", "3"], "margin must be between 0 and 1"),
    ],
)
def test_wrong_input_is_2_and_named(tmp_path: Path, arguments: list[str], named: str) -> None:
    found = run("--data", data(tmp_path / "t.jsonl"), "--out", tmp_path / "out", *arguments)
    assert found.exit_code == 2
    assert named in " ".join(found.stderr.replace("│", " ").split())


def test_the_command_imports_nothing_heavy() -> None:
    code = (
        "import sys, training.commands.evaluate; "
        "heavy = {'torch', 'scipy', 'numpy', 'httpx', 'jinja2', 'matplotlib'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_kill_loses_no_answer(tmp_path: Path) -> None:
    rows = data(tmp_path / "t.jsonl", 60)
    answers = tmp_path / "out" / "answers" / "s.jsonl"

    def slowly(body: dict[str, Any]) -> str:
        time.sleep(0.05)
        return right(body)

    with serve(slowly) as server:
        command = [
            sys.executable, "-c", "from training.commands.evaluate import app; app()",
            "--data", str(rows), "--out", str(tmp_path / "out"), "--suite", "none",
            "--system", f"s={server.spec}", "--concurrency", "2",
        ]  # fmt: skip
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not answers.exists() or len(answers.read_bytes().splitlines()) < 10:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kept = len(answers.read_bytes().splitlines())
        assert 10 <= kept < 60
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)
        assert done.returncode == 0, done.stderr
        assert len(server.bodies) <= 60 + 4  # only what was on its way is asked twice
    assert len(answers.read_bytes().splitlines()) == 60
