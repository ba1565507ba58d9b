"""A home with a base release, an uploaded file and jobs, for tests of the worker."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.store.database import Database
from gateway.store.files import Files, StoredFile
from gateway.store.job_events import JobEvents
from gateway.store.jobs import Job, Jobs, job_id
from gateway.store.releases import Release, Releases

_ROW = b'{"prompt": "a", "completion": "b"}\n'


@dataclass(frozen=True)
class Home:
    """A Driftgate's folder and store."""

    folder: Path
    url: str
    database: Database

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.database)

    @property
    def events(self) -> JobEvents:
        return JobEvents(self.database)

    @property
    def files(self) -> Files:
        return Files(self.database, self.folder / "files")

    def job(self, id: str) -> Job:
        job = self.jobs.get(id)
        assert job is not None
        return job

    def order(self, **fields: Any) -> Job:
        """Add a job on the base with a file of two rows."""
        partial = self.files.partial()
        partial.write_bytes(_ROW * 2)
        file = StoredFile(
            f"file-{job_id()}", "0123abcd", time.time(), "x.jsonl", "fine-tune", 2, "00", 2
        )
        self.files.add(file, partial)
        values: dict[str, Any] = {
            "id": job_id(),
            "key_prefix": "0123abcd",
            "created_at": time.time(),
            "model": "production",
            "base_release": "base-1",
            "training_file": file.id,
            "validation_file": None,
            "hyperparameters": {},
            "seed": 7,
            "suffix": None,
            "metadata": {},
            "recipe": None,
            "overrides": {},
            "alias": "candidate",
        }
        return self.jobs.add(Job(**values | fields))

    def told(self, id: str) -> list[str]:
        """Return the messages of a job, oldest first."""
        page, _ = self.events.page(id, limit=1000, ascending=True)
        return [event.message for event in page]

    def ran(self, id: str) -> list[str]:
        """Return what the fake steps of a job wrote down."""
        file = self.folder / "jobs" / id / "ran.txt"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def home(empty_store: Path, tmp_path: Path) -> Iterator[Home]:
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(empty_store, folder / "driftgate.db")
    url = f"sqlite:///{folder / 'driftgate.db'}"
    database = Database(url)
    base = Release("base-1", "base", "r1", str(tmp_path / "base"), {}, time.time())
    Releases(database).register(base)
    yield Home(folder, url, database)
    database.close()
