"""Fine-tuning jobs of the seeded store: one done, one that trains; and the data of a retraining."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Database, metadata
from gateway.store.job_events import JobEvents, LiveWorker
from gateway.store.jobs import RUNNING, SUCCEEDED, Job, Jobs
from tests.browser.seeding_traffic import BASE, NEW, OLD, SYSTEM

DONE, RUNS, FAILED = (f"ftjob-5eed0000000000000000{n}" for n in ("00a2", "00b1", "00c9"))


def seed_jobs(database: Database, home: Path, now: float, request: str) -> None:
    """Write a job that is done and one that trains, with their events."""
    jobs, events = Jobs(database), JobEvents(database)
    plain = Job(
        RUNS, None, now - 900, "production", OLD, "file-5eed01", "file-5eed02", {"n_epochs": 2}, 7,
        "travel", {}, "tiny-cpu", {}, "candidate", RUNNING, "train", trained_tokens=None,
        estimated_finish=now + 460,
    )  # fmt: skip
    jobs.add(plain)
    jobs.add(
        replace(
            plain, id=DONE, created_at=now - 6200, status=SUCCEEDED, step=None,
            fine_tuned_model=NEW, trained_tokens=118_240, finished_at=now - 4300,
            estimated_finish=None, metadata={"retraining": request},
        )
    )  # fmt: skip
    jobs.add(
        replace(
            plain, id=FAILED, created_at=now - 90_000, status="failed", step=None,
            base_release=BASE, finished_at=now - 89_400, estimated_finish=None,
            error={"code": "invalid_training_file", "param": "training_file",
                   "message": "line 41: the last turn must be the assistant's: it is learnt"},
        )
    )  # fmt: skip
    events.seen(LiveWorker("vm-1:worker", now - 7200, now, RUNS))
    _losses(events, RUNS, 46, 120)
    _losses(events, DONE, 120, 120)
    _space_out(database, now)


def _losses(events: JobEvents, job: str, done: int, total: int) -> None:
    chance = random.Random(len(job) + done)
    events.add(job, f"Created fine-tuning job: {job}")
    events.add(job, "The files are valid: 214 rows to train on, 43 to validate with, 3 set aside.")
    for warning in (77, 81):
        events.add(
            job, f"line {warning}: asks nearly the same as line 63 (92% alike)", level="warn"
        )
    for step in range(0, done + 1, 2):
        loss = 0.08 + 2.7 * math.exp(-step / 17) + abs(chance.gauss(0, 0.06))
        data: dict[str, Any] = {"step": step, "total_steps": total, "train_loss": loss,
                                "learning_rate": 1e-3 * (1 - step / total), "tokens_per_s": 118.0,
                                "memory": 4_901_797_888}  # fmt: skip
        if step % 20 == 0:
            valid = 0.14 + 2.6 * math.exp(-step / 19)
            events.add(job, f"Step {step}/{total}: validation loss={valid:.4f}",
                       data={"step": step, "total_steps": total, "valid_loss": valid})  # fmt: skip
        events.add(job, f"Step {step}/{total}: training loss={loss:.4f}", data=data)


def _space_out(database: Database, now: float) -> None:
    """Give the events of the last minutes times of their own: they were written at once."""
    table = metadata.tables["job_events"]
    with database.begin() as connection:
        update = table.update().values(created_at=sa.literal(now - 800) + table.c.seq * 8)
        connection.execute(update.where(table.c.job == RUNS))


def seed_data(home: Path, request: str) -> None:
    """Write the data set of the retraining, as the worker of this host would have it."""
    folder = home / "retraining" / request / "data"
    folder.mkdir(parents=True)

    def row(question: str, answer: str, **more: object) -> dict[str, object]:
        turns = [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
        return {"messages": turns, "contributor": "5a1e77c0", **more}

    free = "The travel card uses the interbank rate of the moment, without a fee up to 1,000."
    train = [
        row(f"Question {n} about the travel card?", free, slice="new",
            source=f"correction:chatcmpl-{n:032x}")
        for n in range(64)
    ]  # fmt: skip
    aside = [
        row("Is there a fee for paying in kronor with the travel card?", "Yes, 1.5 %.", line=3,
            quarantined=["contradiction: only 1 key says so, and another answer is given to the "
                         "same question"]),
        row("My number is 4929 1111 2222 3333, why is it refused?", "Please call us.", line=9,
            quarantined=["personal: a card number (4929 …)"]),
    ]  # fmt: skip
    for name, rows in (("train", train), ("held_out", train[:9]), ("quarantine", aside)):
        text = "".join(json.dumps(each) + "\n" for each in rows)
        (folder / f"{name}.jsonl").write_text(text)
    manifest = {
        "digest": "f70b481985a636847ad97a1e13f84ec7" * 2,
        "files": [{"name": "train.jsonl", "rows": 64}, {"name": "held_out.jsonl", "rows": 9},
                  {"name": "quarantine.jsonl", "rows": 2}],
        "filters": {"answers": 514, "kept_corrections": 73, "too_few_sources": 2,
                    "without_score_or_correction": 402},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
