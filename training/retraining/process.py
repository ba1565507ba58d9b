"""The durable workflow of one retraining, in a process of its own.

    python -m training.retraining.process < setup        # a worker starts it, see `leash.Setup`

`training.durable` keeps which steps are done, `training.leash` how it is stopped.
"""

import sys
import traceback
from typing import Any

from gateway.store.database import StoreError
from training.durable import Step, run
from training.leash import Setup, patiently, told
from training.retraining.steps import Result, Steps, TakenBack, over


def retrain(step: Step) -> None:
    """Bring a request to its end: a release that is served, or the reason why there is none."""
    begun = step("begin")  # 1. take it up; the health says so
    found = begun if "over" in begun else step("attribute", begun)  # 2. which part is at fault?
    curated = found if "over" in found else step("curate", begun)  # 3. rows, held-out rows
    trained = curated if "over" in curated else step("train", begun, curated)  # 4. a job
    gated = trained if "over" in trained else step("gate", trained)  # 5. better, and no worse?
    end = gated if "over" in gated else step("roll_out", begun, trained)  # 6. shadow, canary, all
    step("settle", end["over"])  # 7. the outcome, and the health


class Work:
    """Does the steps, and makes an outcome of what goes wrong in them.

    Args:
        setup: What the process was told.
    """

    def __init__(self, setup: Setup) -> None:
        self._steps = Steps(setup)

    def do(self, name: str, *arguments: Any) -> Result:
        """Do one step; again after it was killed, and for as long as the store is away."""

        def once() -> Result:
            found: Result = getattr(self._steps, name)(*arguments)
            return found

        try:
            return patiently(once)
        except TakenBack:
            patiently(self._steps.take_back)
            return over("cancelled", "It was taken back.")
        except StoreError:
            raise
        except Exception as error:
            traceback.print_exc()
            told = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            return over("failed", f"The step {name} failed: {told}")


def main() -> int:
    """Work on the request that standard input names; returns the exit status."""
    setup = told()
    if setup is None:
        return 1
    work = Work(setup)
    run(setup.id, setup.workflow_url, "retrain", work.do, retrain)
    return 0


if __name__ == "__main__":
    sys.exit(main())
