"""The process of a retraining whose steps can be held: done, but not yet known to be done.

A file `hold-<step>` in the request's folder makes a step wait after its work.
"""

import sys
import time
from pathlib import Path
from typing import Any

from training.durable import run
from training.leash import told
from training.retraining.process import Work, retrain


def main() -> int:
    setup = told()
    assert setup is not None
    folder = Path(setup.home) / "retraining" / setup.id
    work = Work(setup)

    def do(name: str, *arguments: Any) -> dict[str, Any]:
        with (folder / "ran.txt").open("a") as file:
            file.write(f"{name} begins\n")
        result = work.do(name, *arguments)
        with (folder / "ran.txt").open("a") as file:
            file.write(f"{name} done\n")
        while (folder / f"hold-{name}").exists():
            time.sleep(0.02)
        return result

    run(setup.id, setup.workflow_url, "retrain", do, retrain)
    return 0


if __name__ == "__main__":
    sys.exit(main())
