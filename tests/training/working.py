"""A worker as a process of its own, which is quick to look and to be given up.

python -m tests.training.working HOME STORE GATEWAY LANES

The steps of its jobs train nothing (`fake_steps`), and beside other tests they have their turn.
"""

import signal
import sys
import threading
from pathlib import Path

from training.lanes.places import WorkerConfig
from training.worker import Worker

COMMAND = (sys.executable, "-m", "tests.training.working")


def main() -> None:
    """Work until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    home, url, gateway, lanes = Path(sys.argv[1]), *sys.argv[2:]
    config = WorkerConfig(
        url, home, home / "models", "tests.training.fake_steps", 0.1, 2.0, gateway,
        lanes=tuple(lanes.split(",")), nice=0,
    )  # fmt: skip
    Worker(config).run(stop)


if __name__ == "__main__":
    main()
