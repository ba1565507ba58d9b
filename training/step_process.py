"""One step of a job in a process of its own: memory is given back, and a crash ends only the step.

    python -m training.step_process MODULE STEP FOLDER DESCRIPTOR

`MODULE` has a dictionary `STEPS` of functions (`Order`, `Teller`) → result. `DESCRIPTOR` is a pipe,
to which the step writes what it tells, one JSON object a line. The process stays in the process
group of its parent, which ends with the parent (see `training.workflow`).
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from training.order import Order

Step = Callable[[Order, "Teller"], dict[str, Any]]
_TAIL_BYTES = 2000
# Whoever ends a job may end its processes one by one: a step that was killed then must not look
# like one that failed before its parent is killed too.
_MOMENT_S = 0.5


class StepFailed(Exception):
    """A step cannot be done, and trying again would not help.

    Args:
        code: What is wrong, as a word for programs.
        message: What is wrong and where, for people.
        param: The field of the job at fault, where there is one.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(code, message, param)
        self.code = code
        self.message = message
        self.param = param

    def __str__(self) -> str:
        return self.message


class Teller:
    """Tells of a step what becomes events, checkpoints and times of its job."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def event(
        self, message: str, *, level: str = "info", data: dict[str, Any] | None = None
    ) -> None:
        """Tell people something; with `data` (numbers by name) it is an event of metrics."""
        self._line(event={"message": message, "level": level, "data": data})

    def checkpoint(self, step: int, path: Path, metrics: dict[str, float]) -> None:
        """Tell of a saved state of the adapter, with OpenAI's names of its metrics."""
        self._line(checkpoint={"step_number": step, "path": str(path), "metrics": metrics})

    def estimate(self, finish: float) -> None:
        """Tell when the training should end, in Unix seconds."""
        self._line(estimate=finish)

    def failed(self, error: StepFailed) -> None:
        """Tell why the step ends without a result."""
        self._line(failed={"code": error.code, "message": error.message, "param": error.param})

    def _line(self, **what: Any) -> None:
        self._out.write(json.dumps(what) + "\n")
        self._out.flush()


def run_step(
    module: str,
    step: str,
    folder: Path,
    hear: Callable[[dict[str, Any]], None],
    keep_open: Sequence[int] = (),
) -> dict[str, Any]:
    """Run a step to its end and return its result.

    Args:
        module: The module of the steps.
        step: The name of the step.
        folder: The job's folder.
        hear: Called with each line that the step tells, as an object.
        keep_open: Descriptors that the step's process holds too.

    Raises:
        StepFailed: The step says so, or its process was killed.
    """
    order = Order.load(folder)
    log = order.log(step)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    reading, writing = os.pipe()
    failed: StepFailed | None = None
    with log.open("ab") as output, os.fdopen(reading) as lines:
        command = ["-m", "training.step_process", module, step, str(folder), str(writing)]
        try:
            process = subprocess.Popen(  # noqa: S603 - a fixed program, no shell
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[writing, *keep_open],
            )
        finally:
            os.close(writing)
        for line in lines:
            told = json.loads(line)
            if "failed" in told:
                failed = StepFailed(**told["failed"])
            else:
                hear(told)
        status = process.wait()
    result = order.result(step)
    if result is None or failed is not None:
        time.sleep(_MOMENT_S)
    if failed is not None:
        raise failed
    if result is None:
        raise StepFailed("step_failed", _ending(step, status, log))
    return result


def _ending(step: str, status: int, log: Path) -> str:
    if status == -signal.SIGKILL:
        return f"The step {step} was killed (signal 9); the machine may be short of memory."
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    tail = "\n".join([line for line in text.splitlines() if line.strip()][-5:])
    return f"The step {step} ended with status {status}:\n{tail}"


def main(arguments: Sequence[str]) -> int:
    """Run one step in this process; returns the exit status."""
    module, step, folder, descriptor = arguments
    order = Order.load(Path(folder))
    with os.fdopen(int(descriptor), "w") as out:
        teller = Teller(out)
        if order.result(step) is not None:
            return 0  # it had finished when its parent was killed
        try:
            steps: Mapping[str, Step] = importlib.import_module(module).STEPS
            order.finish(step, steps[step](order, teller))
        except StepFailed as error:
            teller.failed(error)
            return 1
        except Exception as error:
            traceback.print_exc()
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            teller.failed(StepFailed("step_failed", f"The step {step} failed: {reason}"))
            return 1
    return 0


if __name__ == "__main__":
    # By its own name: a step raises `training.step_process.StepFailed`, not `__main__.StepFailed`.
    sys.exit(importlib.import_module("training.step_process").main(sys.argv[1:]))
