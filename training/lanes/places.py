"""Where a worker finds and puts things."""

from dataclasses import dataclass
from pathlib import Path

from gateway.store.claims import STALE_S

LANES = ("jobs", "rollouts", "retraining")
"""Every lane that there is."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Where a worker finds and puts things.

    Args:
        database_url: The store.
        home: The folder of files, jobs, rollouts and retrainings.
        models_dir: The folder of models.
        steps: The module of a job's steps.
        period_s: How often it looks for work, and at what it has, in seconds.
        stale_s: How long a claim outlasts it, in seconds.
        gateway_url: Where rollouts ask their questions, without `/v1`.
        lanes: Which of `LANES` it works in.
        nice: How much later than others' comes the turn of its rows' processes (nice(2)): behind
            the answers of engines on the same machine.
    """

    database_url: str
    home: Path
    models_dir: Path
    steps: str = "training.steps"
    period_s: float = 1.0
    stale_s: float = STALE_S
    gateway_url: str = "http://127.0.0.1:8080"
    lanes: tuple[str, ...] = LANES
    nice: int = 10

    def workflow_url(self, folder: Path | None = None) -> str:
        """Return the database of DBOS: the store where that is PostgreSQL, else a file.

        Args:
            folder: Where the file is, so that the processes of two rows do not wait for each
                other; None: `home`, which the jobs share.
        """
        if not self.database_url.startswith("sqlite"):
            return self.database_url
        return f"sqlite:///{(folder or self.home).absolute() / 'workflows.db'}"
